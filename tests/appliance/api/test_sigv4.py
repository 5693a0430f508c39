from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("botocore", reason="botocore signs the requests of these tests")

from appliance.api.accesskeys import AccessKey, AccessKeys
from appliance.api.refusals import BURST, Refusals
from appliance.api.replays import Replays
from appliance.api.signing import canonical_query, trimmed
from appliance.api.sigv4 import REPEAT_S, SKEW_S, Caller, Denied, HttpRequest, Verifier
from tests.appliance.api.signed import FLOW, header, signed

# botocore before 1.40 asks for the time in a way that Python 3.12 warns of
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")

NEVER_LIMITED = 1_000_000
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def keys(tmp_path: Path) -> AccessKeys:
    return AccessKeys(tmp_path / "access-keys")


@pytest.fixture
def key(keys: AccessKeys) -> AccessKey:
    return keys.issue("truck", "operator", "123456789012")


@pytest.fixture
def verifier(keys: AccessKeys) -> Verifier:
    return Verifier(keys, refusals=Refusals(burst=NEVER_LIMITED))


def denied(verifier: Verifier, request: HttpRequest) -> Denied:
    with pytest.raises(Denied) as refused:
        verifier.check(request)
    return refused.value


def with_header(request: HttpRequest, name: str, value: str | None) -> HttpRequest:
    """The request with this header put in, changed or (None) left out."""
    kept = [(each, was) for each, was in request.headers if each.lower() != name.lower()]
    return replace(request, headers=kept if value is None else [*kept, (name, value)])


def test_what_botocore_signs_is_taken(verifier: Verifier, key: AccessKey) -> None:
    assert verifier.check(signed(key)) == Caller("truck", "operator", "123456789012", key.id)


names = st.text(min_size=1, max_size=20).filter(lambda name: name not in (".", ".."))
queries = st.lists(st.tuples(names, st.text(max_size=20)), max_size=4)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@PROPERTY
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    parts=st.lists(names, max_size=4),
    query=queries,
    body=st.binary(max_size=300),
    extra=values,
    region=st.sampled_from(["us-east-1", "eu-central-1", "local"]),
)
def test_any_request_that_botocore_signs_is_taken(keys, key, method, parts, query, body, extra, region):
    target = "/" + "/".join(quote(part, safe="-._~") for part in parts)
    if query:
        target += "?" + urlencode(query, quote_via=quote, safe="-._~")
    request = signed(key, method, target, body, {"Content-Type": "application/json", "X-Amz-Target": extra}, region)
    assert Verifier(keys).check(request).key_id == key.id


def flipped(text: str, at: int, to: str) -> str:
    at %= len(text)
    return text[:at] + to + text[at + 1 :]


printable = st.characters(min_codepoint=33, max_codepoint=126)


@PROPERTY
@given(
    what=st.sampled_from(["method", "path", "query", "body", "Host", "Content-Type", "X-Amz-Date", "X-Amz-Target", "Authorization"]),
    at=st.integers(0, 1000),
    to=printable,
)
def test_one_changed_byte_is_refused(keys, key, what, at, to):
    target = FLOW + "?maxResults=2&nextToken=a%20b"
    request = signed(key, "POST", target, b'{"name": "show"}', {"Content-Type": "application/json", "X-Amz-Target": "a b"})
    if what in ("method", "path", "query"):
        was = getattr(request, what)
        changed = replace(request, **{what: flipped(was, at, to)})
        now = getattr(changed, what)
    elif what == "body":
        was, now = request.body.decode(), flipped(request.body.decode(), at, to)
        changed = replace(request, body=now.encode())
    else:
        was, now = header(request, what), flipped(header(request, what), at, to)
        changed = with_header(request, what, now)
    assume(was != now)
    assume(what != "query" or canonical_query(was) != canonical_query(now))
    refused = denied(Verifier(keys), changed)
    assert refused.status in (400, 403)
    assert key.secret not in str(refused)
    assert Verifier(keys).check(request).key_id == key.id


@pytest.mark.parametrize("place", range(0, 260, 3))
def test_a_truncated_authorization_is_refused(verifier, key, place):
    request = signed(key)
    whole = header(request, "Authorization")
    if place < len(whole):
        assert denied(verifier, with_header(request, "Authorization", whole[:place])).status == 403


