"""What was recorded, read back for a plot or an alarm.

    history = History(places.state, places.run)
    history.read("studio", "path-a", "SourceBitRate", since, until, 10, "Average")

Seconds are there for a day of the flow's life, minutes for 30; what is asked for beyond comes by the minute, whatever the period. A
period in which nothing was told has no point. It reads files that another process writes, and needs nothing of that process.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Literal, get_args

from firmware.metrics.blocks import Block
from firmware.metrics.hours import COLUMNS, NAN, Four, joined, summary, summed_up
from firmware.metrics.measure import METRICS
from firmware.metrics.ring import FOLDER, HOUR_S, Opened, Segment, opened, segments
from firmware.metrics.tail import TAIL, Found, read_tail

Statistic = Literal["Average", "Minimum", "Maximum", "Sum", "SampleCount"]
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

FILES_KEPT = 4  # in memory: 2 MB each of a flow with 50 outputs
Wanted = tuple[str | None, str]
"""End and metric; without an end, all that have the metric, together."""
Point = tuple[int, float]
"""Unix time at which the period begins, and the value."""


Span = tuple[int, int, int]
"""A period: when it begins, its first row and the one after its last."""


class Periods:
    """What was told in each period: `fours` has least, most, sum and count by the time at which it begins."""

    def __init__(self, since: float, until: float, period_s: int) -> None:
        self.since = since
        self.until = until
        self.period_s = period_s
        self.fours: dict[int, Four] = {}

    def spans(self, block: Block) -> list[Span]:
        """The rows of a block that were asked for, by their periods."""
        times = [block.start + time for time in block.table.times]
        since = self.since // 60 * 60 if block.table.code == "d" else self.since
        whole_block = self.period_s % 60 == 0 and block.table.code == "f"
        if whole_block and since <= times[0] and times[-1] < self.until:  # a block of seconds is of one minute
            return [(times[0] - times[0] % self.period_s, 0, len(times))]
        found: list[Span] = []
        for row, at in enumerate(times):
            if since <= at < self.until:
                begin = at - at % self.period_s
                if found and found[-1][0] == begin and found[-1][2] == row:
                    found[-1] = (begin, found[-1][1], row + 1)
                else:
                    found.append((begin, row, row + 1))
        return found

    def add_parts(self, block: Block, bodies: Sequence[bytes], column: int, spans: Sequence[Span]) -> None:
        """Those of one end, or of several together."""
        if block.table.code == "d":
            fours = [[block.column(body, COLUMNS * column + place) for body in bodies] for place in range(COLUMNS)]
            for begin, first, after in spans:
                self._add(begin, _summed([_stretch(columns, first, after) for columns in fours]))
            return
        columns = [block.column(body, column) for body in bodies]
        for begin, first, after in spans:
            if after - first == len(bodies) == 1:
                self.add(begin, columns[0][first])
            else:
                self._add(begin, summary(_stretch(columns, first, after)))

    def add(self, at: int, value: float) -> None:
        """A value of the second or the period `at`."""
        if value == value and self.since // self.period_s * self.period_s <= at < self.until:
            begin, fours = at - at % self.period_s, self.fours
            four = fours.get(begin)
            if four is None:
                fours[begin] = (value, value, value, 1.0)
            else:
                least, most, total, count = four
                fours[begin] = (value if value < least else least, value if value > most else most, total + value, count + 1)

    def points(self, statistic: Statistic) -> list[Point]:
        found = sorted(self.fours.items())
        if statistic == "Average":
            return [(at, four[2] / four[3]) for at, four in found]
        place = ("Minimum", "Maximum", "Sum", "SampleCount").index(statistic)
        return [(at, four[place]) for at, four in found]

    def _add(self, begin: int, four: Four) -> None:
        if four[3]:
            self.fours[begin] = joined(self.fours[begin], four) if begin in self.fours else four


def _stretch(columns: Sequence[array[float]], first: int, after: int) -> array[float]:
    """The same rows of all columns."""
    found = columns[0][first:after]
    for column in columns[1:]:
        found += column[first:after]
    return found


def _summed(columns: Sequence[Sequence[float]]) -> Four:
    least, most, total, count = columns
    if 0.0 not in count:
        return min(least), max(most), sum(total), sum(count)
    told = [four for four in zip(least, most, total, count, strict=True) if four[3]]
    return reduce(joined, told, (NAN, NAN, 0.0, 0.0))


class History:
    """For one thread; it costs nothing to make another."""

    def __init__(self, state: Path, run: Path) -> None:
        self._root = state / FOLDER
        self._run = run
        self._read: dict[Path, tuple[int, list[Block], Opened]] = {}

    def flows(self) -> list[str]:
        there = {path.name for path in self._root.iterdir() if path.is_dir()} if self._root.is_dir() else set()
        return sorted(there | {path.name.removesuffix(TAIL) for path in self._run.glob(f"*{TAIL}")})

    def ends(self, flow: str, since: float, until: float) -> list[tuple[str, str]]:
        """Kind and name of each source and output that was recorded then."""
        found: dict[tuple[str, str], None] = {}
        tail = read_tail(self._run / f"{flow}{TAIL}")
        for block, _ in self._blocks(flow, since, until, by_minute=True):
            found |= dict.fromkeys((part.kind, part.name) for part in block.table.parts)
        if tail:
            found |= dict.fromkeys(tail.head.ends)
        return [end for end in found if end[0] != "flow"]

    def read(self, flow: str, end: str | None, metric: str, since: float, until: float, period_s: int, statistic: Statistic) -> list[Point]:
        """Points of the periods that begin at multiples of `period_s`. Without an `end`: of all ends that have the metric, together."""
        if metric not in METRICS:
            raise ValueError(f"metric: `{metric}` is unknown; allowed are {', '.join(METRICS)}")
        if statistic not in STATISTICS:
            raise ValueError(f"statistic: `{statistic}` is unknown; allowed are {', '.join(STATISTICS)}")
        if period_s < 1:
            raise ValueError(f"period: {period_s} is not a number of seconds; write 1 or more")
        return self.periods(flow, [(end, metric)], since, until, period_s)[0].points(statistic)

    def periods(self, flow: str, wanted: Sequence[Wanted], since: float, until: float, period_s: int) -> list[Periods]:
        """Every statistic of many figures, for little more than one of them costs."""
        found = [Periods(since, until, period_s) for _ in wanted]
        asked = [(METRICS[metric].of, end, metric, periods) for (end, metric), periods in zip(wanted, found, strict=True)]
        ends: dict[str, set[str | None]] = {}
        for kind, end, *_ in asked:
            ends.setdefault(kind, set()).add(None if kind == "flow" else end)
        tail = read_tail(self._run / f"{flow}{TAIL}")  # first: a minute that is written meanwhile is in both, and known by its id
        for block, file in self._blocks(flow, since, until, by_minute=period_s % 60 == 0):
            if tail and block.id == tail.head.id:
                tail = None
            spans = found[0].spans(block) if found else []
            if not spans:
                continue
            parts = list(block.parts(lambda part: {None, part.name} & ends.get(part.kind, set())))
            for kind, end, metric, periods in asked:
                bodies = [body for part, body in parts if part.kind == kind and (end is None or part.name == end)]
                column = file.columns.get(kind, {}).get(metric)
                if bodies and column is not None:
                    periods.add_parts(block, bodies, column, spans)
        if tail:
            tail.rows = [row for row in tail.rows if since <= row.second]
            for kind, end, metric, periods in asked:
                for second, value in _of_tail(tail, kind, end, metric):
                    periods.add(second, value)
        return found

    def _blocks(self, flow: str, since: float, until: float, *, by_minute: bool) -> Iterator[tuple[Block, Opened]]:
        """Every second or minute that was recorded then, once: as minutes where that is enough or all there is."""
        folder = self._root / flow
        there = segments(folder, "seconds")
        hours = {segment.span for segment in there}
        wanted = range(int(since // HOUR_S), int((until - 1) // HOUR_S) + 1)
        missing = len(wanted) > len(hours) or any(hour not in hours for hour in wanted)
        minutes = summed_up(folder, since, until) if by_minute or missing else {}
        for segment in there:
            if not since - HOUR_S < segment.span * HOUR_S < until:
                minutes.pop(segment.id, None)
                continue
            summed = minutes.pop(segment.id, None)
            if by_minute and summed is not None and summed[0].table.size == segment.size:
                yield summed
                continue
            yield from ((block, file) for block, file in self._all_of(segment) if since - 60 < block.start < until)
        yield from (summed for summed in minutes.values() if since - HOUR_S < summed[0].start < until)

    def _all_of(self, segment: Segment) -> list[tuple[Block, Opened]]:
        """A plot of many figures asks for the same hours again and again: the last few are kept as they were read."""
        size, blocks, file = self._read.pop(segment.path, (-1, [], None))
        if size != segment.size:
            size, file = segment.size, opened(segment)
            blocks = list(file.blocks) if file else []
        if file is None:
            return []
        self._read[segment.path] = size, blocks, file
        while len(self._read) > FILES_KEPT:
            self._read.pop(next(iter(self._read)), None)
        return [(block, file) for block in blocks]


def _of_tail(tail: Found, kind: str, name: str | None, metric: str) -> Iterator[tuple[int, float]]:
    at, places = 0, []
    for end_kind, end_name in tail.head.ends:
        names = tail.head.names.get(end_kind, [])
        if end_kind == kind and (name is None or end_name == name) and metric in names:
            places.append(at + names.index(metric))
        at += len(names)
    return ((second, row[place]) for second, row in tail.rows for place in places)
