"""Program specific information, ISO/IEC 13818-1, 2.4.4: PAT, CAT and PMT sections out of packets, checked and read.

Nothing here raises for any bytes: what is cut off or contradicts itself reads as empty.
"""

from __future__ import annotations

import zlib

from firmware.wire import ts

PAT_PID, CAT_PID = 0, 1
PAT, CAT, PMT = 0, 1, 2  # table_id, table 2-31
STUFFING = 0xFF  # in place of a table_id: nothing more in this packet (2.4.4.1)
FIRST_FREE_PID = 0x10  # lower ones are the standards' own (table 2-3)

VIDEO = {
    0x01: "MPEG-1 video",
    0x02: "MPEG-2 video",
    0x10: "MPEG-4 video",
    0x1B: "H.264 video",
    0x21: "JPEG 2000 video",
    0x24: "HEVC video",
    0x32: "JPEG XS video",
    0x33: "VVC video",
}
AUDIO = {
    0x03: "MPEG-1 audio",
    0x04: "MPEG-2 audio",
    0x0F: "AAC audio",
    0x11: "AAC audio (LATM)",
    0x1C: "AAC audio (raw)",
    0x81: "AC-3 audio",
    0x87: "E-AC-3 audio",
}
OTHER = {0x05: "private sections", 0x06: "private data", 0x15: "metadata", 0x86: "SCTE 35 cues"}
KINDS = VIDEO | AUDIO | OTHER  # stream_type, table 2-34

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc_is_right(section: bytes) -> bool:
    """Annex A. zlib has the same polynomial with the bits of every byte the other way round, and inverts the result."""
    return zlib.crc32(section.translate(_MIRRORED)) == 0xFFFFFFFF


def with_crc(section: bytes) -> bytes:
    crc = zlib.crc32(section.translate(_MIRRORED)) ^ 0xFFFFFFFF
    return section + crc.to_bytes(4, "little").translate(_MIRRORED)


class Sections:
    """Puts the sections of one PID together again. Holds at most one unfinished section, 4,096 bytes by its length field."""

    __slots__ = ("_unfinished",)

    def __init__(self) -> None:
        self._unfinished = b""

    def push(self, data: bytes, at: int) -> list[bytes]:
        """The sections that the packet at `at` ends: whole, not yet checked."""
        begin, end = ts.payload_at(data, at), at + ts.PACKET
        if begin >= end:
            return []
        if not data[at + 1] & 0x40:
            if not self._unfinished:
                return []
            return self._cut(self._unfinished + data[begin:end])
        first = begin + 1 + data[begin]  # pointer_field, 2.4.4.2: what comes before belongs to the section before
        ended = self._cut(self._unfinished + data[begin + 1 : min(first, end)])[:1] if self._unfinished else []
        return ended + self._cut(data[first:end])

    def forget(self) -> None:
        """A packet is missing: the section that it belonged to will not be whole."""
        self._unfinished = b""

    def _cut(self, data: bytes) -> list[bytes]:
        self._unfinished = b""
        whole, at = [], 0
        while at < len(data) and data[at] != STUFFING:
            end = at + 3 + (int.from_bytes(data[at + 1 : at + 3], "big") & 0xFFF)
            if at + 3 > len(data) or end > len(data):
                self._unfinished = data[at:]
                break
            whole.append(data[at:end])
            at = end
        return whole


def is_current(section: bytes) -> bool:
    """Not a table that is announced for later (current_next_indicator)."""
    return len(section) > 5 and bool(section[5] & 1)


def programmes(section: bytes) -> dict[int, int]:
    """PAT: program_map_PID by program_number, without the network PID (2.4.4.3)."""
    entries = section[8:-4]
    found = {}
    for at in range(0, len(entries) - 3, 4):
        number, pid = int.from_bytes(entries[at : at + 2], "big"), int.from_bytes(entries[at + 2 : at + 4], "big") & 0x1FFF
        if number and FIRST_FREE_PID <= pid < ts.NULL_PID:
            found[number] = pid
    return found


def streams(section: bytes) -> tuple[int, dict[int, int]]:
    """PMT: PCR_PID, and stream_type by elementary PID (2.4.4.8)."""
    body = section[:-4]
    if len(body) < 12:
        return ts.NULL_PID, {}
    found: dict[int, int] = {}
    at = 12 + (int.from_bytes(body[10:12], "big") & 0xFFF)
    while at + 5 <= len(body):
        pid = int.from_bytes(body[at + 1 : at + 3], "big") & 0x1FFF
        if FIRST_FREE_PID <= pid < ts.NULL_PID:
            found[pid] = body[at]
        at += 5 + (int.from_bytes(body[at + 3 : at + 5], "big") & 0xFFF)
    return int.from_bytes(body[8:10], "big") & 0x1FFF, found
