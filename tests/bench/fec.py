"""RTP with SMPTE 2022-1 FEC, 10 x 10: what it costs to send, in evenly spaced packets and a picture at a time."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from tests.bench import ours
from tests.bench.costs import MBIT, PROBING_S, Case, chosen, measure_all, stream_s
from tests.bench.ports import Ports
from tests.bench.report import Report
from tests.bench.senders import ffmpeg_prompeg, ffmpeg_prompeg_from_udp, gst_fec, gst_fec_from_udp
from tests.bench.streams import make_stream
from tests.bench.verdicts import Goal, Limit, cost_report

RATES_BPS = (10 * MBIT, 25 * MBIT)
SECONDS, REPEATS = 4.0, 3
PICTURE_MS = 40  # at 25 a second

EVEN, GATHERED, PICTURES = "ours, evenly spaced", f"ours, gathered for {PICTURE_MS} ms", "ours, given a picture at a time"
GST, FFMPEG = "gst 2022-1 from file", "ffmpeg prompeg from file"

CASES = [
    case
    for rate_bps in RATES_BPS
    for case in (
        Case(EVEN, ours.fec, rate_bps, protocol="fec", ours=True),
        Case(GATHERED, partial(ours.fec, gather_ms=PICTURE_MS), rate_bps, protocol="fec", ours=True),
        Case(PICTURES, ours.fec, rate_bps, protocol="fec", feed="pictures", ours=True),
        Case(GST, gst_fec, rate_bps, protocol="fec", feed="file"),
        Case(FFMPEG, ffmpeg_prompeg, rate_bps, protocol="fec", feed="file", remuxes=True),
    )
] + [
    Case("ours, RTP without FEC", ours.rtp, protocol="rtp", ours=True),
    Case("ours, SRTP and its FEC, evenly spaced", ours.fec_encrypted, protocol="fec", ours=True),
    Case(f"ours, SRTP and its FEC, {PICTURE_MS} ms", partial(ours.fec_encrypted, gather_ms=PICTURE_MS), protocol="fec", ours=True),
    Case("gst 2022-1 from UDP", gst_fec_from_udp, protocol="fec"),
    Case("ffmpeg prompeg from UDP", ffmpeg_prompeg_from_udp, protocol="fec", remuxes=True, settle_s=PROBING_S),
]
GOALS = [
    goal
    for rate_bps in RATES_BPS
    for goal in (Goal(EVEN, GST, 0.5, rate_bps), Goal(GATHERED, FFMPEG, 1.0, rate_bps), Goal(PICTURES, FFMPEG, 1.0, rate_bps))
]
LIMITS = [Limit(EVEN, "packets in 1 ms, usually", 5), Limit(EVEN, "spread ms", 2.0)]  # 1 ms to either side


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    seconds = seconds or SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = chosen(CASES, only)
        streams = {rate_bps: make_stream(folder, stream_s(seconds), rate_bps) for rate_bps in {case.rate_bps for case in cases}}
        results = measure_all(Ports(folder), cases, streams, seconds, repeats or REPEATS)
    return cost_report(
        "fec",
        "RTP with FEC 10 x 10",
        results,
        GOALS,
        LIMITS,
        "Ours takes UDP and adds RTP and FEC; the peers' cheapest way is to read a file themselves: the goals are against that.",
    )
