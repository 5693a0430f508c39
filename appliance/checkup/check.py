"""One thing that was looked at."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "note", "warning", "fault"]


class Check(msgspec.Struct, frozen=True):
    area: str
    state: State
    words: str
    advice: str = ""
