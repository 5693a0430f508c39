"""What a sender costs, and how its packets leave, measured in one window: the common part of the fec, srt and fanout benches."""

from __future__ import annotations

import secrets
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.farends import far_end
from tests.bench.ports import Ports, finish
from tests.bench.processes import BenchError, Lab, Memory, cpu_s, free_port, is_bound, load, memory
from tests.bench.relays import Start, Wiring
from tests.bench.report import Bar, Cell, Report, Table
from tests.bench.shape import Shape, median_shape
from tests.bench.streams import FRAME_MS

MBIT = 1_000_000
SETTLE_S = 2.0
PROBING_S = 6.0  # ffmpeg looks at a network's stream for up to 5 s, then sends all of it at once
CONNECTING_S = {"srt": 1.0, "rist": 1.0}


@dataclass(frozen=True)
class Case:
    """One row. `feed`: evenly spaced datagrams, all datagrams of a picture at once, or the file itself, which the sender paces."""

    name: str
    start: Start
    rate_bps: int = 10 * MBIT
    outputs: int = 1
    protocol: Literal["udp", "rtp", "fec", "srt", "rist"] = "udp"
    feed: Literal["even", "pictures", "file"] = "even"
    ours: bool = False
    remuxes: bool = False  # its output is not its input, so what it delivers cannot be counted against it
    settle_s: float = SETTLE_S

    @property
    def group(self) -> str:
        return f"{self.rate_bps / MBIT:g} Mb/s x {self.outputs}"


@dataclass(frozen=True)
class Goal:
    """Ours shall cost at most so many times what the peer does, at this rate and number of outputs."""

    ours: str
    peer: str
    ratio: float
    rate_bps: int = 10 * MBIT
    outputs: int = 1


@dataclass(frozen=True)
class Run:
    cpu_s_a_minute: float
    memory: Memory
    shape: Shape | None
    delivered: float | None
    overflowed: int  # at the sinks: none of the sender's fault
    load: float
    command: str


@dataclass
class Results:
    runs: dict[Case, list[Run]]
    failures: dict[str, str]  # why, by row


def measure_all(ports: Ports, cases: Sequence[Case], streams: dict[int, Path], seconds: float, repeats: int) -> Results:
    """Every case once, then every case again: what the machine does meanwhile hits all of them. A case that fails is not repeated."""
    runs: dict[Case, list[Run]] = defaultdict(list)
    failures: dict[str, str] = {}
    for _ in range(repeats):
        for case in cases:
            row = f"{case.name}, {case.group}"
            if row in failures:
                continue
            try:
                runs[case].append(measure(ports, case, streams[case.rate_bps], seconds))
            except BenchError as error:
                failures[row] = str(error)
    return Results(runs, failures)


def measure(ports: Ports, case: Case, stream: Path, seconds: float) -> Run:
    with Lab() as lab:
        wiring = Wiring(
            free_port(), free_port(max(case.outputs, 5)), case.outputs, ports.folder, secrets.token_hex(16), stream, case.rate_bps
        )
        far = far_end(lab, ports, case.protocol, wiring)
        process = case.start(lab, wiring)
        feeding_s = case.settle_s + seconds + 1
        pacer: subprocess.Popen[bytes] | None = None
        if case.feed != "file":
            lab.wait(lambda: is_bound(wiring.port) and process.poll() is None, f"{case.name} listens")
            time.sleep(CONNECTING_S.get(case.protocol, 0.3))
            pacer = ports.pace(lab, stream, case.rate_bps, feeding_s, [wiring.port], FRAME_MS if case.feed == "pictures" else 0)
        time.sleep(case.settle_s)
        before, began_ns = cpu_s(process), time.time_ns()
        time.sleep(seconds)
        after, ended_ns, busy, used = cpu_s(process), time.time_ns(), load(), memory(process)
        sent = pacer and int(finish_when_done(pacer, feeding_s)["datagrams"])
        time.sleep(0.5)  # what is on its way
        counted = far.finish()
        shape = far.shape(began_ns, ended_ns)
    return Run(
        cpu_s_a_minute=(after - before) / (ended_ns - began_ns) * 60e9,
        memory=used,
        shape=shape,
        delivered=far.least(counted) / sent if sent and not case.remuxes else None,
        overflowed=sum(counted["overflowed"]),
        load=busy,
        command=_as_typed(process, wiring),
    )


def finish_when_done(pacer: subprocess.Popen[bytes], seconds: float) -> dict[str, int]:
    pacer.wait(seconds + 5)
    return finish(pacer)  # type: ignore[no-any-return]


def _as_typed(process: subprocess.Popen[bytes], wiring: Wiring) -> str:
    words = process.args if isinstance(process.args, list) else [process.args]
    return " ".join(map(str, words)).replace(wiring.passphrase, "…")


