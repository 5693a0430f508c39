"""Where our own milliseconds go: stage by stage from capture to the decoded picture."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from firmware.capture.handoff import Receiver
from firmware.model import Camera
from tests.bench.chains import FPS, HEIGHT, WIDTH
from tests.bench.processes import Lab
from tests.bench.report import Table
from tests.bench.watchers import Tap

WARM_UP_S = 2.0


@dataclass
class Stages:
    """ms since capture, a list a stage."""

    NAMES: ClassVar[tuple[str, ...]] = (
        "first datagram sent",
        "last datagram sent",
        "last datagram at the player",
        "decoded",
        "number read",
    )

    times: dict[str, list[float]]
    headroom_ms: float | None

    def at(self, stage: str) -> tuple[float, float]:
        """Median and p99."""
        times = sorted(self.times[stage])
        return statistics.median(times), times[int(len(times) * 0.99)]

    @classmethod
    def of(cls, played: str, tap: Tap | None, window: dict[int, int], seen_ns: dict[int, int]) -> Stages:
        lines = [line.split() for line in played.splitlines()]
        ahead = [int(line[4]) / 90 for line in lines if line[4] != "None"]
        times: dict[str, list[float]] = {name: [] for name in cls.NAMES}
        for line in lines if tap else []:
            assert tap is not None
            number = tap.number_of(int(line[0]))
            if number in window and number in tap.wire and number in seen_ns:
                wire = tap.wire[number]
                instants = (wire.first_ns, wire.last_ns, int(line[2]), int(line[3]), seen_ns[number])
                for name, at_ns in zip(cls.NAMES, instants, strict=True):
                    times[name].append((at_ns - window[number]) / 1e6)
        return cls(times, statistics.median(ahead) if ahead else None)


@dataclass
class HandedOver:
    """What the capture worker alone does. `lists` are (ms from capture to the flow worker's socket, bytes)."""

    lists: list[tuple[float, int]]
    encode_ms: float
    camera: Camera


def handed_over(seconds: float) -> HandedOver:
    """The capture worker by itself, with this process in the flow worker's place."""
    camera = Camera(name="in", width=WIDTH, height=HEIGHT, fps=FPS, video_bps=4_000_000, gop_ms=1000, preset="veryfast")
    with Lab() as lab:
        folder = Path(lab.enter_context(tempfile.TemporaryDirectory()))
        listener = lab.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(folder / "handoff"))
        listener.listen()
        listener.settimeout(20)
        worker = lab.start([sys.executable, "-m", "firmware.capture.worker"], stdin=subprocess.PIPE)
        assert worker.stdin is not None
        fields = {name: getattr(camera, name) for name in camera.__struct_fields__} | {"protocol": "camera"}
        job = {"flow": "bench", "camera": fields, "handoff": str(folder / "handoff"), "snapshot": str(folder / "snapshot")}
        worker.stdin.write(json.dumps(job).encode() + b"\n")
        worker.stdin.flush()
        capture = lab.enter_context(listener.accept()[0])
        lists = _read(capture, seconds)
        encode_ms = float(json.loads((folder / "snapshot").read_text())["encode_ms"])
    return HandedOver(lists, encode_ms, camera)


def _read(capture: socket.socket, seconds: float) -> list[tuple[float, int]]:
    receiver, lists = Receiver(), []
    begin_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < begin_s + seconds:
        came = receiver.feed(capture.recv(1 << 18))
        now_ns = time.monotonic_ns()
        if now_ns > begin_s * 1e9:
            lists += [((now_ns - capture_ns) / 1e6, len(payload)) for capture_ns, payload in came]
    return lists


def handover_table(handed: HandedOver) -> Table:
    times, sizes = sorted(time_ms for time_ms, _ in handed.lists), sorted(size for _, size in handed.lists)
    mux_bps = handed.camera.mux_bps
    table = Table("Our capture worker alone, and what the constant rate adds", ["what", "median", "p99", "unit"])
    table.rows = [
        ["encode", handed.encode_ms, None, "ms"],
        ["capture to flow worker: encode, mux, hand-over", statistics.median(times), times[int(len(times) * 0.99)], "ms"],
        ["bytes of a picture and its sound", int(statistics.median(sizes)), sizes[int(len(sizes) * 0.99)], "bytes"],
        [f"that at the constant {mux_bps / 1e6:.2f} Mb/s", *(_on_wire_ms(sizes, share, mux_bps) for share in (0.5, 0.99)), "ms"],
    ]
    return table


def _on_wire_ms(sizes: list[int], share: float, rate_bps: int) -> float:
    return sizes[int(len(sizes) * share)] * 8000 / rate_bps
