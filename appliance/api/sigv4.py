"""Who sent a request: AWS Signature Version 4, service `mediaconnect`, any region, with access keys that this box issued.

Taken is a signature in the `Authorization` header that covers the host, the date, every `x-amz-` header and the body. Refused by name are
presigned URLs, unsigned and streamed bodies, and session tokens: this box issues none.

**Time.** A signature is good for five minutes either way. The refusal says both times, which clock is behind, and whether this box's is
kept right.

**Replay.** A changing request (not GET, HEAD or OPTIONS) is taken once. An SDK signs each retry afresh, but the date has whole seconds:
the same change twice within one second (stop, start, stop), and a retry that quick, have one signature and cannot be told from a replay.
So for `REPEAT_S` after its first use a signature is refused with 429, on which SDKs wait and sign again, in another second; after that
with 403, because no client of good faith comes so late. Either way it is not carried out again. A request whose answer was lost and
which is sent again in a later second is a new one, as it is at AWS.

**Refusals** are limited for each source address, right signatures are not: see `refusals.py`. A refusal never says what the signature or
the secret would have been, nor repeats what was sent, except text that has the form of what it should be.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.api.accesskeys import AccessKey, AccessKeyError, AccessKeys
from appliance.api.faults import Fault
from appliance.api.refusals import Refusals
from appliance.api.replays import Overfull, Replays
from appliance.api.roles import Role, least_role, may
from appliance.api.signing import ALGORITHM, Scope, canonical_request, signature
from hw.clock import synchronised

SERVICE = "mediaconnect"
SKEW_S = 300
REPEAT_S = 2.0
READING = frozenset({"GET", "HEAD", "OPTIONS"})

_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_CREDENTIAL = re.compile(r"([!-.0-~]{1,128})/([0-9]{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request")
_NAMES = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(;[a-z0-9!#$%&'*+.^_`|~-]+)*")
_PLAIN_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|$))[!-.0-~]+)+/?")
_PLAIN_QUERY = re.compile(r"[!-~]*")
_PRESIGNED = re.compile(r"(?:^|&)X-Amz-(?:Algorithm|Credential|Signature|Security-Token)=", re.IGNORECASE)


class Denied(Fault):
    """A request that is refused. One over its address's limit is `limited` and needs no line in a log; the next that is not has the number
    of those in `unsaid`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind = status, code
        self.key_id = ""  # of a key that exists, whoever used it
        self.retry_after_s = 0
        self.unsaid = 0
        self.limited = False


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What came over the wire. `path` is raw, still percent-encoded and without the query; text is Latin-1 as in WSGI."""

    method: str
    path: str
    query: str
    headers: Iterable[tuple[str, str]]
    body: bytes = b""
    address: str = ""
    now_s: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    role: Role
    account: str
    key_id: str

    def authorize(self, operation: str, members: Collection[str] = ()) -> None:
        """Raise `Denied` unless the role may do this with these members of the request's body."""
        if may(self.role, operation, members):
            return
        denied = Denied(
            403,
            "AccessDeniedException",
            f"{self.name} is not authorized to perform mediaconnect:{operation}: it takes the role {least_role(operation, members)}, "
            f"and the key {self.key_id} has {self.role}",
        )
        denied.key_id = self.key_id
        raise denied


@dataclass(frozen=True, slots=True)
class _Authorization:
    key_id: str
    scope: Scope
    names: list[str]
    signature: str


