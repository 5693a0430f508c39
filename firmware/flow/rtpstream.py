"""What one RTP source brings: opened where it is SRTP, numbered, counted, and repaired where it has FEC."""

from __future__ import annotations

from dataclasses import dataclass

from firmware.net.srtp import Opening
from firmware.wire import rtp
from firmware.wire.fecdecoder import FecDecoder, Repaired
from firmware.wire.seq import Unwrap

RATE_WINDOW_NS = 1_000_000_000
MARGIN_NS = 20_000_000  # beyond the last FEC packet that may repair


@dataclass(slots=True)
class Rebuilt:
    number: int
    payload: bytes
    at_ns: int  # when it would have come


class RtpStream:
    """Of one sender at a time. `open` each datagram, look whether a sender `begins`, `number` its packets, and take the repairs."""

    def __init__(self, key: bytes | None, *, fec: bool) -> None:
        self.decoder = FecDecoder() if fec else None
        # The streams count their turns each for itself
        self._openings = [Opening(key) for _ in range(3)] if key else None
        self._ssrc: int | None = None
        self._unwrap = Unwrap(16)
        self._lowest = self._highest = 0
        self._taken = 0  # RTP packets since the numbers began
        self._lost_before = 0
        self._interval_ns = 0.0  # between packets
        self._counted = (0, 0)  # packets taken, and when

    def open(self, datagram: bytes, port: int, now_ns: int) -> bytes | None:
        """The datagram in the clear; None where it is not authentic. `port` is 0, 1 (columns) or 2 (rows)."""
        return datagram if self._openings is None else self._openings[port](datagram, now_ns)

    def begins(self, packet: rtp.RtpPacket) -> bool:
        """True when a sender begins with this packet: all numbers are new."""
        if packet.ssrc == self._ssrc:
            return False
        self._lost_before = self.lost
        self._ssrc = packet.ssrc
        self._unwrap = Unwrap(16)
        self._taken = 0
        self._counted = (0, 0)
        if self.decoder is not None:
            self.decoder.restart()
        return True

    def number(self, packet: rtp.RtpPacket, now_ns: int) -> int:
        number = self._unwrap(packet.sequence)
        self._count(number, now_ns)
        return number

    def beside(self, number: int, datagram: bytes, now_ns: int) -> list[Rebuilt]:
        """What this media packet, whole as it came, lets FEC repair."""
        return _payloads(self.decoder.media(number, datagram, now_ns)) if self.decoder is not None else []

    def fec(self, datagram: bytes, now_ns: int) -> list[Rebuilt]:
        """What this FEC packet repairs."""
        return _payloads(self.decoder.fec(datagram, now_ns)) if self.decoder is not None else []

    @property
    def lost(self) -> int:
        """As RFC 3550 counts in A.3: expected less received."""
        return self._lost_before + (max(0, self._highest - self._lowest + 1 - self._taken) if self._taken else 0)

    @property
    def repair_ns(self) -> int:
        """How long after its own time a packet may still be repaired; 0 without FEC."""
        span = self.decoder.span_packets() if self.decoder is not None else 0
        return round(span * self._interval_ns) + MARGIN_NS if span and self._interval_ns else 0

    def _count(self, number: int, now_ns: int) -> None:
        if not self._taken:
            self._lowest = self._highest = number
        self._taken += 1
        if number > self._highest:
            self._highest = number
        packets, since_ns = self._counted
        if now_ns - since_ns >= RATE_WINDOW_NS:
            if since_ns:
                self._interval_ns = (now_ns - since_ns) / max(1, number - packets)
            self._counted = (number, now_ns)


def _payloads(repaired: list[Repaired]) -> list[Rebuilt]:
    rebuilt = []
    for packet in repaired:
        try:
            rebuilt.append(Rebuilt(packet.number, rtp.parse(packet.packet).payload, packet.arrival_ns))
        except rtp.RtpError:
            continue  # FEC of something that is no MPEG-TS
    return rebuilt
