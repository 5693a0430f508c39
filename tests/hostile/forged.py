"""A request that is signed right, and what a thief or a meddler would make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import strategies as st

from appliance.api.accesskeys import AccessKey

from .asked import REGION, _numbers

HEX = "0123456789abcdef"


@dataclass(frozen=True)
class Wire:
    """A request as it stands on the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    twice: dict[str, str] = field(default_factory=dict)  # headers that come a second time

    def sent(self) -> list[tuple[str, str]]:
        return [*self.headers.items(), *self.twice.items()]

    def header(self, name: str, value: str) -> Wire:
        return replace(self, headers={**self.headers, name: value})

    def without(self, name: str) -> Wire:
        return replace(self, headers={other: value for other, value in self.headers.items() if other != name})


def right(
    key: AccessKey,
    host: str,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    at: datetime | None = None,
    service: str = "mediaconnect",
    secret: str = "",
    token: str | None = None,
) -> Wire:
    """As botocore signs it; `at` another time than now."""
    auth = SigV4Auth(Credentials(key.id, secret or key.secret, token), service, REGION)
    request = AWSRequest(method, f"http://{host}{target}", {"X-Amz-Meta-Number": str(next(_numbers))}, body)
    request.context["timestamp"] = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    auth._modify_request_before_signing(request)
    words = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(words, request))
    return Wire(method, target, {"Host": host, **dict(request.headers.items())}, body)


Forge = Callable[[st.DataObject, AccessKey, Wire], Wire]


def _authorization(wire: Wire, change: Callable[[str], str]) -> Wire:
    return wire.header("Authorization", change(wire.headers["Authorization"]))


