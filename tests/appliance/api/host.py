"""A host with its API, and the field's own clients for it: boto3 and the AWS CLI."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from shutil import which
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from appliance.api.accesskeys import AccessKey, AccessKeys
from firmware.places import Places
from tests.lab.programs import Program, environment, wait_until

from . import described

WHITELIST = "127.0.0.0/8"


class Host:
    def __init__(self, places: Places, *, engine: bool = False) -> None:
        self.places = places
        self.keys = AccessKeys(places.access_keys)
        self.key = self.keys.issue("tester", "administrator")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        hasty = {"PRESSBOX_API_RATE": "1000"}  # tests ask more often than MediaConnect lets anybody
        if engine:
            self.program = Program.pressbox(places, "run", "--no-web", "--api", str(port), env=hasty)
        else:
            self.program = Program([sys.executable, "-m", "appliance.apid", "--port", str(port)], environment(places, hasty))
        self._port = port
        wait_until(self._answers, what="the API answers", among=[self.program])

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def client(self, key: AccessKey | None = None) -> Any:
        key = key or self.key
        # Again after a second: the same change twice within one has one signature, and is taken for a replay
        config = Config(retries={"total_max_attempts": 4, "mode": "standard"}, connect_timeout=10, read_timeout=30)
        client = boto3.client(
            "mediaconnect",
            region_name="eu-central-1",
            endpoint_url=self.url,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            config=config,
        )
        client.meta.events.register("after-call.mediaconnect.*", _check_shape)
        client.meta.events.register("after-call.mediaconnect.*", _check_description)
        return client

    def aws(self, *arguments: str) -> Any:
        """`aws mediaconnect …`, as it is installed; its answer, or None where there is none."""
        command = which("aws") or str(os.path.join(os.path.dirname(sys.executable), "aws"))
        if not os.path.exists(command):
            pytest.skip("there is no AWS CLI; scripts/test installs it")
        env = os.environ | {
            "AWS_ACCESS_KEY_ID": self.key.id,
            "AWS_SECRET_ACCESS_KEY": self.key.secret,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ENDPOINT_URL_MEDIACONNECT": self.url,
            "AWS_PAGER": "",
            "PYTHONWARNINGS": "ignore",
        }
        ended = subprocess.run([command, "mediaconnect", *arguments], capture_output=True, text=True, env=env, timeout=150)
        assert ended.returncode == 0, f"{arguments}: {ended.stderr}"
        return json.loads(ended.stdout) if ended.stdout.strip() else None

    def close(self) -> None:
        self.program.close()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        assert not self.program.said("Traceback"), str(self.program)


def refusal(call: Any, **members: Any) -> tuple[int, str, str]:
    """Status, error code and message of a call that is refused."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def _check_shape(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """An answer must be what botocore's own output shape says: every required member, every type, no member that it does not know."""
    if http_response.status_code >= 300 or model.output_shape is None:
        return
    members = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    report = ParamValidator().validate(members, model.output_shape)
    assert not report.has_errors(), report.generate_report()
    raw = json.loads(http_response.content or b"{}")
    assert _count(raw) == _count(members), f"{model.name} answers members that are not in its shape: {raw}"


def _check_description(http_response: Any, model: Any, **_: Any) -> None:
    described.check(model.name, http_response.status_code, http_response.headers, http_response.content or b"")


def _count(value: Any) -> int:
    """How many members there are, in all of it."""
    if isinstance(value, dict):
        return len(value) + sum(map(_count, value.values()))
    return sum(map(_count, value)) if isinstance(value, list) else 0
