"""Blocks: how metrics lie in a file. Bytes in, bytes out.

A block holds the figures of one flow, of one minute by the second or of one hour by the minute, one compressed part for each end:

    magic | length, CRC-32 | id, start, length of the table | table (who has which part) | part | part | …

A part is a table of numbers, column by column (a metric by the second; least, most, sum and count of a metric by the minute). Its bytes
are laid out by their place in the number, all first bytes, then all second ones: neighbours are alike there, and deflate finds that.
NaN: not told.

Files are written at their end only. A block that a power cut tore has a wrong checksum or no end: it is passed over, those beside it are
not.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec

MAGIC = b"PbM1"
_HEAD = struct.Struct("<4sII")  # magic, bytes after this, their CRC-32
_BEGIN = struct.Struct("<QqH")  # id, Unix time of the start, length of the table
LONGEST_BLOCK = 1 << 24
LEVEL = 1  # of deflate: 6 saves a tenth and costs three times as much

Code = Literal["f", "d"]
_WIDTH = {"f": 4, "d": 8}


class Part(NamedTuple):
    kind: str
    name: str
    length: int


class Table(msgspec.Struct, array_like=True):
    times: list[int]  # of the rows: seconds, or minutes, after the start
    parts: list[Part]
    code: Code
    of: int = 0  # of an hour by the minute: the segment that it sums up, and how long that was then
    size: int = 0


_table_from = msgspec.json.Decoder(Table).decode


@dataclass(slots=True)
class Block:
    id: int
    start: int
    table: Table
    _body: memoryview = field(repr=False)

    def part(self, kind: str, name: str | None) -> Iterator[bytes]:
        """The parts of this end, or of all ends of this kind."""
        return (body for _, body in self.parts(lambda part: part.kind == kind and (name is None or part.name == name)))

    def parts(self, wanted: Callable[[Part], object]) -> Iterator[tuple[Part, bytes]]:
        at = 0
        for part in self.table.parts:
            if wanted(part):
                yield part, zlib.decompress(self._body[at : at + part.length])
            at += part.length

    def column(self, part: bytes, column: int) -> array[float]:
        width, rows = _WIDTH[self.table.code], len(self.table.times)
        plane = len(part) // width
        raw = bytearray(width * rows)
        for place in range(width):
            at = place * plane + column * rows
            raw[place::width] = part[at : at + rows]
        return array(self.table.code, bytes(raw))


def pack(id_: int, start: int, table: Table, columns: Sequence[Sequence[array[float]]]) -> bytes:
    """A block. `columns`: those of each part, in the order of `table.parts`, whose lengths are filled in."""
    bodies = [zlib.compress(_planes(b"".join(column.tobytes() for column in part), _WIDTH[table.code]), LEVEL) for part in columns]
    table.parts = [part._replace(length=len(body)) for part, body in zip(table.parts, bodies, strict=True)]
    told = zlib.compress(msgspec.json.encode(table), LEVEL)
    rest = _BEGIN.pack(id_, start, len(told)) + told + b"".join(bodies)
    return _HEAD.pack(MAGIC, len(rest), zlib.crc32(rest)) + rest


def _planes(raw: bytes, width: int) -> bytes:
    return b"".join(raw[place::width] for place in range(width))


def blocks(data: bytes) -> Iterator[Block]:
    """Every whole block."""
    return (block for block, _ in _walk(data))


def whole(data: bytes) -> int:
    """Where the last whole block ends: what follows was torn."""
    return max((end for _, end in _walk(data)), default=0)


def _walk(data: bytes) -> Iterator[tuple[Block, int]]:
    view, at = memoryview(data), data.find(MAGIC)
    while at >= 0 and at + _HEAD.size <= len(data):
        _, length, checksum = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        rest = view[at + _HEAD.size : end]
        if _BEGIN.size <= length <= LONGEST_BLOCK and len(rest) == length and zlib.crc32(rest) == checksum:
            yield _block(rest), end
            at = data.find(MAGIC, end)
        else:
            at = data.find(MAGIC, at + 1)


def _block(rest: memoryview) -> Block:
    id_, start, told = _BEGIN.unpack_from(rest)
    body = _BEGIN.size + told
    return Block(id_, start, _table_from(zlib.decompress(rest[_BEGIN.size : body])), rest[body:])
