"""Cuts a key picture out of a running stream, with the tables that a decoder needs, once in a while."""

from __future__ import annotations

from firmware.wire import ts

VIDEO_TYPES = {0x01, 0x02, 0x10, 0x1B, 0x24}  # MPEG-1, MPEG-2, MPEG-4, H.264, HEVC: ISO/IEC 13818-1, table 2-34
LONGEST = 4 << 20
NO_START = bytes(byte for byte in range(256) if not byte & 0x40)  # second byte of a packet in which no unit starts


class KeyPictures:
    """`push` every datagram; now and then it returns a whole key picture as MPEG-TS, at most one in `period_ns`.

    The period is a little less than a second, so that a stream with a key picture each second gives every one of them.
    """

    def __init__(self, period_ns: int = 900_000_000) -> None:
        self.period_ns = period_ns
        self._next_ns = 0
        self._pat = self._pmt = b""
        self._pmt_pid: int | None = None
        self._video_pid: int | None = None
        self._picture: list[bytes] | None = None

    def push(self, datagram: bytes, now_ns: int) -> bytes | None:
        if now_ns < self._next_ns:
            return None
        if self._picture is None and not datagram[1 :: ts.PACKET].translate(None, NO_START):
            return None  # nine of ten: neither a table nor a picture starts in it
        for at in range(0, len(datagram) - ts.PACKET + 1, ts.PACKET):
            pid = ts.pid_of(datagram, at)
            if pid == self._video_pid:
                whole = self._on_video(datagram, at)
                if whole:
                    self._next_ns = now_ns + self.period_ns
                    return whole
            elif pid == 0:
                self._pat = datagram[at : at + ts.PACKET]
                self._pmt_pid = first_programme(self._pat)
            elif pid == self._pmt_pid:
                self._pmt = datagram[at : at + ts.PACKET]
                self._video_pid = video_pid(self._pmt)
        return None

    def _on_video(self, datagram: bytes, at: int) -> bytes | None:
        packet = datagram[at : at + ts.PACKET]
        starts = bool(packet[1] & 0x40)
        if starts and self._picture:
            whole = b"".join(self._picture)
            self._picture = None
            return whole
        if starts and ts.is_key_picture(packet, 0):
            self._picture = [self._pat, self._pmt, packet]
        elif self._picture is not None:
            self._picture.append(packet)
            if len(self._picture) * ts.PACKET > LONGEST:
                self._picture = None
        return None


def _section(packet: bytes) -> bytes:
    """The table section that begins in the packet, as far as the packet goes."""
    begin = ts.payload_at(packet, 0)
    if not packet[1] & 0x40 or begin >= ts.PACKET:
        return b""
    begin += 1 + packet[begin]
    length = int.from_bytes(packet[begin + 1 : begin + 3], "big") & 0xFFF if begin + 3 <= ts.PACKET else 0
    return packet[begin : begin + 3 + length]


def first_programme(packet: bytes) -> int | None:
    section = _section(packet)
    for at in range(8, len(section) - 7, 4):
        if section[at] or section[at + 1]:
            return int.from_bytes(section[at + 2 : at + 4], "big") & 0x1FFF
    return None


def video_pid(packet: bytes) -> int | None:
    section = _section(packet)
    if len(section) < 12:
        return None
    at = 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    while at + 5 <= len(section) - 4:
        if section[at] in VIDEO_TYPES:
            return int.from_bytes(section[at + 1 : at + 3], "big") & 0x1FFF
        at += 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0xFFF)
    return None
