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

from firmware.wire.fec import COLUMN, FEC_TYPE, HEADER, ROW, RTP_HEADER, check_matrix

_NEVER = 1 << 62


@dataclass(slots=True)
class _Row:
    packets: list[int]
    lengths: list[int]


@dataclass(slots=True)
class _Column:
    due: int  # count of media packets
    base: int
    rows: list[_Row]
    place: int  # in each of them


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
        self._due = _NEVER  # the count at which the first of the columns that wait leaves
        self._begin(0)

    def push(self, packet: bytes) -> list[tuple[int, bytes]]:
        """A whole RTP media packet in; (COLUMN or ROW, FEC packet) to send right after it. A gap in its numbers begins a new matrix."""
        number = packet[2] << 8 | packet[3]
        if number != self._next:
            self._begin(number)
        self._next = number + 1 & 0xFFFF
        row = self._row
        row.append(packet)
        count = self._count
        self._count = count + 1
        if len(row) < self._columns and count < self._due:
            return []
        out = [self._next_column(packet)] if count >= self._due else []
        if len(row) == self._columns:
            ended = _Row([int.from_bytes(one, "little") for one in row], [len(one) for one in row])
            if self._row_fec:
                out.append((ROW, self._protect(ROW, ended.packets, ended.lengths, number - self._columns + 1, packet)))
            self._end_row(ended, number + 1)
        return out

    def _begin(self, number: int) -> None:
        self._next = number
        self._count = 0
        self._row: list[bytes] = []
        self._last: deque[_Row] = deque(maxlen=self._rows)
        self._ended = 0  # rows
        self._waiting: deque[_Column] = deque()
        self._due = _NEVER

    def _end_row(self, row: _Row, following: int) -> None:
        self._row = []
        self._last.append(row)
        self._ended += 1
        base = following - self._columns * self._rows
        rows: list[_Row] = []
        for column, begin in enumerate(self._begins):
            height = self._ended - begin
            if height > 0 and height % self._rows == 0:
                rows = rows or list(self._last)
                self._waiting.append(_Column(self._count + column * self._pace, base + column, rows, column))
        self._due = self._waiting[0].due if self._waiting else _NEVER

    def _next_column(self, after: bytes) -> tuple[int, bytes]:
        column = self._waiting.popleft()
        self._due = self._waiting[0].due if self._waiting else _NEVER
        place = column.place
        packets, lengths = [row.packets[place] for row in column.rows], [row.lengths[place] for row in column.rows]
        return COLUMN, self._protect(COLUMN, packets, lengths, column.base, after)

    def _protect(self, stream: int, packets: list[int], lengths: list[int], base: int, after: bytes) -> bytes:
        raw = reduce(xor, packets).to_bytes(max(lengths), "little")
        sequence = self._numbers[stream]
        self._numbers[stream] = sequence + 1 & 0xFFFF
        header = HEADER.pack(  # its fields are those of `FecPacket`
            0x80 | raw[0] & 0x3F,
            raw[1] & 0x80 | FEC_TYPE,
            sequence,
            int.from_bytes(after[4:8], "big"),
            self._ssrc,
            base & 0xFFFF,
            reduce(xor, [length - RTP_HEADER for length in lengths]),
            (0x80 | raw[1] & 0x7F) << 24,
            int.from_bytes(raw[4:8], "big"),
            0x40 if stream == ROW else 0,
            1 if stream == ROW else self._columns,
            len(packets),
            0,
        )
        return header + raw[RTP_HEADER:]
