"""The figures behind the plots: which lines there are, and their points.

A question is cut into pieces of time, so that a page that follows does not wait for one that asks for a month, and a piece that is over
is remembered for a while: a second look at 30 days costs a tenth of the first.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from firmware.metrics.history import History, Wanted
from firmware.metrics.hours import Four, joined
from firmware.metrics.measure import METRICS, TR_101_290
from firmware.places import Places

MOST_POINTS = 1500
EACH_ALONE = 6  # outputs that are shown one by one; of more than that all together, and those that are chosen
SOURCES_SHOWN = 4  # of those that came and went within the time, the last
HOUR_S, DAY_S = 3600, 86_400
LATE_S = 2  # a second that is not told by then is not told
BY_MINUTE_S = DAY_S  # what is older is there by the minute
PIECES_KEPT = 96
PIECE_HOLDS_S = 600.0
NICENESS = 10
SETTLED_S = 2 * HOUR_S  # by then an hour is over and summed up

Unit = Literal["b/s", "ms", "%", "packets"]


class Range(NamedTuple):
    words: str
    span_s: int
    period_s: int


RANGES = {
    "5m": Range("5 min", 300, 1),
    "1h": Range("1 h", HOUR_S, 3),
    "6h": Range("6 h", 6 * HOUR_S, 15),
    "24h": Range("24 h", DAY_S, 60),
    "7d": Range("7 d", 7 * DAY_S, 600),
    "30d": Range("30 d", 30 * DAY_S, 1800),
}
PERIODS_S = (1, 2, 3, 5, 10, 15, 30, 60, 120, 300, 600, 1800)
LONGEST_S = 31 * DAY_S


class Plot(NamedTuple):
    name: str
    side: Literal["Sources", "Outputs"]
    title: str
    unit: Unit
    about: str
    of_end: str  # metric of each source or output; empty: the flow's alone
    of_flow: str = ""


PLOTS = (
    Plot("source-bitrate", "Sources", "Bitrate", "b/s", "what comes in, and what the flow carries", "SourceBitRate", "BitRate"),
    Plot("source-rtt", "Sources", "RTT", "ms", "there and back", "SourceRoundTripTime"),
    Plot(
        "source-loss",
        "Sources",
        "Lost on the way",
        "%",
        "before any repair; most of it is mended",
        "SourcePacketLossPercent",
        "PacketLossPercent",
    ),
    Plot(
        "source-repaired",
        "Sources",
        "Repaired",
        "packets",
        "recovered: never reached the picture",
        "SourceRecoveredPackets",
        "RecoveredPackets",
    ),
    Plot(
        "source-lost",
        "Sources",
        "Lost",
        "packets",
        "not recovered; what the flow lost reached the picture",
        "SourceNotRecoveredPackets",
        "NotRecoveredPackets",
    ),
    Plot("merge", "Sources", "Skew", "ms", "merge latency: how far the later source trails the other", "", "MergeLatency"),
    Plot("output-bitrate", "Outputs", "Bitrate", "b/s", "what goes out", "OutputBitrate"),
    Plot("output-rtt", "Outputs", "RTT", "ms", "there and back", "OutputRoundTripTime"),
    Plot("output-repaired", "Outputs", "Repaired", "packets", "sent again, because the receiver asked", "OutputResentPackets"),
    Plot("output-lost", "Outputs", "Lost", "packets", "not recovered: the receiver did not get them in time", "OutputNotRecoveredPackets"),
)


class Line(NamedTuple):
    plot: Plot
    key: str  # `flow`, `sources/NAME`, `outputs/NAME`, or `outputs` for all of them together
    label: str
    end: str | None
    metric: str

    @property
    def counts(self) -> bool:
        return METRICS[self.metric].shape == "count"


class FaultLine(NamedTuple):
    key: str
    end: str | None
    metric: str


class Window(NamedTuple):
    """From `since` up to `until`, in whole periods."""

    since: int
    until: int
    period_s: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Points of one line, one a period; None where nothing was told. `least` and `most` where a point stands for several figures."""

    line: Line
    values: list[float | None]
    least: list[float | None] = field(default_factory=list)
    most: list[float | None] = field(default_factory=list)

    @property
    def told(self) -> bool:
        return any(value is not None for value in self.values)


@dataclass(frozen=True, slots=True)
class Figures:
    window: Window
    lines: list[Drawn]
    faults: list[tuple[FaultLine, dict[int, int]]]  # how many, by the time at which the period begins; of those that were watched
    outputs: list[str]


def last(span: Range, now_s: float) -> Window:
    """The range that ends now. A period that is not over is not shown, but for seconds: `Book.figures` finds the last one."""
    until = math.floor(now_s) + 1 if span.period_s == 1 else math.floor((now_s - LATE_S) / span.period_s) * span.period_s
    since = until - span.span_s
    return Window(since - since % span.period_s, until, span.period_s)


