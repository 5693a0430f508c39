"""The minute that is not on the disk yet: one small file a flow in the run folder, which is memory.

Whoever reads finds the last second here. A recorder that is killed finds it, too, and goes on: only a power cut takes it, 60 seconds at
most.

    head, one line of JSON: which ends each row has | row | row | …
    row: CRC-32 | Unix time | a float for each metric of each end
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from firmware.metrics.measure import NAMES, Dimension, Values

TAIL = ".metrics"  # in the run folder, after the name of the flow
_ROW = struct.Struct("<Iq")
NAN = float("nan")
MOST_ROWS = 240  # of a minute that the clock showed several times


class Row(NamedTuple):
    second: int
    values: array[float]


class Head(msgspec.Struct, array_like=True):
    id: int  # of the block that this becomes
    ends: list[Dimension]
    names: dict[str, list[str]]


class Tail:
    """Of one flow. Rows of one minute, of the same ends, in the order of time: `takes` says whether another one fits."""

    def __init__(self, path: Path, ends: Sequence[Dimension]) -> None:
        self.path = path
        self.ends = list(ends)
        self.id = int.from_bytes(os.urandom(7), "big") + 1
        self.rows: list[Row] = []
        head = Head(self.id, list(ends), {kind: list(names) for kind, names in NAMES.items()})
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(head) + b"\n")
        os.replace(fresh, path)

    def takes(self, second: int, ends: Sequence[Dimension]) -> bool:
        last = self.rows[-1][0] if self.rows else second
        return second >= last and second // 60 == last // 60 and len(self.rows) < MOST_ROWS and self.ends == list(ends)

    def add(self, second: int, found: Sequence[tuple[Dimension, Values]]) -> None:
        row = array("f")
        for (kind, _), values in found:
            get = values.get
            row.extend([get(name, NAN) for name in NAMES[kind]])
        self.rows.append(Row(second, row))
        body = second.to_bytes(8, "little", signed=True) + row.tobytes()
        with self.path.open("ab", buffering=0) as file:
            file.write(zlib.crc32(body).to_bytes(4, "little") + body)


@dataclass(slots=True)
class Found:
    """What a tail held: rows up to the first one that is not whole."""

    head: Head
    rows: list[Row]


def read_tail(path: Path) -> Found | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    line, _, rest = data.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=Head)
    except msgspec.DecodeError:
        return None
    size = _ROW.size + 4 * sum(len(head.names.get(kind, ())) for kind, _ in head.ends)
    rows: list[Row] = []
    for at in range(0, len(rest) - size + 1, size):
        checksum, second = _ROW.unpack_from(rest, at)
        if zlib.crc32(rest[at + 4 : at + size]) != checksum:
            break
        rows.append(Row(second, array("f", rest[at + _ROW.size : at + size])))
    return Found(head, rows)


def is_ours(head: Head) -> bool:
    """False for the tail of another version, whose columns are others."""
    return head.names == {kind: list(names) for kind, names in NAMES.items()}
