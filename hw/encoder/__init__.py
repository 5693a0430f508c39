"""Encoders, one file a kind. Each says in `name` what really runs."""

from __future__ import annotations

from typing import Protocol

from hw.frame import AccessUnit, Frame


class EncoderError(RuntimeError):
    """An encoder that cannot be opened as asked. The message says which and why."""


class Encoder(Protocol):
    name: str
    bitrate_bps: int

    def encode(self, frame: Frame, key: bool = False) -> list[AccessUnit]:
        """One access unit a frame, Annex B, parameter sets in band at every key frame."""


def pts_90k(capture_ns: int) -> int:
    return capture_ns * 9 // 100_000