def signature_digit(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    at, digit = data.draw(st.integers(1, 64)), data.draw(st.sampled_from(HEX))

    def change(text: str) -> str:
        other = HEX[(HEX.index(digit) + 1) % 16] if text[-at] == digit else digit
        return text[: len(text) - at] + other + text[len(text) - at + 1 :]

    return _authorization(wire, change)


def signature_truncated(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    cut = data.draw(st.integers(1, 150))
    return _authorization(wire, lambda text: text[:-cut])


def signature_longer(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    return _authorization(wire, lambda text: text + data.draw(st.text(HEX, min_size=1, max_size=70)))


def signature_upper(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    return _authorization(wire, lambda text: text[:-64] + text[-64:].upper() + ("" if text[-64:].upper() != text[-64:] else "0"))


def signature_of_another(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    other = right(key, wire.headers["Host"], wire.method, wire.target, wire.body)  # another number
    return _authorization(wire, lambda text: text[:-64] + other.headers["Authorization"][-64:])


def another_secret(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    secret = data.draw(st.text("abcdefghijklmnopqrstuvwxyz0123456789+/", min_size=1, max_size=40))
    return right(key, wire.headers["Host"], wire.method, wire.target, wire.body, secret=secret)


def expired(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    ago_s = data.draw(st.one_of(st.integers(330, 4000), st.integers(330, 10**9)))
    return right(key, wire.headers["Host"], wire.method, wire.target, wire.body, at=datetime.now(UTC) - timedelta(seconds=ago_s))


def not_yet(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    in_s = data.draw(st.one_of(st.integers(330, 4000), st.integers(330, 10**9)))
    return right(key, wire.headers["Host"], wire.method, wire.target, wire.body, at=datetime.now(UTC) + timedelta(seconds=in_s))


def another_date(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    signed = datetime.strptime(wire.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    moved_s = data.draw(st.integers(-600, 600).filter(bool))
    return wire.header("X-Amz-Date", (signed + timedelta(seconds=moved_s)).strftime("%Y%m%dT%H%M%SZ"))


def no_date_at_all(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    return wire.header("X-Amz-Date", data.draw(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=20)))


def scope(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    """Another region, day, service or end of it than what was signed."""
    day = wire.headers["X-Amz-Date"][:8]
    parts = [(f"/{REGION}/", "/us-east-1/"), (f"/{REGION}/", "/local/"), (f"/{day}/", "/20200101/"), ("/mediaconnect/", "/s3/")]
    parts += [("/aws4_request", "/aws5_request"), ("/aws4_request", ""), ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")]
    old, new = parts[data.draw(st.integers(0, 6))]
    return _authorization(wire, lambda text: text.replace(old, new))


def another_service(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    service = data.draw(st.sampled_from(["s3", "medialive", "execute-api", "Mediaconnect"]))
    return right(key, wire.headers["Host"], wire.method, wire.target, wire.body, service=service)


def another_key(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    other = data.draw(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=1, max_size=24).filter(lambda text: text != key.id))
    return _authorization(wire, lambda text: text.replace(key.id, other))


def header_removed(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    return wire.without(data.draw(st.sampled_from(["Authorization", "X-Amz-Date", "X-Amz-Meta-Number"])))


def header_changed(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    name = data.draw(st.sampled_from(["Host", "X-Amz-Meta-Number"]))
    return wire.header(name, wire.headers[name] + data.draw(st.sampled_from(["0", "x", ".example"])))


def header_no_longer_signed(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    name = data.draw(st.sampled_from(["host;", "x-amz-date;", ";x-amz-meta-number"]))
    return _authorization(wire, lambda text: text.replace(name, ""))


def header_added(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    name = data.draw(st.sampled_from(["X-Amz-Security-Token", "X-Amz-Target", "X-Amz-Content-Sha256", "x-amz-z"]))
    return wire.header(name, data.draw(st.sampled_from(["a", "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])))


def header_twice(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    name = data.draw(st.sampled_from(["Authorization", "X-Amz-Date", "X-Amz-Meta-Number"]))
    return replace(wire, twice={name.lower(): wire.headers[name]})


def session_token(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    return right(key, wire.headers["Host"], wire.method, wire.target, wire.body, token=data.draw(st.text("abc123", min_size=1)))


def body_changed(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    more = data.draw(st.sampled_from([b" ", b"\n", b"{}", b'{"tags": {"stolen": "1"}}']))
    cut = data.draw(st.integers(0, 200)) % max(1, len(wire.body))
    body = data.draw(st.sampled_from([wire.body + more, more + wire.body, wire.body[:cut] + b"x"]))
    return replace(wire, body=body if body != wire.body else body + b" ")


def path_changed(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    path, mark, query = wire.target.partition("?")
    changes = [
        path.replace("start", "stop", 1),
        path.replace("stop", "start", 1),
        path.replace("%3A", ":", 1),
        path.replace("%3A", "%3a", 1),
    ]
    changes += [
        path[:-1] + ("b" if path.endswith("a") else "a"),
        path + "/",
        path + "%20",
        path.replace("/v1", "/v1/.", 1),
        f"/v1/flows{path}",
    ]
    others = sorted({other for other in changes if other != path})
    changed = others[data.draw(st.integers(0, 99)) % len(others)]
    return replace(wire, target=changed + mark + query)


def query_changed(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    path, _, query = wire.target.partition("?")
    more = data.draw(st.sampled_from(["a=b", "tagKeys=Show", "X-Amz-Expires=9", "maxResults=1", "="]))
    changed = data.draw(st.sampled_from([more, f"{query}&{more}".lstrip("&"), query[:-1]]))
    return replace(wire, target=f"{path}?{changed}" if changed != query else f"{path}?{more}")


def method_changed(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    methods = sorted({"GET", "POST", "PUT", "DELETE", "PATCH"} - {wire.method})
    return replace(wire, method=methods[data.draw(st.integers(0, 3))])


def presigned(data: st.DataObject, key: AccessKey, wire: Wire) -> Wire:
    date, signature = wire.headers["X-Amz-Date"], wire.headers["Authorization"][-64:]
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={key.id}%2F{date[:8]}%2F{REGION}%2Fmediaconnect%2Faws4_request"
    query += f"&X-Amz-Date={date}&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
    return replace(wire, target=f"{wire.target.partition('?')[0]}?{query}", headers={"Host": wire.headers["Host"]})


FORGERIES: list[Forge] = [
    signature_digit, signature_truncated, signature_longer, signature_upper, signature_of_another, another_secret, expired, not_yet,
    another_date, no_date_at_all, scope, another_service, another_key, header_removed, header_changed, header_no_longer_signed,
    header_added, header_twice, session_token, body_changed, path_changed, query_changed, method_changed, presigned,
]  # fmt: skip
