"""Costs and shapes as tables: what was measured, ours against each peer, and whether the goals are met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.bench.costs import MBIT, Case, Results, Run
from tests.bench.report import Bar, Cell, Report, Table
from tests.bench.shape import Shape, median_shape

Runs = dict[Case, list[Run]]


@dataclass(frozen=True)
class Goal:
    """Ours shall cost at most so many times what the peer does, at this rate and number of outputs."""

    ours: str
    peer: str
    ratio: float
    rate_bps: int = 10 * MBIT
    outputs: int = 1


@dataclass(frozen=True)
class Limit:
    """A figure of ours that shall be no more than this, whatever peers do."""

    ours: str
    figure: Literal["CPU s a minute", "packets in 1 ms, usually", "spread ms"]
    most: float
    rate_bps: int = 10 * MBIT
    outputs: int = 1


COLUMNS = [
    "sender",
    "Mb/s",
    "outputs",
    "CPU s a minute",
    "of runs",
    "MB",
    "gaps < 50 us",
    "in 1 ms (usually)",
    "in 5 ms (usually)",
    "spread ms",
    "delivered",
    "load",
]
NOTES = [
    "CPU: user and system time of the sender, its threads and children, start-up excluded. MB: the most it ever held (VmHWM).",
    "In 1 ms, in 5 ms: the most packets in any, FEC included; usually: in 99 of 100. Spread: of the stream alone, the middle 99 % around",
    "the line of constant rate. By the kernel's times of arrival at the first output. NOT COMPARABLE: shares of gaps under 50 us are 0.25",
    "apart, or 5 ms usually hold 2.5 times as many packets: who sends in bursts sleeps longer, costs less, and leaves smoothing to others.",
]


def cost_report(name: str, what: str, results: Results, goals: Sequence[Goal], limits: Sequence[Limit], *notes: str) -> Report:
    runs = results.runs
    tables = [costs_table(f"{what}: CPU seconds a minute, median", runs), ratios_table(runs, goals), limits_table(runs, limits)]
    commands = {str(case): each[0].command for case, each in runs.items()}
    shown = [table for table in tables if table.rows]
    return Report(name, shown, [*NOTES, *notes], cost_bars(what, runs), commands, failures=results.failures)


def costs_table(title: str, results: Runs) -> Table:
    table = Table(title, COLUMNS)
    for case, runs in results.items():
        cells: list[Cell] = [case.name, f"{case.rate_bps / MBIT:g}", case.outputs, cost(runs), of_runs(run.cpu_s_a_minute for run in runs)]
        cells += [round(max(run.memory.most for run in runs)), *shape_cells(shape_of_all(runs)), _delivered(case, runs)]
        table.rows.append([*cells, max(run.load for run in runs)])
    return table


def of_runs(figures: Iterable[float]) -> str:
    return ", ".join(f"{figure:.2f}" for figure in figures)


def shape_cells(shape: Shape) -> list[Cell]:
    most = [f"{shape.in_1_ms:.0f} ({shape.usual_in_1_ms:.0f})", f"{shape.in_5_ms:.0f} ({shape.usual_in_5_ms:.0f})"]
    return [round(shape.back_to_back, 3), *most, shape.spread_ms]


def cost(runs: list[Run]) -> float:
    return statistics.median(run.cpu_s_a_minute for run in runs)


def shape_of_all(runs: list[Run]) -> Shape:
    return median_shape([run.shape for run in runs])


def _delivered(case: Case, runs: list[Run]) -> str:
    shares = [run.delivered for run in runs if run.delivered is not None]
    overflowed = sum(run.overflowed for run in runs)
    said = f"{min(shares):.4f}" if shares else "remuxed" if case.remuxes else "-"
    return f"{said} ({overflowed} at the sink)" if overflowed else said


def ratios_table(results: Runs, goals: Sequence[Goal]) -> Table:
    """Ours against every peer with as much to do, and what it shall be."""
    table = Table("Ratios of CPU time; below 1 ours is ahead", ["ours", "against", "Mb/s", "outputs", "ratio", "goal", "", "packets leave"])
    for case, runs in results.items():
        for peer, peer_runs in results.items():
            if not case.ours or peer.ours or peer.compared_by != case.compared_by:
                continue
            ratio = cost(runs) / max(cost(peer_runs), 0.01)
            goal = next((goal.ratio for goal in goals if (goal.ours, goal.peer) == (case.name, peer.name) and _fits(goal, case)), None)
            said = "" if goal is None else _verdict(ratio <= goal)
            cells: list[Cell] = [case.name, peer.name, f"{case.rate_bps / MBIT:g}", case.outputs, ratio, goal, said]
            table.rows.append([*cells, shape_of_all(runs).compared(shape_of_all(peer_runs))])
    return table


def limits_table(results: Runs, limits: Sequence[Limit]) -> Table:
    table = Table("Goals that need no peer", ["ours", "Mb/s", "outputs", "what", "is", "at most", ""])
    for case, runs in results.items():
        for limit in limits:
            if limit.ours == case.name and _fits(limit, case):
                shape = shape_of_all(runs)
                figures = {"CPU s a minute": cost(runs), "packets in 1 ms, usually": shape.usual_in_1_ms, "spread ms": shape.spread_ms}
                value = figures[limit.figure]
                cells: list[Cell] = [case.name, f"{case.rate_bps / MBIT:g}", case.outputs, limit.figure, float(value), float(limit.most)]
                table.rows.append([*cells, _verdict(value <= limit.most)])
    return table


def _verdict(good: bool) -> str:
    return "met" if good else "missed"


def _fits(goal: Goal | Limit, case: Case) -> bool:
    return (goal.rate_bps, goal.outputs) == (case.rate_bps, case.outputs)


def cost_bars(what: str, results: Runs) -> list[Bar]:
    bars = []
    for case, runs in results.items():
        unit = f"CPU s a minute, {shape_of_all(runs).usual_in_1_ms:.0f} packets in 1 ms"
        bars.append(Bar(f"{what}, {case.group}", case.name, cost(runs), unit, case.ours))
    return sorted(bars, key=lambda bar: (bar.group, not bar.ours, bar.value))
