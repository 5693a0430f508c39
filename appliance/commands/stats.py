"""`pressbox flow stats`: what was recorded of a flow, a row a figure, with a small picture of how it went."""

from __future__ import annotations

import argparse
import math
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from appliance.exits import FAILED, OK, USAGE, Failure

if TYPE_CHECKING:
    from firmware.metrics.history import History, Point, Statistic

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 60  # characters of the picture
MOST_PERIODS = 100_000
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
SHOWN = (
    *("BitRate", "NotRecoveredPackets", "RecoveredPackets", "MergeActive"),
    *("SourceBitRate", "SourceRoundTripTime", "SourcePacketLossPercent", "SourceRecoveredPackets", "SourceNotRecoveredPackets"),
    *("OutputBitrate", "OutputRoundTripTime", "OutputResentPackets", "OutputNotRecoveredPackets"),
)
SCALES = {
    "Bits/Second": (1e6, "Mb/s"),
    "Bytes": (1e6, "MB"),
    "Milliseconds": (1, "ms"),
    "Percent": (1, "%"),
    "Count": (1, ""),
    "None": (1, ""),
}


class Row(NamedTuple):
    end: str
    metric: str
    statistic: Statistic
    points: list[Point]


def add(actions: Any) -> None:
    """The action `stats`, beside the others of `pressbox flow`."""
    stats = actions.add_parser(
        "stats",
        help="what was recorded: throughput, RTT, loss and repairs of each source and output",
        description="What was recorded: by the second for a day of the flow's life, by the minute for 30 days.",
        epilog="examples:\n  pressbox flow stats studio\n  pressbox flow stats studio --last 24h --period 5m --metric SourceBitRate --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stats.add_argument("name", help="name of the flow")
    stats.add_argument("--last", type=_duration, default=600, metavar="TIME", help="how far back: 90s, 10m, 24h, 30d (default: 10m)")
    stats.add_argument("--period", type=_duration, metavar="TIME", help="seconds that become one figure (default: a 60th of --last)")
    stats.add_argument("--metric", action="append", metavar="NAME", help="only this one, by MediaConnect's name; may be repeated")
    stats.add_argument("--json", action="store_true", help="every point, as JSON")
    stats.set_defaults(run=run)


def _duration(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if found is None or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text} is not a time; write it as 90s, 10m, 24h or 30d")
    return int(found[1]) * UNITS[found[2] or "s"]


def run(options: argparse.Namespace) -> int:
    from firmware.metrics.history import History
    from firmware.metrics.measure import METRICS
    from firmware.places import Places

    places = Places.from_environment()
    history = History(places.state, places.run)
    for metric in options.metric or ():
        if metric not in METRICS:
            raise Failure(USAGE, f"--metric: `{metric}` is unknown; allowed are {', '.join(METRICS)}")
    period_s: int = options.period or max(1, math.ceil(options.last / WIDEST))
    if options.last // period_s > MOST_PERIODS:
        raise Failure(USAGE, f"--period: {period_s} s makes more than {MOST_PERIODS} periods of --last; write a longer one")
    if options.name not in history.flows():
        known = ", ".join(history.flows()) or "none; metrics are recorded while `pressbox run` runs"
        raise Failure(FAILED, f"nothing was recorded of a flow `{options.name}`; recorded are {known}")
    until = math.ceil(time.time())
    rows = rows_of(history, options.name, until - options.last, until, period_s, options.metric)
    if options.json:
        print(_json(options.name, period_s, rows))
    else:
        print("\n".join(lines_of(rows, until - options.last, until, period_s)))
    return OK


def rows_of(history: History, flow: str, since: int, until: int, period_s: int, metrics: list[str] | None = None) -> list[Row]:
    """A row for each metric of the flow, its sources and its outputs that told something."""
    from firmware.metrics.measure import METRICS

    wanted = metrics or SHOWN
    rows = []
    for kind, name in [("flow", ""), *sorted(history.ends(flow, since, until), key=lambda end: end[0] != "source")]:
        for metric in wanted:
            if METRICS[metric].of == kind:
                statistic: Statistic = "Sum" if METRICS[metric].shape == "count" else "Average"
                points = history.read(flow, name or None, metric, since, until, period_s, statistic)
                rows += [Row(name, metric, statistic, points)] if points else []
    return rows


def lines_of(rows: list[Row], since: int, until: int, period_s: int) -> list[str]:
    if not rows:
        return ["nothing was recorded in that time"]
    width = max(4, *(len(row.end) for row in rows))
    lines = [f"{'end':{width}} {'metric':26} {'last':>9} {'least':>9} {'most':>9} {'sum':>9}       each {_words(period_s)}"]
    for row in rows:
        lines.append(f"{row.end or 'flow':{width}} {row.metric:26} {_figures(row)} {sparkline(row.points, since, until, period_s)}")
    return lines


def _figures(row: Row) -> str:
    from firmware.metrics.measure import METRICS

    scale, unit = SCALES[METRICS[row.metric].unit]
    values = [value / scale for _, value in row.points]
    places = 2 if unit else 0 if all(value.is_integer() for value in values) else 1
    figures = [values[-1], min(values), max(values), *([sum(values)] if row.statistic == "Sum" else [])]
    return " ".join(f"{figure:>9.{places}f}" for figure in figures) + ("" if row.statistic == "Sum" else " " * 10) + f" {unit:5}"


def _words(period_s: int) -> str:
    unit = next(unit for unit, seconds in reversed(UNITS.items()) if period_s % seconds == 0)
    return f"{period_s // UNITS[unit]} {unit}"


def sparkline(points: list[Point], since: int, until: int, period_s: int) -> str:
    """From 0 to the most that there was; a blank where nothing was told. At most WIDEST wide: each character shows the most of its time."""
    first = since // period_s
    periods = max(1, math.ceil(until / period_s) - first)
    columns = min(WIDEST, periods)
    most: list[float | None] = [None] * columns
    for at, value in points:
        column = (at // period_s - first) * columns // periods
        seen = most[column]
        most[column] = value if seen is None else max(seen, value)
    top = max((value for value in most if value is not None), default=0.0)
    return "".join(" " if value is None else BARS[int(value / top * (len(BARS) - 1) + 0.5) if top else 0] for value in most)


def _json(flow: str, period_s: int, rows: list[Row]) -> str:
    from firmware.metrics.measure import METRICS

    told = [
        {
            "dimension": METRICS[row.metric].of,
            "name": row.end or flow,
            "metric": row.metric,
            "unit": METRICS[row.metric].unit,
            "statistic": row.statistic,
            "points": row.points,
        }
        for row in rows
    ]
    return msgspec.json.encode({"flow": flow, "period_s": period_s, "metrics": told}).decode()