def test_a_wrong_secret_and_the_sentence(verifier, key, keys):
    refused = denied(verifier, signed(replace(key, secret="x" * 40)))
    assert (refused.status, refused.kind, refused.key_id) == (403, "InvalidSignatureException", key.id)
    assert "does not match" in str(refused)


def test_no_refusal_repeats_a_signature(verifier, key):
    request = signed(key, "POST", body=b"{}")
    used = re.search("Signature=([0-9a-f]{64})", header(request, "Authorization"))[1]
    verifier.check(request)
    later = replace(request, now_s=request.now_s + 10)
    for each in (request, later, replace(later, body=b"[]"), with_header(later, "Authorization", header(request, "Authorization") + "x")):
        assert used not in str(denied(verifier, each))


@pytest.mark.parametrize(
    ("after_s", "kept", "told"),
    [
        (
            SKEW_S + 2,
            True,
            r"Signature expired: .*Z, .* says .*Z\. .* sender's clock is 5 min \d s behind .* synchronised: set the sender's",
        ),
        (-SKEW_S - 2, False, r"Signature not yet current: .* 5 min \d s ahead of this box's, which nobody keeps right: set it first"),
        (86_400 * 30 + 60, True, r"Signature expired: .* 30 days 0 h behind"),
        (-3600 - 60, True, r"Signature not yet current: .* 1 h 0 min ahead of"),
    ],
)
def test_a_clock_that_is_wrong_is_named_with_both_times(keys, key, after_s, kept, told):
    request = signed(key)
    now_s = request.now_s + after_s
    refused = denied(Verifier(keys, clock_is_right=lambda: kept), replace(request, now_s=now_s))
    assert (refused.status, refused.kind) == (403, "InvalidSignatureException")
    assert re.search(told, str(refused))
    assert datetime.fromtimestamp(int(now_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ") in str(refused)


def test_five_minutes_either_way_are_taken(verifier, key):
    request = signed(key)
    for after_s in (-SKEW_S + 2, SKEW_S - 2):
        assert verifier.check(replace(request, now_s=request.now_s + after_s)).name == "truck"


def test_an_unknown_key(verifier, key):
    refused = denied(verifier, signed(replace(key, id="PBOX" + "A" * 16)))
    assert (refused.status, refused.kind, refused.key_id) == (403, "UnrecognizedClientException", "")
    assert denied(verifier, signed(replace(key, id="AKIAIOSFODNN7EXAMPLE"))).kind == "UnrecognizedClientException"


def test_a_disabled_key_is_refused_from_the_next_request_on(verifier, key, keys):
    verifier.check(signed(key))
    keys.disable(key.id)
    refused = denied(verifier, signed(key))
    assert (refused.status, refused.kind) == (403, "UnrecognizedClientException")
    assert "disabled" in str(refused)
    assert "disabled" not in str(denied(verifier, signed(replace(key, secret="x" * 40))))
    keys.enable(key.id)
    verifier.check(signed(key))


def test_a_damaged_key_is_refused_and_says_nothing_of_the_disk(verifier, key, keys):
    (keys.folder / key.id).write_bytes(b"{")
    refused = denied(verifier, signed(key))
    assert (refused.status, str(keys.folder) in str(refused)) == (403, False)


def test_a_use_is_noted(verifier, key, keys):
    denied(verifier, signed(replace(key, secret="x" * 40)))
    assert keys.list()[0].last_used is None
    verifier.check(signed(key))
    assert abs(keys.list()[0].last_used.timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    ("spoil", "kind", "told"),
    [
        (lambda r: with_header(r, "Authorization", None), "MissingAuthenticationTokenException", "not signed"),
        (lambda r: with_header(r, "Authorization", "Basic YTpi"), "IncompleteSignatureException", "AWS4-HMAC-SHA256"),
        (lambda r: with_header(r, "X-Amz-Date", None), "IncompleteSignatureException", "x-amz-date: has to be there"),
        (lambda r: with_header(r, "Host", None), "InvalidSignatureException", "names host, which the request does not have"),
        (lambda r: with_header(r, "X-Amz-Extra", "1"), "InvalidSignatureException", "x-amz-extra is not in it"),
        (lambda r: with_header(r, "X-Amz-Security-Token", "t"), "UnrecognizedClientException", "session tokens are not taken"),
        (lambda r: replace(r, headers=[*r.headers, ("host", "other")]), "IncompleteSignatureException", "once"),
        (lambda r: replace(r, headers=[*r.headers, ("x-amz-date", "other")]), "IncompleteSignatureException", "once"),
        (lambda r: replace(r, query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"), "IncompleteSignatureException", "presigned"),
        (lambda r: replace(r, path="/v1//flows"), "BadRequestException", "path"),
        (lambda r: replace(r, path="/v1/../flows"), "BadRequestException", "path"),
        (lambda r: replace(r, path="/v1/fl\xf6ws"), "BadRequestException", "path"),
        (lambda r: replace(r, path=""), "BadRequestException", "path"),
    ],
)
def test_other_forms_are_refused_by_name(verifier, key, spoil, kind, told):
    refused = denied(verifier, spoil(signed(key)))
    assert refused.kind == kind
    assert told in str(refused)


@pytest.mark.parametrize(
    "names", ["x-amz-date", "host", "", "x-amz-date;host", "host;host;x-amz-date", "Host;x-amz-date", "host;x-amz-date;"]
)
def test_signed_headers_hold_host_and_date_in_order(verifier, key, names):
    request = signed(key)
    spoilt = re.sub("SignedHeaders=[^,]*", f"SignedHeaders={names}", header(request, "Authorization"))
    assert "SignedHeaders" in str(denied(verifier, with_header(request, "Authorization", spoilt)))


def test_presigned_and_session_tokens_of_botocore(verifier, key):
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    presigned = AWSRequest("GET", "https://box.example/v1/flows")
    SigV4QueryAuth(Credentials(key.id, key.secret), "mediaconnect", "us-east-1").add_auth(presigned)
    query = presigned.url.partition("?")[2]
    assert "presigned" in str(denied(verifier, HttpRequest("GET", "/v1/flows", query, [("Host", "box.example")])))
    assert "session tokens" in str(denied(verifier, signed(key, token="temporary")))


def test_another_service_in_the_scope(verifier, key):
    refused = denied(verifier, signed(key, service="medialive"))
    assert (refused.kind, str(refused)) == ("InvalidSignatureException", "Credential should be scoped to 'mediaconnect', not 'medialive'")


def test_the_day_of_the_scope_is_that_of_the_date(verifier, key):
    request = signed(key)
    spoilt = re.sub(r"/[0-9]{8}/", "/20200101/", header(request, "Authorization"))
    assert "is not that of X-Amz-Date" in str(denied(verifier, with_header(request, "Authorization", spoilt)))


@pytest.mark.parametrize("date", ["2026-11-21T20:30:00Z", "20261321T203000Z", "20261121T253000Z", "00000101T000000Z", "٢٠٢٦١١٢١T203000Z"])
def test_a_date_that_is_none(verifier, key, date):
    assert "X-Amz-Date" in str(denied(verifier, with_header(signed(key), "X-Amz-Date", date)))


def test_the_hash_of_the_body_is_checked_where_it_is_sent(verifier, key):
    body = b'{"name": "show"}'
    right = {"X-Amz-Content-Sha256": hashlib.sha256(body).hexdigest()}
    assert verifier.check(signed(key, "POST", body=body, headers=right)).name == "truck"
    assert "not the SHA-256" in str(denied(verifier, signed(key, "POST", body=b"{}", headers=right)))
    for form in ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"):
        assert "not taken" in str(denied(verifier, signed(key, "POST", body=body, headers={"X-Amz-Content-Sha256": form})))


def test_a_changing_request_is_taken_once(verifier, key):
    for method in ("POST", "PUT", "DELETE"):
        request = signed(key, method)
        verifier.check(request)
        soon = denied(verifier, replace(request, now_s=request.now_s + REPEAT_S))
        assert (soon.status, soon.kind, soon.retry_after_s) == (429, "TooManyRequestsException", 1)
        late = denied(verifier, replace(request, now_s=request.now_s + REPEAT_S + 1))
        assert (late.status, late.kind) == (403, "InvalidSignatureException")
        assert "already used" in str(late)
    assert verifier.check(signed(key, "POST", body=b"{}")).name == "truck"


def test_of_many_at_once_one_is_taken(verifier, key):
    for _ in range(10):
        request, start = signed(key, "POST", body=os.urandom(8)), threading.Barrier(4)

        def send(request: HttpRequest = request, start: threading.Barrier = start) -> int:
            start.wait()
            try:
                verifier.check(request)
            except Denied as refused:
                return refused.status
            return 200

        with ThreadPoolExecutor(4) as pool:
            statuses = [sent.result() for sent in [pool.submit(send) for _ in range(4)]]
        assert sorted(statuses) == [200, 429, 429, 429]


def test_a_restart_forgets_no_signature(keys, key, tmp_path):
    request = signed(key, "POST")
    Verifier(keys, Replays(tmp_path / "signatures")).check(request)
    restarted = Verifier(keys, Replays(tmp_path / "signatures"))
    assert denied(restarted, replace(request, now_s=request.now_s + 10)).status == 403


def test_a_reading_request_may_come_again(verifier, key):
    request = signed(key)
    for after_s in (0, 1, 100):
        assert verifier.check(replace(request, now_s=request.now_s + after_s)).name == "truck"


def test_a_refused_request_uses_no_signature_up(verifier, key, keys):
    request = signed(key, "POST")
    keys.disable(key.id)
    denied(verifier, request)
    keys.enable(key.id)
    assert verifier.check(request).name == "truck"


anything = st.text(st.characters(max_codepoint=0x2FF), max_size=60)
near_dates = st.sampled_from(["20261121T203000Z", "20261121T203061Z", "99991231T235959Z", "20260230T000000Z"])
near_claims = st.builds(
    "AWS4-HMAC-SHA256 Credential={}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={}".format,
    st.sampled_from(["PBOX" + "A" * 16, "../../x", ""]) | anything,
    st.sampled_from(["20261121", "99991231", "20260230"]),
    st.sampled_from(["us-east-1", "US"]),
    st.sampled_from(["mediaconnect", "s3"]),
    st.sampled_from(["host;x-amz-date", "host;x-amz-date;x-amz-x", "host"]) | anything,
    st.sampled_from(["0" * 64, "é" * 64, ""]),
)


@PROPERTY
@given(
    method=st.sampled_from(["GET", "POST"]) | anything,
    path=st.sampled_from([FLOW, "/"]) | anything,
    query=st.just("") | anything,
    claim=near_claims | anything,
    date=near_dates | anything,
    more=st.lists(st.tuples(st.sampled_from(["host", "X-Amz-X", "X-Amz-Content-Sha256"]) | anything, anything), max_size=4),
)
def test_anything_else_is_denied_in_a_sentence(keys, method, path, query, claim, date, more):
    headers = [("Host", "box"), ("X-Amz-Date", date), ("Authorization", claim), *more]
    refused = denied(Verifier(keys), HttpRequest(method, path, query, headers, now_s=1_795_293_000.0))
    assert refused.status in (400, 403)
    assert str(refused).isprintable()


def test_roles_hold_for_a_caller(verifier, key):
    caller = verifier.check(signed(key))
    caller.authorize("StartFlow")
    with pytest.raises(Denied, match="not authorized to perform mediaconnect:DeleteFlow: it takes the role administrator") as refused:
        caller.authorize("DeleteFlow")
    assert (refused.value.status, refused.value.kind, refused.value.key_id) == (403, "AccessDeniedException", key.id)


def test_trimming_is_of_blanks_alone():
    assert trimmed(" a \t b\xa0") == "a b\xa0"


def test_refusals_are_limited_and_right_signatures_are_not(keys, key):
    verifier = Verifier(keys)
    start_s = time.time()
    wrong = replace(signed(replace(key, secret="x" * 40)), now_s=start_s)
    assert [denied(verifier, wrong).limited for _ in range(BURST + 30)] == [False] * BURST + [True] * 30
    assert denied(verifier, wrong).status == 429
    assert verifier.check(replace(signed(key), now_s=start_s)).name == "truck"
    assert not denied(verifier, replace(wrong, address="192.0.2.8")).limited
    told = denied(verifier, replace(wrong, now_s=start_s + 4))
    assert (told.limited, told.unsaid) == (False, 31)
