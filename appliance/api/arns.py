"""Names of resources: `arn:pressbox:mediaconnect:local:ACCOUNT:flow:ID:NAME`, in MediaConnect's form never taken for one of the cloud's.

An id is `DIGIT-16-12` of letters and digits. A flow that the API did not make gets one from its name, the same each time.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from dataclasses import dataclass

from appliance.api.faults import BadRequest

ACCOUNT = "000000000000"
KINDS = {"flow": "1", "source": "2", "output": "3", "entitlement": "4"}
_LETTERS = string.digits + string.ascii_letters
_ARN = re.compile(r"arn:[^:]+:mediaconnect[^:]*:[^:]*:[^:]*:(flow|source|output|entitlement):([^:]+):([^:]+)")


@dataclass(frozen=True, slots=True)
class Arn:
    kind: str
    id: str
    name: str

    def __str__(self) -> str:
        return f"arn:pressbox:mediaconnect:local:{ACCOUNT}:{self.kind}:{self.id}:{self.name}"


def parse_arn(text: str, kind: str, member: str) -> Arn:
    found = _ARN.fullmatch(text)
    if found is None or found[1] != kind:
        raise BadRequest(f"{member}: `{text[:200]}` is no ARN of this kind; it looks like {Arn(kind, KINDS[kind] + '-…-…', 'NAME')}")
    return Arn(found[1], found[2], found[3])


def new_id(kind: str) -> str:
    return _id(kind, [secrets.choice(_LETTERS) for _ in range(28)])


def id_from(kind: str, *names: str) -> str:
    digest = int.from_bytes(hashlib.sha256("/".join((kind, *names)).encode()).digest(), "big")
    return _id(kind, [_LETTERS[digest // 62**place % 62] for place in range(28)])


def _id(kind: str, letters: list[str]) -> str:
    return f"{KINDS[kind]}-{''.join(letters[:16])}-{''.join(letters[16:])}"
