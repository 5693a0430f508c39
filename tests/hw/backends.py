"""Every encoder that can run here, as the conformance test opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hw.encoder import Encoder
from hw.encoder.jetson import JetsonH264
from hw.encoder.v4l2m2m import V4l2M2m
from hw.encoder.x264 import X264
from tests.hw.m2m import Codec
from tests.hw.nvidia import gi_missing, stand_ins


@dataclass(frozen=True)
class BackEnd:
    """`open`: width, height, fps, bitrate_bps, gop_ms. `held`: pictures that it keeps to itself, and says so."""

    name: str
    open: Callable[[int, int, int, int, int], Encoder]
    held: int = 0
    missing: str = ""  # why it cannot run on this machine; empty: it can

    def param(self) -> object:
        marks = [pytest.mark.skip(reason=self.missing)] if self.missing else []
        return pytest.param(self, id=self.name, marks=marks)


def _x264(width: int, height: int, fps: int, bitrate_bps: int, gop_ms: int) -> Encoder:
    return X264(width, height, fps, bitrate_bps, gop_ms, "superfast")


def _x264_ultrafast(width: int, height: int, fps: int, bitrate_bps: int, gop_ms: int) -> Encoder:
    return X264(width, height, fps, bitrate_bps, gop_ms, "ultrafast")


def _v4l2m2m(width: int, height: int, fps: int, bitrate_bps: int, gop_ms: int) -> Encoder:
    return V4l2M2m(width, height, fps, bitrate_bps, gop_ms, path=Path("/dev/video11"), open_device=Codec().open)


def _jetson(width: int, height: int, fps: int, bitrate_bps: int, gop_ms: int) -> Encoder:
    return JetsonH264(width, height, fps, bitrate_bps, gop_ms, stand_ins())


BACK_ENDS = [
    BackEnd("x264 superfast", _x264),
    BackEnd("x264 ultrafast", _x264_ultrafast),
    BackEnd("v4l2m2m, stand-in", _v4l2m2m),
    BackEnd("jetson, stand-in", _jetson, missing=gi_missing()),
]
