"""SRT and RIST with AES-256: sending from UDP to one and to eight, and receiving to UDP."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from tests.bench import ours
from tests.bench.costs import MBIT, PROBING_S, Case, chosen, measure_all, stream_s
from tests.bench.ports import Ports
from tests.bench.relays import Start, ours_srt, srt_live_transmit
from tests.bench.report import Report
from tests.bench.senders import ffmpeg_srt, gst_srt, ristreceiver, ristsender, srt_live_transmit_receiver
from tests.bench.streams import make_stream
from tests.bench.verdicts import Goal, Limit, cost_report

SECONDS, REPEATS = 3.0, 3
GATHER_MS = (0, 5, 10, 20)
MANY, MANY_GATHER_MS = 8, (0, 10)
CONNECTING_S = 2.5


def gathering(name: str, gather_ms: int) -> str:
    return f"{name}, gathered for {gather_ms} ms" if gather_ms else name


def sending(gather_ms: int, outputs: int) -> Case:
    return Case(gathering("ours", gather_ms), partial(ours_srt, gather_ms=gather_ms), outputs=outputs, protocol="srt", ours=True)


def receiving(name: str, start: Start, kind: str) -> Case:
    return Case(f"{name}, receiving {kind}", start, connecting_s=CONNECTING_S, ours=name == "ours", kind=f"receiving {kind}")


CASES = [
    *(sending(gather_ms, 1) for gather_ms in GATHER_MS),
    Case("srt-live-transmit", srt_live_transmit, protocol="srt"),
    Case("ffmpeg", ffmpeg_srt, protocol="srt", remuxes=True, settle_s=PROBING_S),
    *(sending(gather_ms, MANY) for gather_ms in MANY_GATHER_MS),
    Case("ffmpeg tee", ffmpeg_srt, outputs=MANY, protocol="srt", remuxes=True, settle_s=PROBING_S),
    *(
        Case(gathering("ours, RIST", gather_ms), partial(ours.rist, gather_ms=gather_ms), protocol="rist", ours=True)
        for gather_ms in (0, 10)
    ),
    Case("ristsender", ristsender, protocol="rist"),
    receiving("ours", ours.srt_receiver, "SRT"),
    receiving("srt-live-transmit", srt_live_transmit_receiver, "SRT"),
    receiving("ours", ours.rist_receiver, "RIST"),
    receiving("ristreceiver", ristreceiver, "RIST"),
    Case("gst srtsink", gst_srt, protocol="srt"),
]
GOALS = [Goal(gathering("ours", gather_ms), "srt-live-transmit", 1.1) for gather_ms in GATHER_MS]
LIMITS = [Limit(gathering("ours", gather_ms), "CPU s a minute", 8.0, outputs=MANY) for gather_ms in MANY_GATHER_MS]


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    seconds = seconds or SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream = make_stream(folder, stream_s(seconds))
        results = measure_all(Ports(folder), chosen(CASES, only), {10 * MBIT: stream}, seconds, repeats or REPEATS)
    return cost_report(
        "srt",
        "SRT and RIST, AES-256",
        results,
        GOALS,
        LIMITS,
        "What is at the other end (srt-live-transmit, ristsender, ristreceiver) is not counted. A receiver's cost depends on how its",
        "sender sends: both get the stream from the same peer.",
    )
