"""Repairs a stream from the FEC packets of ST 2022-1: rows and columns in turn until neither gives any more.

Theory of operation
-------------------
Media packets lie in a ring by number. An FEC packet whose set is whole is forgotten at once, so a stream without loss costs one
entry of the ring a packet and no XOR. A set with holes is kept and listed under each hole; whatever fills a hole, late media or
a repair, shortens the sets listed there, and a set with one hole left repairs it, which may shorten others in turn:

    .  x  x  .  | R0      R1 repairs its hole; column 1 then has one left,
    .  x  .  .  | R1      repairs that, and R0 has one left
       C1

A hole counts as lost once a later packet is there. Until then its packet may be on its way, overtaken by its own FEC, and
repairing it would count as saved what was never lost.

No number is trusted: FEC for numbers outside the ring's range is stray, the ring and the count of open sets are fixed, and
whatever comes in costs, sooner or later, the 20 members of one set (and their XOR, if it repairs) or a walk over AHEAD numbers.
What does not look like its neighbours is not handed out (`FecPacket.rebuild`).
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware.wire.fec import LONGEST, RTP_HEADER, FecError, FecPacket

KEEP = 512  # media packets, a power of two: five of the largest matrices
AHEAD = 128  # how far its FEC may overtake a packet
MAX_OPEN = 256  # sets with holes
NEAR = 64  # where the time of a lost packet is looked for
_NOWHERE = -1 << 62

Held = tuple[int, bytes, int, bool]  # number, packet, arrival_ns, received (else repaired)
_EMPTY: Held = (_NOWHERE, b"", 0, False)


@dataclass(slots=True)
class Repaired:
    """A whole RTP packet, rebuilt. It came, so to speak, when its nearest received neighbour did."""

    number: int
    packet: bytes
    arrival_ns: int


@dataclass(slots=True, eq=False)
class _Set:
    fec: FecPacket
    numbers: range
    holes: set[int]


class FecDecoder:
    """`media` and `fec` take what arrives, in any order, and return what it repairs. Counters are packets."""

    def __init__(self) -> None:
        self.matrix: tuple[int, int] | None = None  # columns and rows, as the packets say; rows alone do not tell
        self.received = 0  # FEC packets, well-formed
        self.malformed = 0
        self.stray = 0  # FEC packets for other numbers than those about
        self.repaired = 0
        self.needless = 0  # repaired, and then came late
        self.refused = 0  # FEC packets that did not fit the media
        self.report = ""  # what is wrong with the last malformed or refused one
        self._rumour: tuple[int, int] | None = None
        self._row_length = 0
        self.restart()

    def restart(self) -> None:
        """The sender's numbers begin afresh."""
        self._ring: list[Held] = [_EMPTY] * KEEP
        self._head = _NOWHERE  # highest number received
        self._apart: tuple[int, Held] | None = None  # the last packet far from the head, and the head when it came
        self._open: dict[range, _Set] = {}
        self._waiting: dict[int, dict[range, _Set]] = {}  # by hole

    def span_packets(self) -> int:
        """How many media packets after a lost one its repair can come, at most: what a receiver must wait for.

        A matrix must be complete, and its column FEC is spread over the next. 0 while no FEC has come.
        """
        if self.matrix is None:
            return self._row_length
        columns, rows = self.matrix
        return 2 * columns * rows

    def open_sets(self) -> int:
        """Rows and columns with two holes or more, or with one that may still come."""
        return len(self._open)

    def media(self, number: int, packet: bytes, now_ns: int) -> list[Repaired]:
        """`number` is the RTP number, unwrapped."""
        if not RTP_HEADER <= len(packet) <= LONGEST:
            return []  # no FEC can protect it
        step = number - self._head
        if not -KEEP < step < KEEP:
            return self._arrive((number, packet, now_ns, True))
        place = number % KEEP
        held = self._ring[place]
        if held[0] == number:
            return self._again(held, packet, now_ns)
        self._ring[place] = (number, packet, now_ns, True)
        if step > 0:
            self._head = number
        if self._waiting and (step > 1 or number in self._waiting):
            return self._solve(self._filled(number) + self._proven(number - step, number), now_ns)
        return []

    def fec(self, packet: bytes, now_ns: int) -> list[Repaired]:
        """A packet of either stream."""
        try:
            fec = FecPacket.parse(packet)
        except FecError as wrong:
            self.malformed += 1
            self.report = str(wrong)
            return []
        self.received += 1
        base = self._head + (fec.base - self._head + 0x8000 & 0xFFFF) - 0x8000
        numbers = range(base, base + fec.offset * fec.count, fec.offset)
        if self._head == _NOWHERE or not self._head - KEEP < base <= numbers[-1] < self._head + AHEAD:
            self.stray += 1
            return []
        self._learn(fec)
        ring = self._ring
        holes = {number for number in numbers if ring[number % KEEP][0] != number}
        if not holes or numbers in self._open:
            return []
        opened = _Set(fec, numbers, holes)
        self._keep(opened)
        return self._solve([opened], now_ns)

    # the sender

    def _learn(self, fec: FecPacket) -> None:
        if fec.row:
            self._row_length = fec.count
            return
        seen = fec.offset, fec.count
        if self.matrix is None or seen == self._rumour:  # one packet that says otherwise proves nothing
            self.matrix = seen
        self._rumour = seen

    def _arrive(self, new: Held) -> list[Repaired]:
        """A number far from all others is gone on from when another follows: RFC 3550 annex A.1 wants two running."""
        apart, self._apart = self._apart, (self._head, new)
        if self._head == _NOWHERE:
            self._begin(new)
        elif apart is not None and apart[0] == self._head and 0 < abs(new[0] - apart[1][0]) < KEEP:
            self._begin(apart[1])
            return self.media(*new[:3])
        return []

    def _again(self, held: Held, packet: bytes, now_ns: int) -> list[Repaired]:
        number, known, _, received = held
        if not received:
            self.needless += 1
            self._ring[number % KEEP] = (number, packet, now_ns, True)
        elif packet != known:  # other packets under the same numbers: a new sender
            self._begin((number, packet, now_ns, True))
        return []

    def _begin(self, first: Held) -> None:
        self.restart()
        self._head = first[0]
        self._ring[first[0] % KEEP] = first

    # sets with holes

    def _keep(self, opened: _Set) -> None:
        while self._open:
            oldest = next(iter(self._open.values()))
            if len(self._open) < MAX_OPEN and oldest.numbers[-1] > self._head - KEEP:
                break
            self._drop(oldest)
        self._open[opened.numbers] = opened
        for number in opened.holes:
            self._waiting.setdefault(number, {})[opened.numbers] = opened

    def _drop(self, dropped: _Set) -> None:
        del self._open[dropped.numbers]
        for number in dropped.holes:
            waiting = self._waiting[number]
            del waiting[dropped.numbers]
            if not waiting:
                del self._waiting[number]
        dropped.holes.clear()

    def _filled(self, number: int) -> list[_Set]:
        """The sets that waited for `number`, shortened."""
        waited = list(self._waiting.pop(number, {}).values())
        for shortened in waited:
            shortened.holes.discard(number)
            if not shortened.holes:
                del self._open[shortened.numbers]
        return waited

    def _proven(self, before: int, head: int) -> list[_Set]:
        """The sets with a hole between `before` and `head`: holes that were not known to be lost until now."""
        newly = range(before + 1, min(head, before + AHEAD))
        return [waiting for number in newly if number in self._waiting for waiting in self._waiting[number].values()]

    def _solve(self, ready: list[_Set], now_ns: int) -> list[Repaired]:
        out = []
        while ready:
            last = ready.pop()
            if len(last.holes) != 1:
                continue
            (number,) = last.holes
            if number < self._head:
                repaired = self._rebuild(last, number, now_ns)
                if repaired is None:
                    self._drop(last)
                else:
                    out.append(repaired)
                    ready += self._filled(number)
        return out

    def _rebuild(self, last: _Set, number: int, now_ns: int) -> Repaired | None:
        ring = self._ring
        held = [(ring[other % KEEP], other) for other in last.numbers if other != number]
        if any(entry[0] != other for entry, other in held):
            return None  # it has left the ring meanwhile
        try:
            packet = last.fec.rebuild([entry[1] for entry, _ in held], number & 0xFFFF)
        except FecError as wrong:
            self.refused += 1
            self.report = str(wrong)
            return None
        repaired = Repaired(number, packet, self._time_of(number, now_ns))
        ring[number % KEEP] = (number, packet, repaired.arrival_ns, False)
        self.repaired += 1
        return repaired

    def _time_of(self, number: int, now_ns: int) -> int:
        for away in range(1, NEAR):
            for neighbour in (number - away, number + away):
                held = self._ring[neighbour % KEEP]
                if held[0] == neighbour and held[3]:
                    return held[2]
        return now_ns
