"""Hours that are over, summed up by the minute: least, most, sum and count, as CloudWatch keeps them.

The file of an hour is read once more when the hour is over, one flow a second, and its minutes become one block of the day's file. The
block says which file it sums up and how long that was. Where the file grew after that (the clock went back into that hour) it is summed up
again, and the last block of a file is the one that counts. After a power cut there is nothing to mend: what is not summed up yet is found
by that.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from firmware.metrics.blocks import Block, Part, Table, pack
from firmware.metrics.measure import NAMES, Kind
from firmware.metrics.ring import DAY_S, HOUR_S, Opened, Ring, Segment, opened, segments

COLUMNS = 4  # columns of each metric in a block of minutes: least, most, sum, count
BLOCKS_AT_ONCE = 2
OURS = {kind: {name: place for place, name in enumerate(names)} for kind, names in NAMES.items()}
NAN = float("nan")

_log = logging.getLogger("pressbox.metrics")

Four = tuple[float, float, float, float]


class Hours:
    """`look` finds what is to do; each `go_on` does a little of it, for it shares its second with the recording."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._due: deque[Segment] = deque()
        self._done: dict[tuple[str, int], int] = {}  # length of what was summed up, by flow and file
        self._work: Iterator[None] | None = None
        self._known: set[str] = set()  # flows whose blocks of minutes were looked through

    def look(self, second: int) -> None:
        self._due = deque()
        for folder in self._root.iterdir():
            there = segments(folder, "seconds")
            if there and folder.name not in self._known:
                self._known.add(folder.name)
                self._done |= {(folder.name, id_): block.table.size for id_, (block, _) in summed_up(folder, -math.inf, math.inf).items()}
            self._due += [
                segment
                for segment in there
                if segment.span != second // HOUR_S and self._done.get((folder.name, segment.id)) != segment.size
            ]

    def go_on(self) -> None:
        if self._work is None and self._due:
            self._work = self._sum_up(self._due.popleft())
        if self._work is None:
            return
        for _ in range(BLOCKS_AT_ONCE):
            if next(self._work, self) is self:
                self._work = None
                return

    def _sum_up(self, segment: Segment) -> Iterator[None]:
        size = segment.size
        self._done[segment.path.parent.name, segment.id] = size
        file = opened(segment)
        if file is None or file.columns != OURS:
            return  # torn, or of another version: it is read as it is while it lasts
        hour = Hour(segment, size)
        for block in file.blocks:
            hour.add(block)
            yield
        try:
            Ring(segment.path.parent, "minutes").add(hour.block(), segment.span * HOUR_S)
        except OSError as error:
            _log.warning("%s cannot be summed up: %s", segment.path, error.strerror)


def summed_up(folder: Path, since: float, until: float) -> dict[int, tuple[Block, Opened]]:
    """The last block of minutes for each file of seconds, by its id; those of other times may be among them."""
    found: dict[int, tuple[Block, Opened]] = {}
    for segment in segments(folder, "minutes"):
        if since - DAY_S < segment.span * DAY_S < until and (file := opened(segment)):
            found |= {block.table.of: (block, file) for block in file.blocks}
    return found


class Hour:
    """The minutes of one file of seconds."""

    def __init__(self, segment: Segment, size: int) -> None:
        self._segment = segment
        self._size = size
        self._start = segment.span * HOUR_S
        self._ends: dict[tuple[Kind, str], dict[int, list[Four]]] = {}

    def add(self, block: Block) -> None:
        minute = (block.start - self._start) // 60
        for part in block.table.parts:
            kind = cast(Kind, part.kind)
            minutes = self._ends.setdefault((kind, part.name), {})
            body = next(block.part(kind, part.name))
            fours = [summary(block.column(body, column)) for column in range(len(NAMES[kind]))]
            before = minutes.get(minute)
            minutes[minute] = fours if before is None else [joined(a, b) for a, b in zip(before, fours, strict=True)]

    def block(self) -> bytes:
        times = sorted({minute for minutes in self._ends.values() for minute in minutes})
        parts = [Part(kind, name, 0) for kind, name in self._ends]
        columns = [_columns(minutes, times, len(NAMES[kind])) for (kind, _), minutes in self._ends.items()]
        table = Table([60 * minute for minute in times], parts, "d", self._segment.id, self._size)
        return pack(self._segment.id, self._start, table, columns)


def _columns(minutes: dict[int, list[Four]], times: list[int], metrics: int) -> list[array[float]]:
    nothing = [(NAN, NAN, 0.0, 0.0)] * metrics
    rows = [minutes.get(minute, nothing) for minute in times]
    return [array("d", [row[metric][statistic] for row in rows]) for metric in range(metrics) for statistic in range(COLUMNS)]


def summary(values: array[float]) -> Four:
    """Of the values that were told."""
    total = sum(values)
    if math.isnan(total):
        told = [value for value in values if value == value]
        return (min(told), max(told), sum(told), float(len(told))) if told else (NAN, NAN, 0.0, 0.0)
    return (min(values), max(values), total, float(len(values))) if values else (NAN, NAN, 0.0, 0.0)


def joined(a: Four, b: Four) -> Four:
    if not a[3] or not b[3]:
        return a if a[3] else b
    return min(a[0], b[0]), max(a[1], b[1]), a[2] + b[2], a[3] + b[3]
