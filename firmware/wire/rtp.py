"""RTP, RFC 3550 section 5.1, carrying MPEG-TS as RFC 2250 section 2 says: whole transport packets, payload type 33."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MP2T = 33
CLOCK_HZ = 90_000
_HEADER = struct.Struct("!BBHII")


class RtpError(ValueError):
    """A datagram that is no RTP packet with MPEG-TS."""


@dataclass(slots=True)
class RtpPacket:
    sequence: int  # 16 bits
    timestamp: int  # 32 bits, 90 kHz
    ssrc: int
    payload: bytes

    def __bytes__(self) -> bytes:
        return _HEADER.pack(0x80, MP2T, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc) + self.payload


def parse(datagram: bytes) -> RtpPacket:
    """The packet without its CSRC list, header extension and padding; RtpError names what is wrong."""
    if len(datagram) < 12:
        raise RtpError(f"{len(datagram)} bytes are too few for an RTP header")
    first, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(datagram)
    if first >> 6 != 2:
        raise RtpError(f"RTP version {first >> 6}, not 2")
    if kind & 0x7F != MP2T:
        raise RtpError(f"payload type {kind & 0x7F}, not 33 (MPEG-TS)")
    begin, end = 12, len(datagram)
    if first & 0x3F:
        begin += 4 * (first & 0x0F)
        if first & 0x10:
            if end < begin + 4:
                raise RtpError("the header extension is cut off")
            begin += 4 + 4 * int.from_bytes(datagram[begin + 2 : begin + 4], "big")
        if first & 0x20:
            if not 0 < datagram[-1] <= end - begin:
                raise RtpError("more padding than payload")
            end -= datagram[-1]
        if begin > end:
            raise RtpError("the header is longer than the datagram")
    return RtpPacket(sequence, timestamp, ssrc, datagram[begin:end])


class Numberer:
    """Gives RTP headers in the order of sending; two paths that send what it returns carry the same packets (ST 2022-7)."""

    __slots__ = ("index", "ssrc")

    def __init__(self, ssrc: int, first: int = 0) -> None:
        self.ssrc = ssrc
        self.index = first  # of the next packet, the turns of its 16 bits counted

    def __call__(self, payload: bytes, now_ns: int) -> bytes:
        index = self.index
        self.index = index + 1
        return _HEADER.pack(0x80, MP2T, index & 0xFFFF, now_ns * 9 // 100_000 & 0xFFFFFFFF, self.ssrc) + payload
