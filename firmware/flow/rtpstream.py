"""What one RTP source brings: opened where it is SRTP, numbered, counted, and repaired where it has FEC."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from firmware.net.srtp import Opening
from firmware.wire import rtp
from firmware.wire.fecdecoder import FecDecoder, Repaired
from firmware.wire.merge import MAX_AHEAD
from firmware.wire.seq import Unwrap
from firmware.wire.ts import is_transport_stream

FIRST_RATE_NS, RATE_NS = 100_000_000, 1_000_000_000  # how long the rate is measured, at the beginning and later
NEVER = -1 << 62  # in place of a number
MARGIN_NS = 20_000_000  # beyond the last FEC packet that may repair


@dataclass(slots=True)
class Rebuilt:
    number: int
    payload: bytes
    at_ns: int  # when it would have come


def _openings(key: bytes) -> list[Opening]:
    return [Opening(key) for _ in range(3)]


class RtpStream:
    """Of one sender at a time. `open` each datagram, look whether a sender `begins`, `number` its packets, and take the repairs."""

    def __init__(self, key: bytes | None, *, fec: bool) -> None:
        self.decoder = FecDecoder() if fec else None
        self.repaired = 0
        # By key, what opened the newest packet first; the three streams count their turns each for itself
        self._openings = {key: _openings(key)} if key else {}
        self._ssrc: int | None = None
        self._unwrap = Unwrap(16)
        self._lowest = self._highest = 0
        self._taken = 0  # numbers that came or were repaired, since they began
        self._seen = [NEVER] * MAX_AHEAD
        self._lost_before = 0
        self._intervals_ns: deque[float] = deque(maxlen=3)  # between packets, as measured: one of them may hold a pause
        self._interval_ns = 0.0
        self._counted = (0, 0)  # number, and when

    def open(self, datagram: bytes, port: int, now_ns: int) -> bytes | None:
        """The datagram in the clear; None where it is not authentic. `port` is 0, 1 (columns) or 2 (rows)."""
        if not self._openings:
            return datagram
        clear = None
        for key, openings in self._openings.items():
            clear = openings[port](datagram, now_ns)
            if clear is not None:
                if port == 0 and key is not next(iter(self._openings)):
                    self._openings = {key: openings} | self._openings
                break
        return clear

    def rekey(self, keys: Sequence[bytes]) -> None:
        """Take what is sealed with any of these."""
        self._openings = {key: self._openings.get(key) or _openings(key) for key in keys}

    def begins(self, packet: rtp.RtpPacket) -> bool:
        """True when a sender begins with this packet: all numbers are new."""
        if packet.ssrc == self._ssrc:
            return False
        self._ssrc = packet.ssrc
        self._unwrap = Unwrap(16)
        self._count_anew()
        if self.decoder is not None:
            self.decoder.restart()
        return True

    def number(self, packet: rtp.RtpPacket, now_ns: int) -> int:
        number = self._unwrap(packet.sequence)
        if self._taken and abs(number - self._highest) > MAX_AHEAD:  # as RFC 3550, A.1: the sender began anew, or was away for long
            away = self._away(number, now_ns)
            self._count_anew()
            self._lost_before += away
        if not self._taken:
            self._lowest = self._highest = number
        elif number > self._highest:
            self._highest = number
        self._take(number)
        self._measure(number, now_ns)
        return number

    def beside(self, number: int, datagram: bytes, now_ns: int) -> list[Rebuilt]:
        """What this media packet, whole as it came, lets FEC repair."""
        return self._payloads(self.decoder.media(number, datagram, now_ns)) if self.decoder is not None else []

    def fec(self, datagram: bytes, now_ns: int) -> list[Rebuilt]:
        """What this FEC packet repairs."""
        return self._payloads(self.decoder.fec(datagram, now_ns)) if self.decoder is not None else []

    @property
    def lost(self) -> int:
        """Numbers up to the highest that neither came nor were repaired."""
        return self._lost_before + (max(0, self._highest - self._lowest + 1 - self._taken) if self._taken else 0)

    @property
    def repair_ns(self) -> int:
        """How long after its own time a packet may still be repaired; 0 without FEC."""
        span = self.decoder.span_packets() if self.decoder is not None else 0
        return round(span * self._interval_ns) + MARGIN_NS if span and self._interval_ns else 0

    def _away(self, number: int, now_ns: int) -> int:
        """Packets that were sent while none came, where pause and numbers (of unknown turns) agree; 0 of a sender that began anew."""
        since, since_ns = self._counted
        if not since_ns or not self._interval_ns:
            return 0
        sent = (now_ns - since_ns) / self._interval_ns
        passed = number - since + round((sent - (number - since)) / 65536) * 65536
        return max(0, passed - (self._highest - since) - 1) if abs(passed - sent) < min(sent / 8, 8192) else 0

    def _count_anew(self) -> None:
        self._lost_before = self.lost
        self._taken = 0
        self._seen = [NEVER] * MAX_AHEAD
        self._counted = (0, 0)

    def _take(self, number: int) -> bool:
        """False for a copy, and for one from before the first."""
        place = number % MAX_AHEAD
        if self._seen[place] == number or number < self._lowest:
            return False
        self._seen[place] = number
        self._taken += 1
        return True

    def _measure(self, number: int, now_ns: int) -> None:
        since, since_ns = self._counted
        if now_ns - since_ns >= (RATE_NS if self._intervals_ns else FIRST_RATE_NS):
            if since_ns and number > since:
                self._intervals_ns.append((now_ns - since_ns) / (number - since))
                self._judge_intervals()
            self._counted = (number, now_ns)

    def _judge_intervals(self) -> None:
        """Longer at once, shorter only when it is much shorter for a while: a wait that is too short loses, one that changes shows."""
        measured = self._intervals_ns
        if median(measured) > self._interval_ns or (len(measured) == 3 and 2 * max(measured) < self._interval_ns):
            self._interval_ns = median(measured)

    def _payloads(self, repaired: list[Repaired]) -> list[Rebuilt]:
        rebuilt = []
        for packet in repaired:
            try:
                payload = rtp.parse(packet.packet).payload
            except rtp.RtpError:
                continue  # FEC of something that is no MPEG-TS
            if is_transport_stream(payload):
                self.repaired += self._take(packet.number)
                rebuilt.append(Rebuilt(packet.number, payload, packet.arrival_ns))
        return rebuilt
