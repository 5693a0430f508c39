"""The video's bitrate follows what the paths carry: from the outputs' figures to the capture worker and the line."""

from __future__ import annotations

from collections.abc import Iterable

from firmware.capture.adapt import Adapt, line_bps
from firmware.flow.camera import CameraSource
from firmware.flow.outputs import FlowOutput

AGAIN_NS = 1_000_000_000  # an order that found no room, or no capture worker, is given again


class Steering:
    """`tick` ten times a second.

    Outputs that dial (SRT callers, RIST) are the paths to the far end, and have a vote. One that waits for receivers is a
    monitor as often as not: the wall next door would say that all is well.
    """

    def __init__(self, source: CameraSource) -> None:
        self._source = source
        spec = source.spec
        self._adapt = Adapt(spec.floor_bps, spec.video_bps, spec.audio_bps) if spec.floor_bps else None
        self._told: tuple[int, str] = (spec.video_bps, "")
        self._told_ns = 0

    def tick(self, outputs: Iterable[FlowOutput], now_ns: int) -> None:
        if self._adapt is None:
            return
        paths = [path for output in outputs if (path := output.path(now_ns)) is not None]
        bitrate_bps = self._adapt.look(paths, now_ns)
        now = bitrate_bps, self._adapt.why
        if now == self._told and now_ns - self._told_ns < AGAIN_NS:
            return
        changed = bitrate_bps != self._told[0]
        self._told, self._told_ns = now, now_ns
        self._source.steer(*now)
        if not changed:
            return
        spec = self._source.spec
        share = line_bps(bitrate_bps, spec.audio_bps) / line_bps(spec.video_bps, spec.audio_bps)
        self._source.playout.set_rate(int(spec.line_bps * share), now_ns)
