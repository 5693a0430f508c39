"""The kinds of port that a flow opens to others, each with a flow behind it and whoever rightly speaks to it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from firmware.secrets import generate
from tests.lab.ports import FEC

HOST = "127.0.0.1"
ALLOWED, FORBIDDEN = "127.0.0.3", "127.0.0.2"  # the right sender comes from HOST, and so does the worst of strangers
LATENCY_MS = 1000  # a processor that is busy with an attack may let a packet wait
ALLOW = [f"{HOST}/32", f"{ALLOWED}/32"]


End = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind. `own` is the end that is attacked, `far` the end that rightly speaks to it, both but for name, host and port."""

    name: str
    own: End
    far: End
    secret: Callable[[], str] = str
    attacked: int = 0  # above `port`
    beyond: tuple[int, ...] = ()  # all that the end opens above `port`
    sends: bool = False  # it is an output


def _srtp_key() -> str:
    return base64.b64encode(secrets.token_bytes(44)).decode()


def _source(name: str, protocol: str, *, attacked: int = 0, beyond: tuple[int, ...] = (), srtp: bool = False) -> Kind:
    far = {"protocol": protocol} | ({"secret": "key"} if srtp else {})
    return Kind(name, far | {"allow": ALLOW}, far, _srtp_key if srtp else str, attacked, beyond)


def _srt(name: str, *, sends: bool) -> Kind:
    common = {"secret": "key", "latency_ms": LATENCY_MS}
    return Kind(name, common | {"protocol": "srt-listener", "allow": ALLOW}, common | {"protocol": "srt-caller"}, generate, sends=sends)


def _rist(name: str, *, clear: bool = False, attacked: int = 0, profile: str = "main") -> Kind:
    common = {"protocol": "rist", "latency_ms": LATENCY_MS, "profile": profile} | ({"clear": True} if clear else {"secret": "key"})
    beyond = (1,) if profile == "simple" else ()
    return Kind(name, common | {"allow": ALLOW}, common, str if clear else generate, attacked, beyond)


KINDS = [
    _source("udp", "udp"),
    _source("rtp", "rtp"),
    _source("rtp srtp", "rtp", srtp=True),
    *(_source(f"rtp-fec {what}", "rtp-fec", attacked=n, beyond=FEC) for what, n in (("media", 0), ("columns", 2), ("rows", 4))),
    *(
        _source(f"rtp-fec srtp {what}", "rtp-fec", attacked=n, beyond=FEC, srtp=True)
        for what, n in (("media", 0), ("columns", 2), ("rows", 4))
    ),
    _srt("srt-listener source", sends=False),
    _srt("srt-listener output", sends=True),
    _rist("rist main"),
    _rist("rist main clear", clear=True),
    _rist("rist simple rtp", clear=True, profile="simple"),
    _rist("rist simple rtcp", clear=True, profile="simple", attacked=1),
]
