"""RTP with SMPTE 2022-1 FEC, 10 x 10: what it costs to send, in evenly spaced packets and a picture at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.costs import MBIT, PROBING_S, Case, Goal, chosen, cost_report, measure_all
from tests.bench.ports import Ports
from tests.bench.report import Report
from tests.bench.senders import ffmpeg_prompeg, ffmpeg_prompeg_from_udp, gst_fec, gst_fec_from_udp, ours_fec, ours_rtp
from tests.bench.streams import make_stream

RATES_BPS = (10 * MBIT, 25 * MBIT)
SECONDS, REPEATS = 7.0, 3
SPARE_S = PROBING_S + 4

CASES = [
    case
    for rate_bps in RATES_BPS
    for case in (
        Case("ours, evenly spaced", ours_fec, rate_bps, protocol="fec", ours=True),
        Case("ours, a picture at a time", ours_fec, rate_bps, protocol="fec", feed="pictures", ours=True),
        Case("gst 2022-1 from file", gst_fec, rate_bps, protocol="fec", feed="file"),
        Case("ffmpeg prompeg from file", ffmpeg_prompeg, rate_bps, protocol="fec", feed="file", remuxes=True),
    )
] + [
    Case("ours, RTP without FEC", ours_rtp, protocol="rtp", ours=True),
    Case("gst 2022-1 from UDP", gst_fec_from_udp, protocol="fec"),
    Case("ffmpeg prompeg from UDP", ffmpeg_prompeg_from_udp, protocol="fec", remuxes=True, settle_s=PROBING_S),
]
GOALS = [
    goal
    for rate_bps in RATES_BPS
    for goal in (
        Goal("ours, evenly spaced", "gst 2022-1 from file", 0.5, rate_bps),
        Goal("ours, a picture at a time", "ffmpeg prompeg from file", 1.0, rate_bps),
    )
]


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    seconds = seconds or SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = chosen(CASES, only)
        streams = {rate_bps: make_stream(folder, seconds + SPARE_S, rate_bps) for rate_bps in {case.rate_bps for case in cases}}
        results = measure_all(Ports(folder), cases, streams, seconds, repeats or REPEATS)
    return cost_report(
        "fec",
        "RTP with FEC 10 x 10",
        results,
        GOALS,
        "Ours takes UDP and adds RTP and FEC; the peers' cheapest way is to read a file themselves: the goals are against that.",
    )
