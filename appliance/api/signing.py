"""AWS Signature Version 4, the arithmetic of it. Nothing is judged here; `sigv4.py` does that.

    canonical request = METHOD / path / query / headers / names of the headers / SHA-256 of the body, a line each
    string to sign    = AWS4-HMAC-SHA256 / date / scope / SHA-256 of the canonical request
    key               = HMAC of "aws4_request" under HMAC of service under HMAC of region under HMAC of day under "AWS4" + secret
    signature         = HMAC of the string to sign under the key

The scope is DAY/REGION/SERVICE/aws4_request. The path is what stands on the wire with every `%` encoded once more (`%3A` is signed as
`%253A`), which is the rule for every service but S3. The query is what stands on the wire with its parameters sorted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
_BLANKS = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Scope:
    day: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


def signature(secret: str, date: str, scope: Scope, canonical: bytes) -> str:
    key = f"AWS4{secret}".encode()
    for part in (scope.day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = f"{ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
    return hmac.digest(key, signed.encode(), "sha256").hex()


def canonical_request(method: str, path: str, query: str, headers: Mapping[str, Sequence[str]], names: Sequence[str], body: str) -> bytes:
    """`headers` by lower-case name; `names` are the signed ones, sorted; `body` is the SHA-256 of it. Text is as on the wire, Latin-1."""
    lines = [
        method,
        quote(path, safe="/~"),
        canonical_query(query),
        *(f"{name}:{','.join(map(trimmed, headers[name]))}" for name in names),
        "",
        ";".join(names),
        body,
    ]
    return "\n".join(lines).encode("latin-1")


def canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{key}={value}" for key, value in pairs)


def trimmed(value: str) -> str:
    return _BLANKS.sub(" ", value.strip(" \t"))
