"""Encoders, one file a kind. Each says in `name` what really runs."""

from __future__ import annotations

from typing import Protocol

from hw.frame import AccessUnit, Frame


class EncoderError(RuntimeError):
    """An encoder that cannot be opened as asked. The message says which and why."""


class Encoder(Protocol):
    name: str  # what really runs, and whether it is hardware

    @property
    def bitrate_bps(self) -> int:
        """May be set at any time, at or below what it was opened with; followed within 2 s."""

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None: ...

    def encode(self, frame: Frame, key: bool = False) -> list[AccessUnit]:
        """One access unit a frame: Annex B with delimiters, no B-frames, an IDR picture with its parameter sets where `key` is set."""

    def close(self) -> None: ...


def pts_90k(capture_ns: int) -> int:
    return capture_ns * 9 // 100_000
