"""MPEG-TS of one picture and its sound, as whole 188-byte packets at the rate that they happen to have.

The stream is not yet at constant rate: tables at least every 100 ms and before each key frame, a PCR with each picture,
PTS equal to 90 kHz of CLOCK_MONOTONIC. Whoever sends it adds null packets and stamps PCR by position.

Nothing waits here. libavformat's muxer sorts by time, so with a microphone, whose sound is never there when its picture is,
each picture would stay until sound of its time came: 100 to 200 ms. A receiver needs no such order: it has to get each unit before
the time at which it is due, and PCR runs `playout.HEADROOM_NS` behind capture. Sound goes first, because it is the later one.
"""

from __future__ import annotations

from collections.abc import Iterator

from firmware.wire import psi, ts
from hw.frame import SAMPLE_RATE_HZ, AccessUnit

PID_SDT, PID_PMT, PID_VIDEO, PID_AUDIO = 0x11, 0x1000, 0x100, 0x101
PROGRAMME, STREAM_ID, NETWORK_ID = 1, 1, 0xFF01
NAME, PROVIDER = b"Pressbox", b"Pressbox"
VIDEO_PES, AUDIO_PES = 0xE0, 0xC0  # stream_id, 13818-1 table 2-22
TABLES_90K, SERVICE_90K = 9_000, 90_000  # PAT and PMT; SDT: at least every 2 s, ETSI TS 101 211, 4.4.1
BODY = ts.PACKET - 4
DELIMITER = b"\0\0\0\1\x09\xf0"  # an access unit starts with one, 13818-1 2.14.1
ADTS_LC = 1  # profile - 1, ISO 14496-3, 1.A.3
ADTS_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000)  # sampling_frequency_index


class Mux:
    """`write` gives back the packets of just these units."""

    def __init__(self) -> None:
        self._heads = {pid: _heads(pid) for pid in (psi.PAT_PID, PID_SDT, PID_PMT, PID_VIDEO, PID_AUDIO)}
        self._counters = dict.fromkeys(self._heads, 0)
        self._tables_due = self._service_due = 0  # PTS

    def write(self, pictures: list[AccessUnit], sound: list[AccessUnit]) -> bytes:
        parts: list[bytes] = []
        for picture in pictures[:1]:
            self._tables(parts, picture)
        for unit in sound:
            self._pes(parts, PID_AUDIO, AUDIO_PES, unit.pts_90k, _adts(bytes(unit.packet)))
        for number, picture in enumerate(pictures):
            if number:
                self._tables(parts, picture)
            self._pes(parts, PID_VIDEO, VIDEO_PES, picture.pts_90k, _delimited(bytes(picture.packet)), _clock(picture))
        return b"".join(parts)

    def _tables(self, parts: list[bytes], picture: AccessUnit) -> None:
        now = picture.pts_90k
        if picture.key or not self._tables_due - TABLES_90K <= now < self._tables_due:
            self._tables_due = now + TABLES_90K
            if not self._service_due - SERVICE_90K <= now < self._service_due:
                self._service_due = now + SERVICE_90K
                self._section(parts, PID_SDT, SDT)
            self._section(parts, psi.PAT_PID, PAT)
            self._section(parts, PID_PMT, PMT)

    def _section(self, parts: list[bytes], pid: int, section: bytes) -> None:
        parts += (self._head(pid, starts=True), (b"\0" + section).ljust(BODY, b"\xff"))

    def _pes(self, parts: list[bytes], pid: int, kind: int, pts_90k: int, payload: bytes, field: bytes = b"") -> None:
        """One PES packet; `field` is its first packet's adaptation field without length. 2.4.3.6"""
        length = len(payload) + 8
        stamp = bytearray(b"\x21\0\1\0\1")
        ts.write_timestamp(stamp, 0, pts_90k)
        # 0x84: data_alignment. A picture longer than the field can say has length 0, as 2.4.3.7 allows for video
        whole = b"\0\0\1" + bytes((kind, *(length if length <= 0xFFFF else 0).to_bytes(2, "big"), 0x84, 0x80, 5)) + stamp + payload
        begin = self._first(parts, pid, whole, field)
        rest = (len(whole) - begin) % BODY
        heads, counter = self._heads[pid], self._counters[pid]
        for at in range(begin, len(whole) - rest, BODY):
            parts += (heads[counter & 15], whole[at : at + BODY])
            counter += 1
        self._counters[pid] = counter & 15
        if rest:
            parts += (self._head(pid, adapted=True), _stuffing(b"", rest), whole[-rest:])

    def _first(self, parts: list[bytes], pid: int, whole: bytes, field: bytes) -> int:
        """How much of the PES packet has gone."""
        room = BODY - (1 + len(field) if field else 0)
        size = min(room, len(whole))
        adapted = bool(field) or size < BODY
        parts.append(self._head(pid, starts=True, adapted=adapted))
        if adapted:
            parts.append(_stuffing(field, size))
        parts.append(whole[:size])
        return size

    def _head(self, pid: int, *, starts: bool = False, adapted: bool = False) -> bytes:
        counter = self._counters[pid]
        self._counters[pid] = counter + 1 & 15
        return self._heads[pid][starts << 5 | adapted << 4 | counter]


