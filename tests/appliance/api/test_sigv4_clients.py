"""botocore's own client against a web server with the verifier: what it sends, how it takes refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("botocore", reason="botocore is the client of these tests")

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

from appliance.api.accesskeys import AccessKey, AccessKeys
from appliance.api.sigv4 import Verifier
from tests.appliance.api.signed import server

# botocore before 1.40 asks for the time in a way that Python 3.12 warns of
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

ARN = "arn:pressbox:mediaconnect:local:000000000000:flow:1-23aBC45dEF67hiJ8-12AbC34DE5fG:Awards Show & (more) ~'é"


@pytest.fixture
def keys(tmp_path: Path) -> AccessKeys:
    return AccessKeys(tmp_path / "access-keys")


@pytest.fixture
def key(keys: AccessKeys) -> AccessKey:
    return keys.issue("truck", "administrator")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")

    def make(url: str, key: AccessKey, secret: str = "", **config: Any) -> Any:
        return Session().create_client(
            "mediaconnect",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id=key.id,
            aws_secret_access_key=secret or key.secret,
            config=Config(**config),
        )

    return make


def test_calls_of_every_form_are_taken(keys, key, client):
    refused: list[str] = []
    with server(Verifier(keys), refused) as url:
        box = client(url + "/", key)
        box.list_flows(MaxResults=2, NextToken="a b+c/d=&é")
        box.describe_flow(FlowArn=ARN)
        box.create_flow(Name="Übertragung", Source={"Name": "a", "Protocol": "srt-listener"})
        box.start_flow(FlowArn=ARN)
        box.tag_resource(ResourceArn=ARN, Tags={"a": "ü", "b": ""})
        box.untag_resource(ResourceArn=ARN, TagKeys=["z z", "a", "k=&"])
        box.revoke_flow_entitlement(FlowArn=ARN, EntitlementArn=ARN)
    assert refused == []


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_the_same_change_at_once_goes_through_when_it_is_signed_again(keys, key, client, mode):
    refused: list[str] = []
    with server(Verifier(keys), refused) as url:
        box = client(url, key, retries={"mode": mode, "max_attempts": 8})
        for _ in range(3):
            box.start_flow(FlowArn=ARN)
    assert set(refused) <= {"429 TooManyRequestsException"}


def test_a_wrong_secret_is_an_error_that_is_not_tried_again(keys, key, client):
    refused: list[str] = []
    with server(Verifier(keys), refused) as url, pytest.raises(ClientError) as error:
        client(url, key, secret="x" * 40).list_flows()
    assert error.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert refused == ["403 InvalidSignatureException"]
