"""SRT with AES-256 from UDP: one output and eight."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from tests.bench.costs import PROBING_S, Case, Goal, chosen, cost_report, measure_all
from tests.bench.ports import Ports
from tests.bench.relays import ours_srt, srt_live_transmit
from tests.bench.report import Report
from tests.bench.senders import ffmpeg_srt, gst_srt
from tests.bench.streams import make_stream

SECONDS, REPEATS = 6.0, 3
GATHER_MS = (0, 5, 10)
MANY = 8


def ours(gather_ms: int, outputs: int) -> Case:
    name = f"ours, gathered for {gather_ms} ms" if gather_ms else "ours"
    return Case(name, partial(ours_srt, gather_ms=gather_ms), outputs=outputs, protocol="srt", ours=True)


CASES = [
    *(ours(gather_ms, 1) for gather_ms in GATHER_MS),
    Case("srt-live-transmit", srt_live_transmit, protocol="srt"),
    Case("ffmpeg", ffmpeg_srt, protocol="srt", remuxes=True, settle_s=PROBING_S),
    Case("gst srtsink", gst_srt, protocol="srt"),
    *(ours(gather_ms, MANY) for gather_ms in GATHER_MS),
    Case("ffmpeg tee", ffmpeg_srt, outputs=MANY, protocol="srt", remuxes=True, settle_s=PROBING_S),
    Case("gst tee", gst_srt, outputs=MANY, protocol="srt"),
]
GOALS = [Goal(f"ours{suffix}", "srt-live-transmit", 1.1) for suffix in ("", *(f", gathered for {ms} ms" for ms in GATHER_MS[1:]))]


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    seconds = seconds or SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream = make_stream(folder, seconds + PROBING_S + 4)
        results = measure_all(Ports(folder), chosen(CASES, only), {10_000_000: stream}, seconds, repeats or REPEATS)
    return cost_report(
        "srt",
        "SRT AES-256 from UDP",
        results,
        GOALS,
        f"Goal for {MANY} outputs: 8.00 CPU seconds a minute at most. Receivers are srt-live-transmit, not counted.",
    )