def _heads(pid: int) -> list[bytes]:
    """The four bytes before a packet's body, by unit start, adaptation field and counter."""
    return [
        bytes((ts.SYNC, starts << 6 | pid >> 8, pid & 0xFF, adapted << 5 | 0x10 | counter))
        for starts in (0, 1)
        for adapted in (0, 1)
        for counter in range(16)
    ]


def _stuffing(field: bytes, size: int) -> bytes:
    """An adaptation field that leaves `size` bytes for the payload."""
    length = BODY - 1 - size
    if not length:
        return b"\0"
    return bytes((length,)) + (field or b"\0").ljust(length, b"\xff")


def _clock(picture: AccessUnit) -> bytes:
    """PCR at the picture's own time, and whether a decoder can begin here. 2.4.3.4"""
    packet = bytearray(12)
    ts.write_pcr(packet, 0, picture.pts_90k * 300)
    return bytes((0x50 if picture.key else 0x10,)) + packet[6:12]


def _delimited(unit: bytes) -> bytes:
    start = 4 if unit.startswith(b"\0\0\0\1") else 3
    return unit if unit[start : start + 1] and unit[start] & 0x1F == 9 else DELIMITER + unit


def _adts(block: bytes) -> bytes:
    """The header that a raw AAC block gets in a transport stream: MPEG-4, no CRC, stereo. ISO 14496-3, 1.A.2.2"""
    size = len(block) + 7
    bits = 0xFFF1 << 40 | ADTS_LC << 38 | ADTS_RATES.index(SAMPLE_RATE_HZ) << 34 | 2 << 30 | size << 13 | 0x7FF << 2
    return bits.to_bytes(7, "big") + block


def _table(table_id: int, number: int, content: bytes) -> bytes:
    """A section of version 0 that is alone. 2.4.4.10"""
    body = bytes((*number.to_bytes(2, "big"), 0xC1, 0, 0)) + content
    flags = 0xF000 if table_id == 0x42 else 0xB000
    return psi.with_crc(bytes((table_id, *(flags | len(body) + 4).to_bytes(2, "big"))) + body)


def _words(*numbers: int) -> bytes:
    return b"".join([number.to_bytes(2, "big") for number in numbers])


def _streams() -> Iterator[bytes]:
    for kind, pid in ((0x1B, PID_VIDEO), (0x0F, PID_AUDIO)):
        yield bytes((kind,)) + _words(0xE000 | pid, 0xF000)


def _service() -> bytes:
    """ETSI EN 300 468, 5.2.3 and 6.2.33: running, not scrambled, digital television."""
    words = b"\1" + bytes((len(PROVIDER),)) + PROVIDER + bytes((len(NAME),)) + NAME
    descriptor = bytes((0x48, len(words))) + words
    return _words(NETWORK_ID) + b"\xff" + _words(PROGRAMME) + b"\xfc" + _words(0x8000 | len(descriptor)) + descriptor


PAT = _table(psi.PAT, STREAM_ID, _words(PROGRAMME, 0xE000 | PID_PMT))
PMT = _table(psi.PMT, PROGRAMME, _words(0xE000 | PID_VIDEO, 0xF000) + b"".join(_streams()))
SDT = _table(0x42, STREAM_ID, _service())