def window(since: int, until: int, now_s: float) -> Window:
    """As fine as what is kept, and as MOST_POINTS, allow."""
    finest_s = 1 if since > now_s - BY_MINUTE_S else 60
    span_s = until - since
    period_s = next((one for one in PERIODS_S if one >= finest_s and span_s / one + 2 <= MOST_POINTS), PERIODS_S[-1])
    return Window(since // period_s * period_s, -(-until // period_s) * period_s, period_s)


def lines_of(ends: Sequence[tuple[str, str]], chosen: Sequence[str]) -> list[Line]:
    sources = [name for kind, name in ends if kind == "source"][-SOURCES_SHOWN:]
    outputs = [name for kind, name in ends if kind == "output"]
    together = len(outputs) > EACH_ALONE
    shown = [name for name in outputs if name in chosen] if chosen or together else outputs
    found: list[Line] = []
    for plot in PLOTS:
        if plot.side == "Sources":
            if plot.of_flow and (len(sources) > 1 or plot.name in ("source-lost", "merge")):
                found.append(Line(plot, "flow", "the flow", None, plot.of_flow))
            found += [Line(plot, f"sources/{name}", name, name, plot.of_end) for name in sources if plot.of_end]
        else:
            if together:
                found.append(Line(plot, "outputs", f"all {len(outputs)} outputs", None, plot.of_end))
            found += [Line(plot, f"outputs/{name}", name, name, plot.of_end) for name in shown]
    return found


def fault_lines(ends: Sequence[tuple[str, str]]) -> list[FaultLine]:
    sources = [name for kind, name in ends if kind == "source"][-SOURCES_SHOWN:]
    of_sources = [FaultLine(f"sources/{name}", name, f"Source{fault}") for name in sources for fault in TR_101_290]
    return of_sources + [FaultLine("flow", None, fault) for fault in TR_101_290]


class Book:
    """What all pages read from: one thread, which stands back behind whatever carries packets."""

    def __init__(self, places: Places) -> None:
        self._history = History(places.state, places.run)
        self._reader = ThreadPoolExecutor(1, "figures", _after_packets)
        self._pieces: dict[tuple[object, ...], tuple[float, list[dict[int, Four]]]] = {}

    def flows(self) -> list[str]:
        return self._history.flows()

    def ends(self, flow: str, asked: Window) -> list[tuple[str, str]]:
        return self._reader.submit(self._history.ends, flow, asked.since, asked.until).result()

    def figures(self, flow: str, asked: Window, ends: Sequence[tuple[str, str]], chosen: tuple[str, ...], now_s: float) -> Figures:
        lines, faults = lines_of(ends, chosen), fault_lines(ends)
        wanted: list[Wanted] = [(line.end, line.metric) for line in lines] + [(fault.end, fault.metric) for fault in faults]
        fours = self._read(flow, tuple(wanted), asked, now_s)
        if asked.period_s == 1:
            newest = max((max(found, default=0) for found in fours), default=0)
            asked = asked._replace(until=max(asked.since, min(asked.until, max(newest + 1, math.floor(now_s) - LATE_S))))
        drawn = [_drawn(line, found, asked) for line, found in zip(lines, fours, strict=False)]
        counted = [
            (fault, {at: round(four[2]) for at, four in sorted(found.items()) if four[2]})
            for fault, found in zip(faults, fours[len(lines) :], strict=True)
            if found
        ]
        return Figures(asked, drawn, counted, [name for kind, name in ends if kind == "output"])

    def _read(self, flow: str, wanted: tuple[Wanted, ...], asked: Window, now_s: float) -> list[dict[int, Four]]:
        fours: list[dict[int, Four]] = [{} for _ in wanted]
        for piece in _pieces(asked):
            found = self._reader.submit(self._piece, flow, wanted, piece, now_s).result()
            for whole, part in zip(fours, found, strict=True):
                for at, four in part.items():
                    whole[at] = joined(whole[at], four) if at in whole else four
        return fours

    def _piece(self, flow: str, wanted: tuple[Wanted, ...], piece: Window, now_s: float) -> list[dict[int, Four]]:
        key = (flow, wanted, piece)
        until, found = self._pieces.pop(key, (0.0, []))
        if until < time.monotonic():
            until, found = time.monotonic() + PIECE_HOLDS_S, [periods.fours for periods in self._history.periods(flow, wanted, *piece)]
        if piece.until < now_s - SETTLED_S:
            self._pieces[key] = until, found
            while len(self._pieces) > PIECES_KEPT:
                del self._pieces[next(iter(self._pieces))]
        return found


def _after_packets() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _pieces(asked: Window) -> Iterator[Window]:
    """An hour where it is read by the second, a day where by the minute."""
    length_s = HOUR_S if asked.period_s % 60 else DAY_S if asked.period_s >= 600 else 6 * HOUR_S
    since = asked.since
    while since < asked.until:
        until = min(asked.until, (since // length_s + 1) * length_s)
        yield Window(since, until, asked.period_s)
        since = until


def _drawn(line: Line, found: dict[int, Four], asked: Window) -> Drawn:
    fours = [found.get(at) for at in range(asked.since, asked.until, asked.period_s)]
    if line.counts:
        return Drawn(line, [None if four is None else round(four[2]) for four in fours])
    digits = 0 if line.plot.unit == "b/s" else 3
    values = [None if four is None else _rounded(four[2] / four[3], digits) for four in fours]
    if asked.period_s == 1 and line.key != "outputs":
        return Drawn(line, values)
    least = [None if four is None else _rounded(four[0], digits) for four in fours]
    return Drawn(line, values, least, [None if four is None else _rounded(four[1], digits) for four in fours])


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) if digits else round(value)