class Verifier:
    def __init__(
        self,
        keys: AccessKeys,
        replays: Replays | None = None,
        refusals: Refusals | None = None,
        clock_is_right: Callable[[], bool] = synchronised,
    ) -> None:
        self._keys, self._clock_is_right = keys, clock_is_right
        self._replays = Replays() if replays is None else replays
        self._refusals = Refusals() if refusals is None else refusals

    def check(self, request: HttpRequest) -> Caller:
        """Who sent it, or `Denied`."""
        try:
            return self._check(request)
        except Denied as denied:
            if denied.status == 429:
                raise
            unsaid = self._refusals.tell(request.address, request.now_s)
            if unsaid is None:
                raise _over_the_limit(denied) from None
            denied.unsaid = unsaid
            raise

    def _check(self, request: HttpRequest) -> Caller:
        headers = _by_name(request.headers)
        _refuse_other_forms(request, headers)
        claim = _authorization(_only(headers, "authorization"))
        date = _only(headers, "x-amz-date")
        date_s = _check_date(date, claim.scope)
        self._check_skew(date_s, request.now_s)
        _check_signed(claim.names, headers)
        canonical = _canonical(request, headers, claim.names)
        key = self._key(claim.key_id)
        if not hmac.compare_digest(signature(key.secret, date, claim.scope, canonical), claim.signature):
            raise _with_key(
                key,
                403,
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided: the secret access key is another one, "
                "or the request was changed on its way (a proxy that rewrites the host or the path does that)",
            )
        if key.disabled:
            raise _with_key(
                key, 403, "UnrecognizedClientException", f"the access key {key.id} is disabled; `pressbox key enable` enables it"
            )
        if request.method not in READING:
            self._take_once(key, claim.signature, date_s, request.now_s)
        self._keys.note_use(key.id, request.now_s)
        return Caller(key.name, key.role, key.account, key.id)

    def _check_skew(self, date_s: int, now_s: float) -> None:
        behind_s = now_s - date_s
        if abs(behind_s) <= SKEW_S:
            return
        case, which = ("Signature expired", "behind") if behind_s > 0 else ("Signature not yet current", "ahead of")
        advice = "and that one is synchronised: set the sender's" if self._clock_is_right() else "which nobody keeps right: set it first"
        raise Denied(
            403,
            "InvalidSignatureException",
            f"{case}: it was signed at {_time(date_s)}, and the clock of this box says {_time(now_s)}. {SKEW_S // 60} min are allowed; "
            f"the sender's clock is {_span(abs(behind_s))} {which} this box's, {advice}",
        )

    def _key(self, key_id: str) -> AccessKey:
        try:
            key = self._keys.get(key_id)
        except AccessKeyError:
            raise Denied(
                403, "UnrecognizedClientException", "the access key cannot be used; `pressbox key list` on the box says why"
            ) from None
        if key is None:
            raise Denied(
                403, "UnrecognizedClientException", "the access key is not one of this box; `pressbox key issue` on the box makes one"
            )
        return key

    def _take_once(self, key: AccessKey, used: str, date_s: int, now_s: float) -> None:
        try:
            first_s = self._replays.take(used, date_s, now_s)
        except Overfull:
            raise _later(key, "more changes came within minutes than this box can tell from replays; sign the request again") from None
        if first_s is None:
            return
        if abs(now_s - first_s) <= REPEAT_S:
            raise _later(key, "this very request was taken a moment ago; a signature is good for one change, sign again a second later")
        raise _with_key(
            key,
            403,
            "InvalidSignatureException",
            f"Signature already used: this very request was taken at {_time(first_s)}; a signature is good for one change, sign again",
        )


def _refuse_other_forms(request: HttpRequest, headers: dict[str, list[str]]) -> None:
    if _PRESIGNED.search(request.query):
        raise Denied(403, "IncompleteSignatureException", "presigned URLs are not taken here; sign the request in the Authorization header")
    if "x-amz-security-token" in headers:
        raise Denied(
            403,
            "UnrecognizedClientException",
            "session tokens are not taken here, X-Amz-Security-Token has to go; use an access key that this box issued",
        )
    if not _PLAIN_PATH.fullmatch(request.path) or not _PLAIN_QUERY.fullmatch(request.query):
        raise Denied(
            400,
            "BadRequestException",
            "path and query: printable ASCII alone, the rest percent-encoded; no `//`, `/./` or `/../` in the path",
        )


