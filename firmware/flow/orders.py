"""What a flow worker is told: lines of JSON on its standard input."""

from __future__ import annotations

import os

import msgspec

from firmware.model import Flow


class Cut(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Behave as if an output's path were cut."""

    output: str
    seconds: float


class Job(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a flow worker is told. `secrets` by name; `former` values are taken beside them for a while. Paths are absolute."""

    flow: Flow | None = None
    secrets: dict[str, str] = {}
    former: dict[str, str] = {}
    snapshot: str = ""
    handoff: str = ""
    slate: str = ""
    key_picture: str = ""
    recording: str = ""  # the socket of its recorder
    cut: Cut | None = None

    def __repr__(self) -> str:
        return f"Job({self.flow.name if self.flow else 'change'})"


class Orders:
    """Lines from the parent, as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self) -> list[Job] | None:
        """What came; None at the end of standard input."""
        data = os.read(0, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [msgspec.json.decode(line, type=Job) for line in lines]
