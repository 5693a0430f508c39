"""Makes the column and row streams of ST 2022-1, spread so that media with FEC keep a constant rate.

A row's FEC packet follows its last media packet. Column FEC waits: at least L media packets, so that no burst of L takes a
packet and its FEC both, and never two columns at once. With columns that all begin in one row (block-aligned, annex B of the
code of practice) a whole matrix is finished within one row, and its column c is sent after packet c × D of the next matrix;
staggered columns (not block-aligned) finish one after the other, and each is sent L packets after its last:

    block-aligned    0 1 2 3      staggered   0 . . .     the row in which each of four columns begins
                     0 1 2 3                  0 1 . .
                     0 1 2 3                  0 1 2 .
                     0 1 2 3                  0 1 2 3
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import reduce
from operator import xor

from firmware.wire.fec import COLUMN, ROW, RTP_HEADER, FecPacket, check_matrix

Part = tuple[int, int]  # a media packet as one integer, and its length


@dataclass(slots=True)
class _Column:
    due: int  # count of media packets
    base: int
    parts: list[Part]


class FecEncoder:
    """`first` is the first number of both FEC streams. FecError names what is wrong with the matrix."""

    def __init__(self, columns: int, rows: int, ssrc: int, *, row_fec: bool = True, aligned: bool = True, first: int = 0) -> None:
        check_matrix(columns, rows, row_fec=row_fec)
        self._columns, self._rows, self._ssrc, self._row_fec = columns, rows, ssrc, row_fec
        # Of staggered columns one begins every D packets or so, whichever of L and D is greater.
        self._begins = [0 if aligned else column * max(columns, rows) // columns % rows for column in range(columns)]
        self._pace = rows if aligned else 1
        self._numbers = {COLUMN: first, ROW: first}
        self._next = self._count = 0  # the media number that comes next, media packets since the first matrix began
        self._begin(0)

    def push(self, packet: bytes) -> list[tuple[int, bytes]]:
        """A whole RTP media packet in; (COLUMN or ROW, FEC packet) to send right after it. A gap in its numbers begins a new matrix."""
        number = packet[2] << 8 | packet[3]
        if number != self._next:
            self._begin(number)
        self._next = number + 1 & 0xFFFF
        row = self._row
        row.append((int.from_bytes(packet, "little"), len(packet)))
        out = []
        if self._waiting and self._waiting[0].due <= self._count:
            column = self._waiting.popleft()
            out.append((COLUMN, self._protect(COLUMN, column.parts, column.base, packet)))
        self._count += 1
        if len(row) == self._columns:
            if self._row_fec:
                out.append((ROW, self._protect(ROW, row, number - self._columns + 1, packet)))
            self._end_row(number + 1)
        return out

    def _begin(self, number: int) -> None:
        self._next = number
        self._count = 0
        self._row: list[Part] = []
        self._last: deque[list[Part]] = deque(maxlen=self._rows)  # rows
        self._ended = 0  # rows
        self._waiting: deque[_Column] = deque()

    def _end_row(self, following: int) -> None:
        self._last.append(self._row)
        self._row = []
        self._ended += 1
        base = following - self._columns * self._rows
        for column, begin in enumerate(self._begins):
            height = self._ended - begin
            if height > 0 and height % self._rows == 0:
                parts = [row[column] for row in self._last]
                self._waiting.append(_Column(self._count + column * self._pace, base + column, parts))

    def _protect(self, stream: int, parts: list[Part], base: int, after: bytes) -> bytes:
        total = reduce(xor, [bits for bits, _ in parts])
        lengths = [length for _, length in parts]
        raw = total.to_bytes(max(lengths), "little")
        sequence = self._numbers[stream]
        self._numbers[stream] = sequence + 1 & 0xFFFF
        packet = FecPacket(
            sequence=sequence,
            timestamp=int.from_bytes(after[4:8], "big"),
            ssrc=self._ssrc,
            base=base & 0xFFFF,
            row=stream == ROW,
            offset=1 if stream == ROW else self._columns,
            count=len(parts),
            flags=raw[0] & 0x3F,
            kind=raw[1],
            stamp=int.from_bytes(raw[4:8], "big"),
            length=reduce(xor, [length - RTP_HEADER for length in lengths]),
            payload=raw[RTP_HEADER:],
        )
        return bytes(packet)