def _authorization(text: str) -> _Authorization:
    if not text.startswith(f"{ALGORITHM} "):
        raise Denied(403, "IncompleteSignatureException", f"Authorization: has to begin with {ALGORITHM}")
    parts = [part.strip(" ").partition("=") for part in text.removeprefix(f"{ALGORITHM} ").split(",")]
    given = {name: value for name, _, value in parts}
    if len(parts) != 3 or set(given) != {"Credential", "SignedHeaders", "Signature"}:
        raise Denied(403, "IncompleteSignatureException", "Authorization: takes Credential=, SignedHeaders= and Signature=, each once")
    credential = _CREDENTIAL.fullmatch(given["Credential"])
    if credential is None:
        raise Denied(403, "IncompleteSignatureException", "Authorization: Credential is KEY/YYYYMMDD/REGION/mediaconnect/aws4_request")
    if not _SIGNATURE.fullmatch(given["Signature"]):
        raise Denied(403, "IncompleteSignatureException", "Authorization: Signature is 64 of 0-9 and a-f")
    scope = Scope(credential[2], credential[3], credential[4])
    if scope.service != SERVICE:
        raise Denied(403, "InvalidSignatureException", f"Credential should be scoped to '{SERVICE}', not '{scope.service}'")
    return _Authorization(credential[1], scope, _signed_names(given["SignedHeaders"]), given["Signature"])


def _signed_names(text: str) -> list[str]:
    names = text.split(";")
    if not _NAMES.fullmatch(text) or names != sorted(set(names)):
        raise Denied(
            403, "IncompleteSignatureException", "Authorization: SignedHeaders is lower-case names, sorted, each once, `;` between"
        )
    return names


def _check_date(date: str, scope: Scope) -> int:
    try:
        if not _DATE.fullmatch(date):
            raise ValueError
        date_s = int(datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        raise Denied(403, "IncompleteSignatureException", "X-Amz-Date: has to be a date as in 20261121T203000Z") from None
    if scope.day != date[:8]:
        raise Denied(403, "InvalidSignatureException", f"the day in Credential ({scope.day}) is not that of X-Amz-Date ({date})")
    return date_s


def _check_signed(names: list[str], headers: dict[str, list[str]]) -> None:
    required = {"host", *(name for name in headers if name.startswith("x-amz-"))}
    unsigned = sorted(required.difference(names))
    if unsigned:
        shown = ", ".join(name if _NAMES.fullmatch(name) else "…" for name in unsigned[:5])
        raise Denied(403, "InvalidSignatureException", f"SignedHeaders: takes `host` and every `x-amz-` header; {shown[:200]} is not in it")
    missing = [name for name in names if name not in headers]
    if missing:
        raise Denied(403, "InvalidSignatureException", f"SignedHeaders: names {', '.join(missing)[:200]}, which the request does not have")
    _only(headers, "host")


def _canonical(request: HttpRequest, headers: dict[str, list[str]], names: list[str]) -> bytes:
    digest = hashlib.sha256(request.body).hexdigest()
    if "x-amz-content-sha256" in headers:
        said = _only(headers, "x-amz-content-sha256")
        if said.startswith(("UNSIGNED-", "STREAMING-")):
            raise Denied(
                403, "InvalidSignatureException", "X-Amz-Content-Sha256: unsigned and streamed bodies are not taken; sign the body"
            )
        if not hmac.compare_digest(said.encode("latin-1", "replace"), digest.encode()):
            raise Denied(403, "InvalidSignatureException", "X-Amz-Content-Sha256: is not the SHA-256 of the body in lower-case hex digits")
    try:
        return canonical_request(request.method, request.path, request.query, headers, names, digest)
    except UnicodeEncodeError:
        raise Denied(400, "BadRequestException", "headers: a signed one holds a character beyond Latin-1") from None


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def _only(headers: dict[str, list[str]], name: str) -> str:
    """The value of a header that has to be there once."""
    values = headers.get(name, [])
    if len(values) == 1 and values[0]:
        return values[0]
    if name == "authorization" and not values:
        raise Denied(
            403,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token: the request is not signed; use an access key of this box (`pressbox key issue`)",
        )
    raise Denied(403, "IncompleteSignatureException", f"{name}: has to be there, once")


def _with_key(key: AccessKey, status: int, code: str, message: str) -> Denied:
    denied = Denied(status, code, message)
    denied.key_id = key.id
    return denied


def _later(key: AccessKey, message: str) -> Denied:
    denied = _with_key(key, 429, "TooManyRequestsException", message)
    denied.retry_after_s = 1
    return denied


def _over_the_limit(refused: Denied) -> Denied:
    denied = Denied(429, "TooManyRequestsException", "too many requests from this address were refused; one that is signed right is taken")
    denied.key_id, denied.retry_after_s, denied.limited = refused.key_id, 3, True
    return denied


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(int(at_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
