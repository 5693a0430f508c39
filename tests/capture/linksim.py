"""A network path in made-up time, with an SRT-like sender and receiver on it. Pure and seeded: the same figures every time.

    encoder -> line -> sender --[ queue ]-- rate(t) --loss(t)-- delay(t) --> receiver
                         ^------------- acknowledgements, what is missing ------'

The sender sends at once, as libsrt does in live mode, keeps what is not acknowledged, sends again what is asked for, and gives up what is
a second old. The receiver acknowledges every 10 ms, asks for holes at once and again every round trip or so, and steps over what is
too late: that is what the picture loses. The round trip is measured through the queue and smoothed by eighths, as libsrt's.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from firmware.capture.adapt import Path

MS = 1_000_000
PACKET_BITS = 1360 * 8  # a datagram of 1316 and its headers
DATAGRAM_BITS = 1316 * 8
ACK_MS = 10
GIVE_UP_MS = 1_020  # libsrt's least time before a sender gives a packet up

Curve = Callable[[float], float]  # of seconds


@dataclass
class Link:
    """`rate` in b/s, `rtt` in ms and `loss` (0 to 1) are curves over seconds; the queue holds `queue_bytes` and drops what does not fit."""

    rate: Curve
    rtt: Curve = lambda s: 30.0
    loss: Curve = lambda s: 0.0
    queue_bytes: int = 60_000
    seed: int = 1


@dataclass
class SrtPath:
    link: Link
    latency_ms: int = 500
    name: str = "path-a"
    sent: int = 0
    resent: int = 0
    asked: int = 0
    given_up: int = 0
    rtt_ms: float = 0.0
    late: set[int] = field(default_factory=set)
    """Numbers of the packets that never came, or too late."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.link.seed)
        self._origin: dict[int, int] = {}  # of what is not acknowledged, in order: number -> ms
        self._queue: deque[tuple[str, int, int]] = deque()  # kind, number, bits
        self._queued_bits = 0
        self._credit = 0.0
        self._events: list[tuple[float, int, str, int]] = []
        self._order = 0
        self._base_ms = self.link.rtt(0) / 2
        self._times: dict[int, int] = {}  # of every packet: when it left
        self._came: set[int] = set()
        self._next = 0  # the receiver's first missing
        self._highest = -1
        self._missing: dict[int, float] = {}  # number -> when it was asked for
        self._resent_at: dict[int, int] = {}
        self.rtt_ms = self.link.rtt(0)

    # the sender

    def send(self, number: int, now_ms: int) -> None:
        self._origin[number] = self._times[number] = now_ms
        self.sent += 1
        self._enqueue("data", number, PACKET_BITS)

    def path(self, now_ms: int) -> Path:
        oldest = next(iter(self._origin.values()), now_ms)
        return Path(
            name=self.name,
            latency_ms=self.latency_ms,
            rtt_ms=self.rtt_ms,
            buffer_ms=float(now_ms - oldest),
            sent_bytes=self.sent * PACKET_BITS // 8,
            buffer_bytes=len(self._origin) * PACKET_BITS // 8,
            sent_packets=self.sent,
            asked_packets=self.asked,
        )

    @property
    def buffered(self) -> int:
        return len(self._origin)

    def _enqueue(self, kind: str, number: int, bits: int) -> None:
        if self._queued_bits + bits <= self.link.queue_bytes * 8:
            self._queue.append((kind, number, bits))
            self._queued_bits += bits

    # a millisecond of everything

    def step(self, now_ms: int) -> None:
        seconds = now_ms / 1000
        self._serve(now_ms, seconds)
        while self._events and self._events[0][0] <= now_ms:
            _, _, kind, number = heapq.heappop(self._events)
            self._happen(kind, number, now_ms)
        if now_ms % ACK_MS == 0:
            self._acknowledge(now_ms, seconds)
        while self._origin:
            number, origin = next(iter(self._origin.items()))
            if now_ms - origin <= max(GIVE_UP_MS, self.latency_ms * 1.25):
                break
            del self._origin[number]
            self.given_up += 1

    def _serve(self, now_ms: int, seconds: float) -> None:
        rate = self.link.rate(seconds)
        self._credit = self._credit + rate / 1000 if self._queue else rate / 1000
        while self._queue and self._queue[0][2] <= self._credit:
            kind, number, bits = self._queue.popleft()
            self._queued_bits -= bits
            self._credit -= bits
            if self._chance.random() >= self.link.loss(seconds):
                self._after(now_ms + self.link.rtt(seconds) / 2, "came " + kind, number)

    def _after(self, at_ms: float, kind: str, number: int) -> None:
        self._order += 1
        heapq.heappush(self._events, (at_ms, self._order, kind, number))

    def _happen(self, kind: str, number: int, now_ms: int) -> None:
        back = self.link.rtt(now_ms / 1000) / 2
        if kind == "came data":
            self._on_data(number, now_ms, back)
        elif kind == "came echo":  # the receiver measures the round trip, and the next acknowledgement brings it
            self._after(now_ms + back, "told rtt", now_ms - number)
        elif kind == "told rtt":
            self.rtt_ms += (number - self.rtt_ms) / 8
        elif kind == "told ack":
            while self._origin and next(iter(self._origin)) < number:
                del self._origin[next(iter(self._origin))]
            self._enqueue("echo", now_ms - round(back), 44 * 8)
        elif kind == "told nak":
            self.asked += 1
            if number in self._origin and now_ms - self._resent_at.get(number, -10_000) > self.rtt_ms:
                self._resent_at[number] = now_ms
                self.resent += 1
                self._enqueue("data", number, PACKET_BITS)

    # the receiver

    def _on_data(self, number: int, now_ms: int, back: float) -> None:
        if number < self._next or number in self._came:
            return
        if now_ms - self._times[number] > self.latency_ms + self._base_ms:
            self.late.add(number)
        self._came.add(number)
        self._missing.pop(number, None)
        for hole in range(self._highest + 1, number):
            self._ask(hole, now_ms, back)
        self._highest = max(self._highest, number)

    def _ask(self, hole: int, now_ms: int, back: float) -> None:
        self._missing[hole] = now_ms
        self._after(now_ms + back, "told nak", hole)

    def _acknowledge(self, now_ms: int, seconds: float) -> None:
        back = self.link.rtt(seconds) / 2
        again_ms = max(20.0, self.rtt_ms * 1.5)
        while self._missing:  # the one that was asked for longest ago comes first
            hole, asked_ms = next(iter(self._missing.items()))
            if now_ms - asked_ms < again_ms:
                break
            del self._missing[hole]
            self._ask(hole, now_ms, back)
        while True:
            if self._next in self._came:
                self._came.discard(self._next)
            elif self._next < self._highest and now_ms - self._times[self._next] > self.latency_ms + self._base_ms:
                self.late.add(self._next)
                self._missing.pop(self._next, None)
            else:
                break
            self._next += 1
        self._after(now_ms + back, "told ack", self._next)

    def close(self, now_ms: int) -> None:
        """What is on the way still is lost where its time is over."""
        self.late.update(
            at for at in range(self._next, len(self._times)) if at not in self._came and now_ms - self._times[at] > 2 * self.latency_ms
        )
