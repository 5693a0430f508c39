"""Encoders, one file a kind. Each says in `name` what really runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

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


INSTEAD = "instead of"  # how the reason begins where software runs in place of hardware that failed

Kind = Literal["auto", "x264", "v4l2m2m", "jetson", "camera"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is to be encoded. `bitrate_bps` is the ceiling: it may be lowered while live, and raised again up to it."""

    width: int
    height: int
    fps: int
    bitrate_bps: int
    gop_ms: int
    preset: str = "superfast"  # of software


def open_encoder(kind: Kind, settings: Settings) -> tuple[Encoder, str]:
    """The encoder, and in words why it is this one. Raises `EncoderError`.

    `auto` takes what the board has. Where that cannot be opened it is software, and the words say that it is instead of what.
    """
    if kind != "auto":
        return _open(kind, settings), "as it was asked for"
    from hw.board import read_board

    board = read_board()
    try:
        return _open(board.encoder, settings), board.encoder_why
    except EncoderError as error:
        if board.encoder == "x264":
            raise
        return _open("x264", settings), f"{INSTEAD} {board.encoder}: {error}"


def _open(kind: Kind, wanted: Settings) -> Encoder:
    if kind == "v4l2m2m":
        from hw.encoder.v4l2m2m import V4l2M2m

        return V4l2M2m(wanted.width, wanted.height, wanted.fps, wanted.bitrate_bps, wanted.gop_ms)
    if kind == "jetson":
        from hw.encoder.jetson import JetsonH264

        return JetsonH264(wanted.width, wanted.height, wanted.fps, wanted.bitrate_bps, wanted.gop_ms)
    from hw.encoder.x264 import X264

    return X264(wanted.width, wanted.height, wanted.fps, wanted.bitrate_bps, wanted.gop_ms, wanted.preset)
