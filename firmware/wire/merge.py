"""Two copies of one stream into one: ST 2022-7 for RTP pairs, and the same for pairs of plain SRT connections.

Theory of operation
-------------------
Each leg numbers its datagrams: RTP by its sequence number, SRT by the packet number that libsrt hands over with every
message. Loss removes numbers, it never shifts them. So one datagram has, on every leg, the place

    index = number on that leg + offset of that leg            (constant for the life of a connection)

and merging is putting datagrams into slots by index. The first leg's offset is 0. Another leg's offset is *found* by
content, once, and *checked* by content on every datagram that both legs bring; position never comes from content, so
null packets, repeated tables and still pictures cannot confuse it:

    leg A   101 102 103  x  105 106        slots  101 102 103 104 105 106
    leg B        7   8   9   x   11        B + 95      102 103 104  x  106

*Locking.* An anchor is a datagram with a PCR or a PTS. The same anchor on a locked and on an unlocked leg proposes an
offset; it is taken when at least LOCK_EQUAL datagrams of the unlocked leg equal the slots at that offset and none
differs. What the leg brought meanwhile was held, and is then filled in with its real arrival times.

*Release.* In index order, a slot `window_ns` after its time; its time is its arrival less the lag of its leg against
the clock leg, so that the delay stays the same whichever leg leads. A hole is given up when the datagram after it is due.
A leg whose datagrams differ three times running has shifted (its sender skipped a datagram without numbering it): it is
unlocked, fills nothing, and locks again.

*A new epoch.* When no locked leg brings anything any more, another leg may lead: its datagrams follow what was released
last. It is listened to for LISTEN_NS first, for it may bring once more what a lost leg brought already; then it locks as
ever, to what was released. That delays nothing: what is due is due `window_ns` after its arrival all the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from firmware.wire.legs import Leg, Slot
from firmware.wire.ts import NULL_PACKET, PACKET, is_anchor, is_transport_stream, pcr_of

LOCK_EQUAL = 8  # equal neighbours that prove an offset
LOCK_LOOK = 64  # how many are compared at most
MAX_DIFFERING = 3
MAX_STRAY = 64  # released long ago and not in the history: the offset is stale
MAX_AHEAD = 4096  # datagrams; a leg further ahead than this has new numbers
HISTORY_NS = 2_000_000_000
MIN_SILENCE_NS = 100_000_000  # before a leg counts as silent, however short the window
LISTEN_NS = 200_000_000  # five PCRs: before a leg leads, or half the window if that is less
LAG_GAIN = 64
LAG_NS = 64_000_000  # a lag follows no faster: datagrams that come all at once count for little more than one
LATE_NS = 1_000_000_000  # a leg that brings nothing in time for so long is behind, and not just catching up

NULLS = NULL_PACKET * 7  # a datagram that is like all others of its kind


class Merge:
    """`push` what arrives, `pop` what is due. Numbers are already unwrapped (`wire.seq.Unwrap`), times are monotonic ns.

    shared_numbers  the legs carry the same numbers (RTP pair, ST 2022-7): the offset needs no anchor to be proposed
    prompt          release in-order datagrams at once and wait only at holes: for one leg that reorders
    """

    def __init__(self, window_ns: int, legs: int = 2, *, shared_numbers: bool = False, prompt: bool = False) -> None:
        self.window_ns = window_ns
        self.legs = [Leg() for _ in range(legs)]
        self.released = self.lost = self.epochs = 0
        self.rebuilt = 0  # released, and no leg brought them as they were sent
        self._all_legs = (1 << legs) - 1
        self._shared_numbers = shared_numbers
        self._prompt = prompt
        self._slots: dict[int, Slot] = {}
        self._next = 0  # index to release next
        self._head = -1  # highest index filled
        self._gap_end: int | None = None  # first filled index behind a hole at `_next`
        self._history: dict[int, Slot] = {}  # released
        self._given_up: dict[int, int] = {}  # holes among them, and the legs that brought it too late
        self._oldest = 0  # no index in the history is lower
        self._placed_ns: int | None = None  # last time that a locked leg delivered
        self._clock: int | None = None  # the leg whose arrivals set the time
        self._index_of: dict[bytes, int] | None = None  # anchors of slots and history, while a leg seeks its offset

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        """`rebuilt`: from FEC, as if it had come at `now_ns`."""
        own = self.legs[leg]
        own.received += 1
        own.delivered_ns = now_ns
        if own.offset is None:
            self._seek(leg, own, number, datagram, now_ns)
        else:
            self._place(leg, own, number, datagram, now_ns, rebuilt)

    def restart(self, leg: int) -> None:
        """The leg's next datagram comes from a new connection: its numbers begin afresh."""
        own = self.legs[leg]
        if own.offset is not None:
            self._unlock(leg, own)
        own.held.clear()
        own.keys.clear()
        own.offered_ns = None

    def pop(self, now_ns: int) -> list[bytes]:
        """Everything due by `now_ns`, in order."""
        out: list[bytes] = []
        slots, window_ns = self._slots, self.window_ns
        while self._next <= self._head:
            slot = slots.get(self._next)
            if slot is None:
                after = self._first_filled()
                if slots[after].time_ns + window_ns > now_ns:
                    break
                self._give_up(after - self._next)
                self._next = after
                self._gap_end = None
            elif self._prompt or slot.time_ns + window_ns <= now_ns:
                out.append(slot.datagram)
                self._history[self._next] = slots.pop(self._next)
                if slot.legs != self._all_legs:
                    self._count_missed(slot)
                if not slot.whole:
                    self.rebuilt += 1
                self._next += 1
            else:
                break
        if out:
            self.released += len(out)
            self._forget(now_ns)
        return out

    def due_ns(self) -> int | None:
        """When `pop` has something next, or None while nothing waits."""
        if self._next > self._head:
            return None
        slot = self._slots.get(self._next)
        if slot is None:
            return self._slots[self._first_filled()].time_ns + self.window_ns
        return slot.time_ns if self._prompt else slot.time_ns + self.window_ns

    def locked(self, leg: int) -> bool:
        return self.legs[leg].offset is not None

    def skew_ns(self) -> float | None:
        """How far the second leg comes after the first (negative: before), once both are locked."""
        if len(self.legs) < 2 or any(leg.offset is None for leg in self.legs[:2]):
            return None
        return self.legs[1].lag_ns - self.legs[0].lag_ns

    def _give_up(self, packets: int) -> None:
        self.lost += packets
        for leg in self.legs:
            leg.missed += packets
        self._given_up.update(dict.fromkeys(range(self._next, self._next + packets), 0))

    def _count_missed(self, slot: Slot) -> None:
        self.legs[slot.leg].saved += 1
        for number, leg in enumerate(self.legs):
            if not slot.legs & 1 << number:
                leg.missed += 1

    # locked legs

    def _place(self, leg: int, own: Leg, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        assert own.offset is not None  # noqa: S101 - for the type checker
        index = number + own.offset
        slot = self._slots.get(index)
        if slot is None and index < self._next:
            slot = self._history.get(index)
            if slot is None:
                own.late += 1
                brought = self._given_up.get(index)
                if brought is not None:
                    self._given_up[index] = brought | 1 << leg
                    own.missed -= brought & 1 << leg == 0
                    return
                own.stray += 1
                if own.stray >= MAX_STRAY:
                    self._unlock(leg, own)
                return
            if slot.legs & 1 << leg == 0:
                own.late += 1
                if slot.datagram == datagram:  # it was behind the other, and alone it would have been in time
                    own.missed -= 1
                    self.legs[slot.leg].saved -= 1
        if slot is not None:
            self._compare(leg, own, slot, datagram, now_ns, rebuilt, index < self._next)
            return
        if index > self._head + MAX_AHEAD:
            self._unlock(leg, own)
            self._seek(leg, own, number, datagram, now_ns)
            return
        if own.bad:  # in doubt, and nothing to compare with
            own.held[number] = (datagram, now_ns)
            own.stray += 1
            if own.stray >= MAX_STRAY:
                self._unlock(leg, own)
            return
        self._placed_ns = now_ns
        if self._gap_end is not None and index < self._gap_end:
            self._gap_end = None if index == self._next else index
        self._slots[index] = Slot(datagram, now_ns - round(own.lag_ns), leg, now_ns, not rebuilt)
        if index > self._head:
            self._head = index
        own.stray = 0
        if self._index_of is not None and is_transport_stream(datagram) and is_anchor(datagram):
            self._index_of[datagram] = index
            for other_leg, other in enumerate(self.legs):
                if other.offset is None and datagram in other.keys:
                    self._try_offset(other_leg, other, index - other.keys[datagram], now_ns)

    def _compare(self, leg: int, own: Leg, slot: Slot, datagram: bytes, now_ns: int, rebuilt: bool, released: bool) -> None:
        if slot.datagram != datagram:
            own.bad += 1
            if own.bad >= MAX_DIFFERING:
                own.held.clear()
                self._unlock(leg, own)
            return
        own.bad = own.stray = 0
        self._placed_ns = now_ns
        if own.held:  # the doubt is over
            self._fill_held(leg, own)
        mark = 1 << leg
        if slot.legs & mark:  # a duplicate on the same leg, or late behind its own repair
            slot.whole |= not rebuilt
            return
        slot.legs |= mark
        if rebuilt:
            return  # its time is a guess
        slot.whole = True
        self._measure_lag(leg, own, slot, now_ns, released)

    def _measure_lag(self, leg: int, own: Leg, slot: Slot, now_ns: int, released: bool) -> None:
        """Of the copy that came second. One whose slot is `released` may be sent again after a cut, and tells nothing by itself."""
        if not released:
            own.late_since_ns = None
        elif own.late_since_ns is None:
            own.late_since_ns = now_ns
        if own.late_since_ns is not None and now_ns - own.late_since_ns < LATE_NS:
            return
        gain = min(1 / LAG_GAIN, (now_ns - own.measured_ns) / LAG_NS)
        own.measured_ns = now_ns
        if leg == self._clock:
            owner = self.legs[slot.leg]
            owner.lag_ns += (slot.arrival_ns - now_ns + own.lag_ns - owner.lag_ns) * gain
        elif slot.leg == self._clock:
            own.lag_ns += (now_ns - slot.time_ns - own.lag_ns) * gain

    def _unlock(self, leg: int, own: Leg) -> None:
        own.offset = None
        own.bad = own.stray = 0
        own.relocks += 1
        if self._clock == leg:  # the next leg takes the role, keeps its lag, and so the delay stays
            self._clock = next((n for n, other in enumerate(self.legs) if other.offset is not None), None)

    # legs that seek their offset

    def _seek(self, leg: int, own: Leg, number: int, datagram: bytes, now_ns: int) -> None:
        own.held[number] = (datagram, now_ns)
        if own.offered_ns is None:
            own.offered_ns = now_ns
        self._trim(own, now_ns)
        if self._index_of is None:
            self._index_of = {
                slot.datagram: index
                for index, slot in (*self._history.items(), *self._slots.items())
                if is_transport_stream(slot.datagram) and is_anchor(slot.datagram)
            }
        if is_transport_stream(datagram) and is_anchor(datagram):
            own.keys[datagram] = number
            index = self._index_of.get(datagram)
            if index is not None:
                self._try_offset(leg, own, index - number, now_ns)
        elif self._shared_numbers:
            turn = 1 << 16
            self._try_offset(leg, own, round((self._head - number) / turn) * turn, now_ns)
        if own.offset is not None:
            return
        if self._may_lead(own, now_ns):
            self._lead(leg, own, now_ns)
        elif own.offered_ns is not None and now_ns - own.offered_ns > max(self.window_ns, 1_000_000_000):
            own.report = self._diagnose(own)
            own.offered_ns = now_ns

    def _may_lead(self, own: Leg, now_ns: int) -> bool:
        """True when no locked leg delivers, for as long as the window, all that was merged is out, and `own` was listened to."""
        if self._next <= self._head:
            return False
        if self._placed_ns is None or len(self.legs) == 1:
            return True
        if any(leg.offset is not None for leg in self.legs) and now_ns - self._placed_ns <= max(self.window_ns, MIN_SILENCE_NS):
            return False
        _, since_ns = next(iter(own.held.values()))
        return now_ns - since_ns >= min(LISTEN_NS, self.window_ns // 2)

    def _lead(self, leg: int, own: Leg, now_ns: int) -> None:
        """Begin a new epoch with this leg: it is the clock, and its datagrams follow what was released last."""
        for other_leg, other in enumerate(self.legs):
            if other.offset is not None:
                self._unlock(other_leg, other)
        for offset in self._overlaps(own):  # fewer copies than prove an offset, or none among them with a PCR
            self._try_offset(leg, own, offset, now_ns, least=1)
            if own.offset is not None:
                return
        since_ns = self._placed_ns or 0
        own.held = OrderedDict((number, item) for number, item in own.held.items() if item[1] >= since_ns)
        self.epochs += 1
        self._clock = leg
        self._history.clear()
        self._given_up.clear()
        first = min(own.held)
        own.offset = self._next - first if self.epochs > 1 else 0
        self._next = self._oldest = first + own.offset
        self._head = self._next - 1
        own.lag_ns = 0.0
        self._index_of = None
        self._fill_held(leg, own)

    def _overlaps(self, own: Leg) -> list[int]:
        """The offsets at which something that the leg holds was released already, the longest overlap first."""
        if len(self.legs) == 1:
            return []
        released = {slot.datagram: index for index, slot in self._history.items() if slot.datagram != NULLS}
        return sorted({released[datagram] - number for number, (datagram, _) in own.held.items() if datagram in released})

    def _try_offset(self, leg: int, own: Leg, offset: int, now_ns: int, least: int = LOCK_EQUAL) -> None:
        equal: list[tuple[Slot, int]] = []
        for number, (datagram, arrival_ns) in reversed(own.held.items()):
            slot = self._slots.get(number + offset) or self._history.get(number + offset)
            if slot is None:
                continue
            if slot.datagram != datagram:
                return
            equal.append((slot, arrival_ns))
            if len(equal) == LOCK_LOOK:
                break
        if len(equal) < least:
            return
        own.offset = offset
        self._placed_ns = now_ns
        if self._clock is None:
            self._clock = leg
            own.lag_ns = 0.0
        else:
            lags = sorted(arrival_ns - slot.time_ns for slot, arrival_ns in equal)
            own.lag_ns = float(lags[len(lags) // 2])
        self._fill_held(leg, own)

    def _fill_held(self, leg: int, own: Leg) -> None:
        """Place what the leg held, with the times at which it came."""
        held = sorted(own.held.items())
        self._joined(own)
        for number, (datagram, arrival_ns) in held:
            if own.offset is None:  # unlocked again by what was placed before
                return
            if number + own.offset >= self._oldest:
                self._place(leg, own, number, datagram, arrival_ns)

    def _joined(self, own: Leg) -> None:
        own.held.clear()
        own.keys.clear()
        own.offered_ns = None
        own.report = ""
        if all(leg.offset is not None for leg in self.legs):
            self._index_of = None

    def _trim(self, own: Leg, now_ns: int) -> None:
        oldest = now_ns - max(self.window_ns, HISTORY_NS)
        while True:
            number, (datagram, arrival_ns) = next(iter(own.held.items()))
            if arrival_ns >= oldest:
                return
            del own.held[number]
            own.keys.pop(datagram, None)

    def _diagnose(self, own: Leg) -> str:
        known = list(self._slots.values()) + list(self._history.values())
        if not own.keys:
            return "no PCR or PTS seen on this leg yet: it cannot be matched"
        ours = set(_pcr_packets(slot.datagram for slot in known))
        if ours.intersection(_pcr_packets(datagram for datagram, _ in own.held.values())):
            return "the same stream, but cut into datagrams differently: it stands by for failover"
        return "not the same stream as the other source, or more than 2 s from it: it stands by for failover"

    # bookkeeping

    def _first_filled(self) -> int:
        if self._gap_end is None:
            index = self._next
            slots = self._slots
            while index not in slots:
                index += 1
            self._gap_end = index
        return self._gap_end

    def _forget(self, now_ns: int) -> None:
        oldest_ns = now_ns - self.window_ns - HISTORY_NS
        while self._oldest < self._next:
            slot = self._history.get(self._oldest)
            if slot is not None:
                if slot.time_ns >= oldest_ns:
                    return
                del self._history[self._oldest]
                if self._index_of is not None and self._index_of.get(slot.datagram) == self._oldest:
                    del self._index_of[slot.datagram]
            else:
                self._given_up.pop(self._oldest, None)
            self._oldest += 1


def _pcr_packets(datagrams: Iterable[bytes]) -> Iterable[bytes]:
    for datagram in datagrams:
        if is_transport_stream(datagram):
            for at in range(0, len(datagram), PACKET):
                if pcr_of(datagram, at) is not None:
                    yield datagram[at : at + PACKET]
