"""SMPTE ST 2022-1 (Pro-MPEG code of practice 3, release 2): the packets of forward error correction for MPEG-TS in RTP.

Media packets are laid out in a matrix of L columns and D rows, row by row. Each column, and each row where that is wanted,
gets one FEC packet, the XOR of what it protects:

    row 0     m0   m1   m2   m3  | R0      the column stream goes to the media port + 2
    row 1     m4   m5   m6   m7  | R1      the row stream to the media port + 4
    row 2     m8   m9  m10  m11  | R2
    row 3    m12  m13  m14  m15  | R3      L = 4, D = 4
             --------------------
              C0   C1   C2   C3

One packet missing from a row or a column is the XOR of the others and of the FEC packet. `fecencoder` makes these packets,
`fecdecoder` repairs with them.

XOR is that of integers, read with the first byte lowest: so a shorter packet counts as padded with zeros at its end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import xor

COLUMN, ROW = 2, 4  # what is added to the media port
FEC_TYPE = 96  # RTP payload type
RTP_HEADER = 12
MAX_COLUMNS = MAX_ROWS = 20
MIN_ROWS = 4
MIN_COLUMNS_WITH_ROW_FEC = 4
MAX_MATRIX = 100
LONGEST = 2048  # of any packet here: no link that carries 2022-2 has more
HEADER = struct.Struct("!BBHII HHII BBBB")
_MAX_STAMP_STEP = 1 << 21  # 23 s at 90 kHz: packets that far apart are not in one matrix


class FecError(ValueError):
    """A matrix that ST 2022-1 does not have, a datagram that is no FEC packet, or an FEC packet that does not fit its media."""


def check_matrix(columns: int, rows: int, *, row_fec: bool) -> None:
    fewest = MIN_COLUMNS_WITH_ROW_FEC if row_fec else 1
    if not fewest <= columns <= MAX_COLUMNS:
        raise FecError(f"columns: {columns} is not {fewest} to {MAX_COLUMNS}{' (with row FEC)' if row_fec else ''}")
    if not MIN_ROWS <= rows <= MAX_ROWS:
        raise FecError(f"rows: {rows} is not {MIN_ROWS} to {MAX_ROWS}")
    if columns * rows > MAX_MATRIX:
        raise FecError(f"columns, rows: {columns} × {rows} is more than {MAX_MATRIX} packets")


@dataclass(slots=True)
class FecPacket:
    """One FEC packet. Its last five fields are the XOR of those of the media packets that it protects."""

    sequence: int
    timestamp: int
    ssrc: int
    base: int  # SNBase: 16 bits of the number of the first packet protected
    row: bool  # D
    offset: int  # between the numbers protected: L for a column, 1 for a row
    count: int  # NA, how many are protected: D for a column, L for a row
    flags: int  # P, X and CC: 6 bits
    kind: int  # M and payload type: 8 bits
    stamp: int
    length: int  # of what follows the 12 bytes of the RTP header
    payload: bytes

    def __bytes__(self) -> bytes:
        header = HEADER.pack(
            0x80 | self.flags,  # the recovery of P, X, CC and M is in the RTP header, RFC 2733 section 6.1
            self.kind & 0x80 | FEC_TYPE,
            self.sequence,
            self.timestamp,
            self.ssrc,
            self.base,
            self.length,
            (0x80 | self.kind & 0x7F) << 24,  # E = 1; the mask is 0: offset and NA say what is protected
            self.stamp,
            self.row << 6,  # X = 0, type 0 (XOR), index 0
            self.offset,
            self.count,
            0,  # SNBase ext: RTP numbers have 16 bits
        )
        return header + self.payload

    @classmethod
    def parse(cls, datagram: bytes) -> FecPacket:
        """FecError names what is wrong. Sets smaller than a sender may make are taken: they cost a receiver nothing."""
        if not HEADER.size <= len(datagram) <= LONGEST:
            raise FecError(f"{len(datagram)} bytes: an FEC packet has {HEADER.size} to {LONGEST}")
        (first, second, sequence, timestamp, ssrc, base, length, kind, stamp, mode, offset, count, _) = HEADER.unpack_from(datagram)
        row = mode & 0x40 != 0
        if first >> 6 != 2:
            raise FecError(f"RTP version {first >> 6}, not 2")
        if second & 0x7F < FEC_TYPE:
            raise FecError(f"payload type {second & 0x7F}, not {FEC_TYPE}")
        if kind >> 31 == 0:
            raise FecError("E is 0: FEC of RFC 2733, without the header of ST 2022-1")
        if mode & 0xBF:
            raise FecError("X, type or index is not 0: not the XOR of ST 2022-1")
        if row and offset != 1:
            raise FecError(f"offset {offset} in a row, not 1")
        if not 1 <= offset <= MAX_COLUMNS:
            raise FecError(f"offset {offset} (columns), not 1 to {MAX_COLUMNS}")
        if not 2 <= count <= MAX_ROWS or offset * count > MAX_MATRIX:
            raise FecError(f"NA {count} with offset {offset}: not 2 to {MAX_ROWS}, nor more than {MAX_MATRIX} packets in the matrix")
        kind = second & 0x80 | kind >> 24 & 0x7F
        return cls(sequence, timestamp, ssrc, base, row, offset, count, first & 0x3F, kind, stamp, length, datagram[HEADER.size :])

    def rebuild(self, others: Sequence[bytes], sequence: int) -> bytes:
        """The one packet of the set that is not among `others`. FecError when they are not of one stream."""
        length = reduce(xor, [len(packet) - RTP_HEADER for packet in others], self.length)
        head = struct.pack("!BBHII", self.flags, self.kind, 0, self.stamp, 0)
        total = reduce(xor, [int.from_bytes(packet, "little") for packet in others], int.from_bytes(head + self.payload, "little"))
        size = RTP_HEADER + length
        if length > len(self.payload) or total.bit_length() > 8 * size:
            raise FecError(f"a packet of {length} bytes does not come out of the set")
        packet = bytearray(total.to_bytes(size, "little"))
        sibling = others[0]
        packet[0] = 0x80 | packet[0] & 0x3F
        packet[2:4] = sequence.to_bytes(2, "big")
        packet[8:12] = sibling[8:12]
        step = int.from_bytes(packet[4:8], "big") - int.from_bytes(sibling[4:8], "big") & 0xFFFFFFFF
        if min(step, (1 << 32) - step) > _MAX_STAMP_STEP:
            raise FecError("the time stamp that comes out is far from its neighbours'")
        return bytes(packet)
