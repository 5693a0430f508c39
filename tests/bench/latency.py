"""Glass to glass: from the instant a picture is captured to the instant its number can be read off the decoded one."""

from __future__ import annotations

import shlex
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.chains import FPS, OURS, RECEIVERS, SENDERS, SRT_LATENCY_MS, TRANSPORTS, Chain, all_chains, start_receiver, start_sender
from tests.bench.processes import Lab, free_port, load
from tests.bench.report import Bar, Report, Table
from tests.bench.stages import Stages, handed_over, handover_table
from tests.bench.watchers import Screen, Tap

WARM_UP_S = 3.0
LATE_S = 1.0  # after the window, so that its last pictures arrive
SECONDS, REPEATS = 10.0, 3


@dataclass
class Measured:
    """One run of one chain. Times in ms."""

    latencies: list[float]
    expected: int
    load: float
    commands: list[list[str]]
    headroom_ms: float | None = None
    stages: Stages | None = None
    mistaken: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.latencies)

    @property
    def p99(self) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)]


@dataclass
class Chained:
    runs: list[Measured] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(run.median for run in self.runs)

    @property
    def p99(self) -> float:
        return statistics.median(run.p99 for run in self.runs)


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    report = Report("latency")
    chains = [chain for chain in all_chains() if only in str(chain)]
    results: dict[Chain, Chained] = defaultdict(Chained)
    for _ in range(repeats or REPEATS):
        for chain in chains:
            results[chain].runs.append(measure(chain, seconds or SECONDS))
    for transport in TRANSPORTS:
        if any(chain.transport == transport for chain in chains):
            report.tables += [_matrix(transport, results), _ratios(transport, results, report.bars)]
    report.tables.append(_details(results))
    stages = {chain: result for chain, result in results.items() if result.runs[0].stages}
    if stages:
        report.tables += [handover_table(handed_over(seconds or SECONDS)), _stage_table(stages)]
    report.notes = [
        "Latency counts from capture. For ours that is the PTS, in CLOCK_MONOTONIC; for peers the instant at which the same picture begins",
        "to be written into the encoder's pipe, which costs them about 1 ms. Ours meanwhile sends a second, tapped output.",
        "The receiver called ours is a bufferless player of these tests, behind `pressbox recv` for SRT: it is no part of the product.",
        "So ratios at the same receiver compare senders; those of whole chains compare players above all.",
    ]
    report.notes += [run.mistaken for result in results.values() for run in result.runs if run.mistaken]
    report.commands = {str(chain): "\n".join(map(shlex.join, result.runs[0].commands)) for chain, result in results.items()}
    return report


def measure(chain: Chain, seconds: float) -> Measured:
    with Lab() as lab:
        folder = Path(lab.enter_context(tempfile.TemporaryDirectory()))
        port, clock, log = free_port(), folder / "clock", folder / "player"
        tap = Tap(FPS)
        lab.callback(tap.close)
        player, receiving = start_receiver(lab, chain, port, log)
        screen = Screen(player)
        sending = start_sender(lab, chain, port, tap.port, clock)
        lab.wait(lambda: screen.seen_ns and (tap.start_ns is not None or clock.exists()), f"{chain}: the first picture")
        time.sleep(WARM_UP_S)
        begin_ns = time.monotonic_ns()
        time.sleep(seconds)
        end_ns, busy = time.monotonic_ns(), load()
        time.sleep(LATE_S)
        start_ns = tap.start_ns if tap.start_ns is not None else int(clock.read_text())
        played = log.read_text() if log.exists() else ""
    captured = {number: start_ns + number * 1_000_000_000 // FPS for number in range((end_ns - start_ns) * FPS // 1_000_000_000)}
    window = {number: at_ns for number, at_ns in captured.items() if at_ns >= begin_ns}
    latencies = [(screen.seen_ns[number] - at_ns) / 1e6 for number, at_ns in window.items() if number in screen.seen_ns]
    measured = Measured(latencies, len(window), busy, [*receiving, *sending])
    if chain.receiver == "ours":
        stages = Stages.of(played, tap if chain.sender == "ours" else None, window, screen.seen_ns)
        measured.headroom_ms = stages.headroom_ms
        measured.stages = stages if chain.sender == "ours" else None
    if tap.disagreeing:
        measured.mistaken = (
            f"{chain}: {tap.disagreeing} of {tap.checked} pictures have another number burnt in than their PTS says: do not trust it"
        )
    return measured


def _matrix(transport: str, results: dict[Chain, Chained]) -> Table:
    what = "UDP" if transport == "udp" else f"SRT, latency {SRT_LATENCY_MS} ms"
    table = Table(
        f"Glass to glass through {what}: 720p30, x264 veryfast zerolatency 4 Mb/s; median / p99 ms", ["sender \\ receiver", *RECEIVERS]
    )
    for sender in SENDERS:
        cells = [results.get(Chain(transport, sender, receiver)) for receiver in RECEIVERS]
        table.rows.append([sender, *(f"{cell.median:.1f} / {cell.p99:.1f}" if cell else None for cell in cells)])
    return table


def _ratios(transport: str, results: dict[Chain, Chained], bars: list[Bar]) -> Table:
    """Our sender against each other sender, at the same receiver."""
    table = Table(
        f"Ratios through {transport}, medians; below 1 ours is ahead", ["ours", "against", "ours ms", "peer ms", "ratio", "p99 ratio"]
    )
    pairs = [
        (Chain(transport, ours, receiver), Chain(transport, peer, receiver))
        for ours in OURS
        for receiver in RECEIVERS
        for peer in ("ffmpeg", "gst")
    ]
    for ours, peer in pairs:
        a, b = results.get(ours), results.get(peer)
        if a and b:
            row = [f"{ours.sender} -> {ours.receiver}", f"{peer.sender} -> {peer.receiver}"]
            table.rows.append([*row, a.median, b.median, a.median / b.median, a.p99 / b.p99])
    for receiver in RECEIVERS:
        for sender in SENDERS:
            if result := results.get(Chain(transport, sender, receiver)):
                group = f"Glass to glass, {transport.upper()}, received by {'our test player' if receiver == 'ours' else receiver}, median"
                bars.append(Bar(group, f"{sender} -> {receiver}", result.median, "ms", sender in OURS))
    return table


def _details(results: dict[Chain, Chained]) -> Table:
    table = Table("Every chain", ["chain", "median ms", "p99 ms", "medians of runs", "frames seen", "PTS ahead of PCR, ms", "load"])
    for chain, result in results.items():
        seen, expected = sum(len(run.latencies) for run in result.runs), sum(run.expected for run in result.runs)
        headroom = result.runs[0].headroom_ms
        medians = ", ".join(f"{run.median:.1f}" for run in result.runs)
        busy = max(run.load for run in result.runs)
        table.rows.append([str(chain), result.median, result.p99, medians, f"{seen} of {expected}", headroom, busy])
    return table


def _stage_table(results: dict[Chain, Chained]) -> Table:
    table = Table("Where ours are spent: ms since capture at the end of each stage, medians (p99)", ["stage", *map(str, results)])
    for stage in Stages.NAMES:
        row: list[str | float | int | None] = [stage]
        for result in results.values():
            cells = [run.stages.at(stage) for run in result.runs if run.stages]
            row.append("{:.1f} ({:.1f})".format(*(statistics.median(values) for values in zip(*cells, strict=True))))
        table.rows.append(row)
    return table
