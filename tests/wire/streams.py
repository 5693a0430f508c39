"""Made-up transport streams and the networks they cross, for tests of what merges and carries them. All seeded."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from firmware.wire.merge import Merge
from firmware.wire.ts import NULL_PACKET, PACKET, PCR_HZ, pcr_packet

MS = 1_000_000
S = 1000 * MS


def stream(
    seconds: float, rate_bps: int = 4_000_000, *, nulls: float = 0.3, pcr_ms: int = 30, seed: int = 1, pid: int = 0x100
) -> list[bytes]:
    """Constant-rate datagrams of seven packets: one busy PID with a PCR every `pcr_ms`, and runs of null packets."""
    chance = random.Random(seed)
    count = int(seconds * rate_bps / 8 / (7 * PACKET))
    continuity, pcr_due, out = 0, 0.0, []
    in_nulls = False
    for datagram in range(count):
        packets = []
        for slot in range(7):
            position = datagram * 7 + slot
            if position * PACKET * 8000 / rate_bps >= pcr_due:
                pcr_due += pcr_ms
                packets.append(pcr_packet(pid, continuity, position * PACKET * 8 * PCR_HZ // rate_bps))
                continue
            if chance.random() < 0.1:
                in_nulls = chance.random() < nulls
            if in_nulls:
                packets.append(NULL_PACKET)
            else:
                continuity = continuity + 1 & 15
                packets.append(bytes((0x47, pid >> 8, pid & 0xFF, 0x10 | continuity)) + bytes(chance.choices((0, 255), k=4)) * 46)
        out.append(b"".join(packets))
    return out


@dataclass
class Network:
    """What one leg does to the stream: seeded loss, outages `(from_ms, to_ms)`, delay and jitter."""

    loss: float = 0.0
    outages: list[tuple[int, int]] = field(default_factory=list)
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    first_number: int = 0
    seed: int = 7

    def arrivals(self, datagrams: list[bytes], gap_ns: float) -> list[tuple[int, int, bytes]]:
        """(arrival ns, number on this leg, datagram), in order of arrival."""
        chance = random.Random(self.seed)
        out, latest = [], 0
        for n, datagram in enumerate(datagrams):
            sent_ns = int(n * gap_ns)
            lost = chance.random() < self.loss or any(a * MS <= sent_ns < b * MS for a, b in self.outages)
            arrival = sent_ns + int((self.delay_ms + chance.random() * self.jitter_ms) * MS)
            if not lost:
                latest = max(latest, arrival)  # one leg keeps its order, as SRT does
                out.append((latest, n + self.first_number, datagram))
        return out


@dataclass
class Connections:
    """A leg that loses its connection again and again, begins each with new numbers, and is held up now and then. Seeded."""

    seed: int
    delay_ms: float = 5
    loss: float = 0.0

    def arrivals(self, datagrams: list[bytes], gap_ns: float) -> tuple[list[tuple[int, int, bytes]], list[int]]:
        """What `Network.arrivals` gives, and the first number that each connection brought."""
        chance = random.Random(self.seed)
        end_ns = len(datagrams) * gap_ns
        up = self._spans(chance, end_ns, 0, [0, 20, 200, 1000, 2500])
        held_up = [
            (until - hold, until)
            for _, until in self._spans(chance, end_ns, 500, [0])
            for hold in [chance.choice([30, 200, 700, 1300]) * MS]
        ]
        out: list[tuple[int, int, bytes]] = []
        starts: list[int] = []
        number, latest = 0, 0
        for begin, until in up:
            number += chance.randrange(1, 1 << 20)
            first = len(out)
            for n in range(math.ceil(begin / gap_ns), min(len(datagrams), int(until / gap_ns))):
                number += 1
                if chance.random() >= self.loss:
                    arrival = int(n * gap_ns + self.delay_ms * MS)
                    latest = max(latest, *(b for a, b in held_up if a <= arrival < b), arrival)
                    out.append((latest, number, datagrams[n]))
            starts += [number for _, number, _ in out[first : first + 1]]
        return out, starts

    def _spans(self, chance: random.Random, end_ns: float, least_ms: int, apart_ms: list[int]) -> list[tuple[int, int]]:
        spans, at = [], 0
        while at < end_ns:
            until = at + int(chance.uniform(least_ms + 300, 6000) * MS)
            spans.append((at, until))
            at = until + chance.choice(apart_ms) * MS
        return spans


def gap_ns(rate_bps: int = 4_000_000) -> float:
    return 7 * PACKET * 8 * S / rate_bps


@dataclass
class Result:
    out: list[bytes]
    released_ns: list[int]


def run(
    merge: Merge, legs: list[list[tuple[int, int, bytes]]], *, step_ns: int = MS, restarts: dict[int, list[int]] | None = None
) -> Result:
    """Feed the legs in order of arrival, popping every `step_ns`; `restarts` names, by leg, the numbers before which the merge is told."""
    events = sorted((at, leg, number, datagram) for leg, arrivals in enumerate(legs) for at, number, datagram in arrivals)
    out: list[bytes] = []
    released: list[int] = []
    now = 0
    for at, leg, number, datagram in events:
        while now + step_ns <= at:
            now += step_ns
            for d in merge.pop(now):
                out.append(d)
                released.append(now)
        if restarts and number in restarts.get(leg, ()):
            merge.restart(leg)
        merge.push(leg, number, datagram, at)
    while (due := merge.due_ns()) is not None:
        now = max(now + step_ns, due)
        for d in merge.pop(now):
            out.append(d)
            released.append(now)
    return Result(out, released)


def union(datagrams: list[bytes], legs: list[list[tuple[int, int, bytes]]], first_numbers: list[int]) -> list[bytes]:
    """What at least one leg brought, in the order sent."""
    brought = {number - first for leg, first in zip(legs, first_numbers, strict=True) for _, number, _ in leg}
    return [d for n, d in enumerate(datagrams) if n in brought]
