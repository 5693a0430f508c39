"""How evenly packets leave, for every kind of output: ours as it comes and gathered, a relayed stream and a camera's, beside peers."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path

from tests.bench import ours
from tests.bench.costs import MBIT, Case, chosen, measure_all, stream_s
from tests.bench.ports import Ports
from tests.bench.relays import ours as ours_udp
from tests.bench.relays import ours_srt, srt_live_transmit
from tests.bench.report import Cell, Report, Table
from tests.bench.senders import ffmpeg_prompeg, ffmpeg_srt_from_file, ffmpeg_udp, gst_fec, gst_srt_from_file, gst_udp, ristsender
from tests.bench.srt import gathering
from tests.bench.streams import make_stream
from tests.bench.strips import Strip, strips
from tests.bench.verdicts import Runs, cost, shape_cells, shape_of_all

SECONDS, REPEATS = 2.5, 2
RATE_BPS = 10 * MBIT
GATHER_MS = (0, 10)
CAMERA_S = 5.0  # until its picture is on air
AS_GOOD = 1.1  # figures so close are as good

RELAYED = {
    "UDP": (ours_udp, "udp"),
    "RTP": (ours.rtp, "rtp"),
    "RTP with FEC": (ours.fec, "fec"),
    "SRTP": (ours.srtp, "rtp"),
    "SRT": (ours_srt, "srt"),
    "SRT, listening": (ours.srt_listener, "srt-listener"),
    "RIST": (ours.rist, "rist"),
}
PEERS = [
    Case("gst udpsink", gst_udp, feed="file", kind="UDP"),
    Case("ffmpeg -re", ffmpeg_udp, feed="file", remuxes=True, kind="UDP"),
    Case("ffmpeg -re bitrate=", partial(ffmpeg_udp, options=f"&bitrate={RATE_BPS}"), feed="file", remuxes=True, kind="UDP"),
    Case("gst 2022-1", gst_fec, protocol="fec", feed="file", kind="RTP with FEC"),
    Case("ffmpeg prompeg", ffmpeg_prompeg, protocol="fec", feed="file", remuxes=True, kind="RTP with FEC"),
    Case("srt-live-transmit", srt_live_transmit, protocol="srt", kind="SRT"),
    Case("gst srtsink", gst_srt_from_file, protocol="srt", feed="file", kind="SRT"),
    Case("ffmpeg -re srt", ffmpeg_srt_from_file, protocol="srt", feed="file", remuxes=True, kind="SRT"),
    Case("ristsender", ristsender, protocol="rist", kind="RIST"),
]
CASES = [
    *(
        Case(gathering(f"ours, {kind}", gather_ms), partial(start, gather_ms=gather_ms), protocol=protocol, ours=True, kind=kind)  # type: ignore[arg-type]
        for kind, (start, protocol) in RELAYED.items()
        for gather_ms in GATHER_MS
    ),
    Case("ours, camera, UDP", ours.camera, feed="file", settle_s=CAMERA_S, ours=True, kind="UDP"),
    Case("ours, camera, SRT", partial(ours.camera, protocol="srt"), protocol="srt", feed="file", settle_s=CAMERA_S, ours=True, kind="SRT"),
    *PEERS,
]
LIKE = {"RTP": "UDP", "SRTP": "UDP", "SRT, listening": "SRT"}  # kinds without a peer of their own are held against these

NOTES = [
    "Each by the kernel's times of arrival at the first output. In 1 ms, in 5 ms: the most packets in any, FEC included; usually: in 99 of",
    "100. Spread: of the stream alone, the middle 99 % around the line of constant rate. Ours and srt-live-transmit and ristsender get",
    "evenly spaced UDP; the other peers read a file and pace it themselves; a camera is the pattern, encoded and stuffed. Gathered is on",
    "purpose: so many ms of the stream leave at once. The drawing shows each packet of a tenth of a second.",
]


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    seconds = seconds or SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream = make_stream(folder, stream_s(seconds))
        results = measure_all(Ports(folder), chosen(sorted(CASES, key=_order), only), {RATE_BPS: stream}, seconds, repeats or REPEATS)
    commands = {str(case): each[0].command for case, each in results.runs.items()}
    report = Report("wire", [shapes_table(results.runs), best_table(results.runs)], NOTES, commands=commands, failures=results.failures)
    report.picture = strips([_strip(case, results.runs) for case in results.runs])
    return report


def _order(case: Case) -> tuple[int, bool]:
    return list(RELAYED).index(case.kind), not case.ours


def shapes_table(results: Runs) -> Table:
    columns = [
        "sender",
        "kind",
        "gaps < 50 us",
        "in 1 ms (usually)",
        "in 5 ms (usually)",
        "spread ms",
        "longest gap ms",
        "CPU s a minute",
        "load",
    ]
    table = Table(f"Packets as they leave, {RATE_BPS / MBIT:g} Mb/s", columns)
    for case, runs in results.items():
        shape = shape_of_all(runs)
        table.rows.append([case.name, case.kind, *shape_cells(shape), shape.longest_gap_ms, cost(runs), max(run.load for run in runs)])
    return table


def best_table(results: Runs) -> Table:
    """Ours, not gathered, against the best figure that any peer of this kind has."""
    table = Table("Ours against the best peer of its kind", ["ours", "usually in 1 ms", "best peer", "", "spread ms", "best peer", ""])
    peers = defaultdict(list)
    for case, runs in results.items():
        if not case.ours:
            peers[case.kind].append(shape_of_all(runs))
    for case, runs in results.items():
        others = peers[LIKE.get(case.kind, case.kind)]
        if case.ours and others and "gathered" not in case.name:
            shape = shape_of_all(runs)
            row: list[Cell] = [case.name]
            for own, theirs in (
                (shape.usual_in_1_ms, min(peer.usual_in_1_ms for peer in others)),
                (shape.spread_ms, min(peer.spread_ms for peer in others)),
            ):
                row += [float(own), float(theirs), "met" if own <= theirs * AS_GOOD else "missed"]
            table.rows.append(row)
    return table


def _strip(case: Case, results: Runs) -> Strip:
    runs = sorted(results[case], key=lambda run: run.shape.in_1_ms)
    sample = runs[(len(runs) - 1) // 2].sample
    shape = shape_of_all(results[case])
    figures = f"{shape.usual_in_1_ms:.0f} in 1 ms, spread {shape.spread_ms:.1f} ms"
    return Strip(case.kind, case.name, [packet.at_ns - sample[0].at_ns for packet in sample], figures, case.ours)