COLUMNS = [
    "sender",
    "Mb/s",
    "outputs",
    "CPU s a minute",
    "of runs",
    "MB",
    "gaps < 50 us",
    "in 1 ms",
    "in 5 ms",
    "spread ms",
    "delivered",
    "load",
]


def costs_table(title: str, results: dict[Case, list[Run]]) -> Table:
    table = Table(title, COLUMNS)
    for case, runs in results.items():
        shape = median_shape([run.shape for run in runs if run.shape])
        cells: list[Cell] = [case.name, f"{case.rate_bps / MBIT:g}", case.outputs, _cost(runs), of_runs(run.cpu_s_a_minute for run in runs)]
        cells += [round(max(run.memory.most for run in runs)), *shape_cells(shape), _delivered(case, runs), max(run.load for run in runs)]
        table.rows.append(cells)
    return table


def of_runs(figures: Iterable[float]) -> str:
    return ", ".join(f"{figure:.2f}" for figure in figures)


def shape_cells(shape: Shape | None) -> list[Cell]:
    if shape is None:
        return [None] * 4
    return [round(shape.back_to_back, 3), round(shape.in_1_ms), round(shape.in_5_ms), shape.spread_ms]


def _cost(runs: list[Run]) -> float:
    return statistics.median(run.cpu_s_a_minute for run in runs)


def _delivered(case: Case, runs: list[Run]) -> str:
    shares = [run.delivered for run in runs if run.delivered is not None]
    overflowed = sum(run.overflowed for run in runs)
    said = f"{min(shares):.4f}" if shares else "remuxed" if case.remuxes else "-"
    return f"{said} ({overflowed} at the sink)" if overflowed else said


def ratio_tables(results: dict[Case, list[Run]], goals: Sequence[Goal]) -> list[Table]:
    """Ours against every peer with as much to do, and what it shall be."""
    table = Table("Ratios of CPU time; below 1 ours is ahead", ["ours", "against", "Mb/s", "outputs", "ratio", "goal", "", "packets leave"])
    for case, runs in results.items():
        for peer, peer_runs in results.items():
            if not case.ours or peer.ours or peer.group != case.group or peer.protocol != case.protocol:
                continue
            ratio = _cost(runs) / max(_cost(peer_runs), 0.01)
            goal = next((goal.ratio for goal in goals if (goal.ours, goal.peer) == (case.name, peer.name) and _fits(goal, case)), None)
            said = "" if goal is None else "met" if ratio <= goal else "missed"
            cells: list[Cell] = [case.name, peer.name, f"{case.rate_bps / MBIT:g}", case.outputs, ratio, goal, said]
            table.rows.append([*cells, _compared(runs, peer_runs)])
    return [table] if table.rows else []


def _fits(goal: Goal, case: Case) -> bool:
    return (goal.rate_bps, goal.outputs) == (case.rate_bps, case.outputs)


def _compared(runs: list[Run], peer_runs: list[Run]) -> str:
    shape, peer = (median_shape([run.shape for run in each if run.shape]) for each in (runs, peer_runs))
    return shape.compared(peer) if shape and peer else "not known"


def cost_bars(what: str, results: dict[Case, list[Run]]) -> list[Bar]:
    bars = []
    for case, runs in results.items():
        shape = median_shape([run.shape for run in runs if run.shape])
        unit = f"CPU s a minute, {shape.in_1_ms:.0f} packets in 1 ms" if shape else "CPU s a minute"
        bars.append(Bar(f"{what}, {case.group}", case.name, _cost(runs), unit, case.ours))
    return sorted(bars, key=lambda bar: (bar.group, not bar.ours, bar.value))


NOTES = [
    "CPU: user and system time of the sender, its threads and children from /proc, start-up excluded. MB: the most it ever held (VmHWM).",
    "In 1 ms, in 5 ms: the most packets in any, FEC included. Spread: the middle 99 % around the line of constant rate, stream alone.",
    "Both by the kernel's times of arrival at the first output. NOT COMPARABLE: shares of gaps under 50 us 0.25 apart, or 2.5 times",
    "as many packets in 5 ms, in 99 of 100 stretches: who sends in bursts sleeps longer, costs less, and leaves the smoothing to others.",
]


def cost_report(name: str, what: str, results: Results, goals: Sequence[Goal], *notes: str) -> Report:
    runs = results.runs
    tables = [costs_table(f"{what}: CPU seconds a minute, median", runs), *ratio_tables(runs, goals)]
    commands = {f"{case.name}, {case.group}": each[0].command for case, each in runs.items()}
    return Report(name, tables, [*NOTES, *notes], cost_bars(what, runs), commands, failures=results.failures)


def chosen(cases: Sequence[Case], only: str) -> list[Case]:
    return [case for case in cases if only in case.name]
