"""The bitrate by what the paths carry, beside belacoder's published rule, on the same links, all in made-up time."""

from __future__ import annotations

from tests.bench.adaptplot import Panel, adapt_plot
from tests.bench.report import Cell, Report, Table
from tests.capture import adaptruns
from tests.capture.adaptruns import CEILING, Ours, Rule, Run, Theirs
from tests.capture.adapttraces import LEAD_S, TRACES, Trace

LATENCIES_MS = (500, 2000)  # a venue's, and the one that belacoder has by itself
COLUMNS = ["link", "rule", "picture lost ms", "mean Mb/s", "at the ceiling %", "down after s", "back after s"]


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    """Neither length nor number matters: each run is the same."""
    report = Report("adapt")
    panels: list[Panel] = []
    for latency_ms in LATENCIES_MS:
        table = Table(f"SRT latency {latency_ms} ms, ceiling {CEILING / 1e6:.0f} Mb/s", COLUMNS)
        for trace in TRACES:
            if only not in trace.name:
                continue
            rules: dict[str, Rule] = {"ours": Ours(), "belacoder's": Theirs(latency_ms, len(trace.links()))}
            both = {name: adaptruns.run(name, trace.links(), trace.seconds, rule, latency_ms) for name, rule in rules.items()}
            table.rows += [_row(trace, name, found) for name, found in both.items()]
            if latency_ms == LATENCIES_MS[0]:
                panels.append(Panel(trace, both["ours"], both["belacoder's"]))
        report.tables.append(table)
    report.notes = [f"{trace.name}: {trace.words}" for trace in TRACES if only in trace.name]
    report.notes.append(f"Figures are of everything after the first {LEAD_S:.0f} s; both begin at the ceiling.")
    report.picture = adapt_plot(panels, LATENCIES_MS[0])
    return report


def _row(trace: Trace, name: str, found: Run) -> list[Cell]:
    rates = found.bps(LEAD_S, trace.seconds)
    down = found.reaction_s(trace.falls_at, trace.to_bps) if trace.falls_at is not None else None
    back = found.back_s(trace.better_at, 0.98) if trace.better_at is not None else None
    at_ceiling = sum(bps > 0.98 * CEILING for bps in rates) / len(rates)
    return [
        trace.name,
        name,
        sum(at >= LEAD_S for at in found.lost_at) * 33,
        round(sum(rates) / len(rates) / 1e6, 2),
        round(at_ceiling * 100),
        "" if down is None else round(down, 1),
        "never" if back is None else round(back, 1),
    ]
