"""One stream to many: what each further output costs, and how many a machine bears without loss."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench.costs import MBIT, PROBING_S, Case, attempt, chosen, measure_all, say, stream_s
from tests.bench.ports import Ports, finish
from tests.bench.processes import BenchError, Lab, cpu_s, free_port, is_bound, load, memory
from tests.bench.relays import Start, Wiring, c_floor, ffmpeg_tee, gst_multiudpsink, ours, python_floor
from tests.bench.report import Report, Table
from tests.bench.streams import make_stream
from tests.bench.verdicts import Goal, cost_report, of_runs
from tests.bench.weights import imports_table, weights_table

SECONDS, REPEATS = 3.0, 3
CAPACITY_SECONDS, CAPACITY_REPEATS = 8.0, 1
GATHER_MS = 8
MANY = (16, 50)
GATHERED = f"ours, gathered for {GATHER_MS} ms"

PEERS = [
    case
    for outputs in (1, *MANY)
    for case in (
        Case("ours", ours, outputs=outputs, ours=True),
        Case(GATHERED, partial(ours, gather_ms=GATHER_MS), outputs=outputs, ours=True),
        Case("gst multiudpsink", gst_multiudpsink, outputs=outputs),
    )
] + [Case("ffmpeg tee", ffmpeg_tee, remuxes=True, settle_s=PROBING_S)]
GOALS = [
    Goal(name, peer, ratio, outputs=outputs)
    for name in ("ours", GATHERED)
    for peer, ratio, outputs in (("ffmpeg tee", 0.6, 1), ("gst multiudpsink", 0.8, 16), ("gst multiudpsink", 0.5, 50))
]


@dataclass(frozen=True)
class Capacity:
    """So many flows, each a process with so many outputs."""

    name: str
    start: Start
    flows: int
    outputs: int
    rate_bps: int

    def __str__(self) -> str:
        flows = f"{self.flows} flows of" if self.flows > 1 else "one flow,"
        return f"{self.name}: {flows} {self.outputs} x {self.rate_bps / MBIT:g} Mb/s"


FULL = [
    Capacity("ours", ours, 1, 50, 8 * MBIT),
    Capacity(GATHERED, partial(ours, gather_ms=GATHER_MS), 1, 50, 8 * MBIT),
    Capacity("gst multiudpsink", gst_multiudpsink, 1, 50, 8 * MBIT),
    Capacity("ours", ours, 20, 1, 10 * MBIT),
    Capacity(GATHERED, partial(ours, gather_ms=GATHER_MS), 20, 1, 10 * MBIT),
    Capacity("gst multiudpsink", gst_multiudpsink, 20, 1, 10 * MBIT),
]


@dataclass(frozen=True)
class Load:
    """What came of it. Megabytes of the largest process."""

    sent: int  # datagrams that should arrive, all outputs together
    lost: int
    overflowed: int
    cpu_s_a_minute: float
    most_mb: float
    now_mb: float
    load: float


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = Ports(folder)
        least_s = stream_s(max(seconds or SECONDS, 2.0))
        streams = {
            rate_bps: make_stream(folder, least_s, rate_bps) for rate_bps in (8 * MBIT, 10 * MBIT)
        }  # the pacer begins again at the end
        results = measure_all(ports, chosen([*PEERS, *floors(folder)], only), streams, seconds or SECONDS, repeats or REPEATS)
        full = [capacity for capacity in FULL if only in str(capacity)]
        loads = bear_all(ports, full, streams, seconds or CAPACITY_SECONDS, repeats or CAPACITY_REPEATS, results.failures)
        weights = weights_table(ports, streams[10 * MBIT], only, results.failures)
    report = cost_report(
        "fanout",
        "UDP to UDP",
        results,
        GOALS,
        [],
        f"Gathered: datagrams wait for up to {GATHER_MS} ms and leave in one system call, that the kernel cuts (UDP segmentation offload).",
        "Sinks take single datagrams, so cutting them is part of the sender's cost here, as on a network card that cannot do it.",
        "Capacity: every datagram is counted, at sinks with 8 MB of buffer each; `at the sink`: what overflowed those, also in `lost`.",
        "The pacer gives all flows their datagrams at the same instant.",
    )
    report.tables += [table for table in (_capacity_table(loads), weights, imports_table() if not only else Table("", [])) if table.rows]
    return report


def floors(folder: Path) -> list[Case]:
    """At 10 Mb/s a datagram comes each 1.05 ms, so that so many are there after as many ms."""
    cases = [Case("Python recv/sendto", python_floor, outputs=MANY[-1])]
    bare = [floor for floor in (c_floor(folder), c_floor(folder, GATHER_MS)) if floor]
    return cases + [Case(floor.name, floor.start, outputs=MANY[-1]) for floor in bare]


def bear_all(
    ports: Ports, capacities: Sequence[Capacity], streams: dict[int, Path], seconds: float, repeats: int, failures: dict[str, str]
) -> dict[Capacity, list[Load]]:
    loads: dict[Capacity, list[Load]] = defaultdict(list)
    for lap in range(repeats):
        for capacity in capacities:
            say(f"{lap + 1} of {repeats}: {capacity}")
            try:
                loads[capacity].append(attempt(partial(bear, ports, capacity, streams[capacity.rate_bps], seconds)))
            except BenchError as error:
                failures[str(capacity)] = str(error)
    say("")
    return loads


def bear(ports: Ports, capacity: Capacity, stream: Path, seconds: float) -> Load:
    settle_s = 2.0
    with Lab() as lab:
        first, into = free_port(capacity.flows * capacity.outputs), free_port(capacity.flows)
        sink = ports.sink(lab, Path("/dev/null"), range(first, first + capacity.flows * capacity.outputs), recorded=0)
        wiring = Wiring(into, first, capacity.outputs, ports.folder)
        processes: list[subprocess.Popen[bytes]] = []
        for flow in range(capacity.flows):
            processes.append(capacity.start(lab, replace(wiring, port=into + flow, first_port=first + flow * capacity.outputs)))
        lab.wait(lambda: all(is_bound(into + flow) for flow in range(capacity.flows)), f"{capacity} listens", timeout_s=60)
        time.sleep(1.0)
        pacer = ports.pace(lab, stream, capacity.rate_bps, settle_s + seconds, range(into, into + capacity.flows))
        time.sleep(settle_s)
        before, began = sum(map(cpu_s, processes)), time.monotonic()
        pacer.wait(settle_s + seconds + 10)
        after, passed, busy = sum(map(cpu_s, processes)), time.monotonic() - began, load()
        held = [memory(process) for process in processes]
        each = int(finish(pacer)["datagrams"])
        time.sleep(1.0)  # what is on its way
        counted = finish(sink)
    sent = each * capacity.flows * capacity.outputs
    return Load(
        sent=sent,
        lost=sent - sum(counted["datagrams"]),
        overflowed=sum(counted["overflowed"]),
        cpu_s_a_minute=(after - before) / passed * 60,
        most_mb=max(one.most for one in held),
        now_mb=max(one.now for one in held),
        load=busy,
    )


def _capacity_table(loads: dict[Capacity, list[Load]]) -> Table:
    columns = ["capacity", "CPU s a minute", "of runs", "datagrams", "lost", "at the sink", "MB most", "MB now", "load"]
    table = Table("Capacity: all datagrams counted, the worst run", columns)
    for capacity, each in loads.items():
        worst = max(each, key=lambda one: one.lost)
        cost = statistics.median(one.cpu_s_a_minute for one in each)
        memories = [max(one.most_mb for one in each), max(one.now_mb for one in each)]
        row = [str(capacity), cost, of_runs(one.cpu_s_a_minute for one in each), worst.sent, worst.lost, worst.overflowed]
        table.rows.append([*row, *memories, max(one.load for one in each)])
    return table
