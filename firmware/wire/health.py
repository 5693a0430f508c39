"""Health of a transport stream: the checks of priority 1 and 2 of ETSI TR 101 290, 5.2, on a live stream.

Theory of operation
-------------------
Nearly every packet is the next of its PID and says nothing else: no unit starts in it, it has no adaptation field. For each PID
the two header words of *that* packet are known beforehand, and to be equal to them is the whole check:

    word     transport_error, payload_unit_start, priority, PID     the PID alone: none of the three flags
    control  scrambling, adaptation_field_control, counter          as before, counter one up

Most datagrams are seven such packets of one PID, told at once. Only what differs is looked at: unit starts (PTS, tables),
adaptation fields (PCR), and faults. Packets of tables are expected never to come, so that all of them are looked at.

Times are of three kinds. *Intervals of tables* are told by arrival, on a clock that runs while packets arrive: a network that
halts is silence, no missing table. *PCR and PTS* intervals are told by their values, and by arrival only when they stay away.
*PCR accuracy* is value against place in the stream, and only where the rate is constant: `pcr.PcrLine`.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator

from firmware.wire import ts
from firmware.wire.checks import Due, Fault, Faults
from firmware.wire.pcr import Place
from firmware.wire.tables import Tables

SYNC_LOST, SYNC_FOUND = 2, 5  # packets running (5.2.1, 1.1)
SILENCE_NS = 500_000_000
LULL_NS = 100_000_000  # a longer gap between arrivals is the network's; the stream's time does not run on in it
RATE_NS = 1_000_000_000
HISTORY = 32  # datagrams: how far back the first one of two duplicates is looked for

_WORDS = struct.Struct(">" + "xH185x" * 7).unpack  # of a full datagram
_CONTROLS = slice(3, None, ts.PACKET)
_PLACES = tuple(range(0, ts.DATAGRAM, ts.PACKET))
_SYNCS = bytes((ts.SYNC,)) * 7
_NEXT = bytes(control & 0xF0 | control + 1 & 15 for control in range(256))
_RUN = [bytes(control & 0xF0 | control + n & 15 for n in range(7)) for control in range(256)]  # the controls of seven of one PID
_RUN_NEXT = bytes(control & 0xF0 | control + 7 & 15 for control in range(256))
_NEVER = 0x100  # added to an expected control: no packet equals it, so each one is looked at


class Health:
    """`push` the datagrams of one stream as they pass, `tick` ten times a second, read `faults()`. Times are monotonic ns."""

    def __init__(self) -> None:
        self.rate_bps = 0  # over the last second
        self._faults = Faults()
        self._stream_ns = 0  # runs while packets arrive
        self._pushed_ns: int | None = None
        self._rated: tuple[int, int] | None = None  # time, and packets so far, when the rate was last told
        self._packets = self._nulls = 0
        self._begin()

    def _begin(self) -> None:
        self._expected: dict[int, int] = {}  # next control byte by PID
        self._history: deque[bytes] = deque(maxlen=HISTORY)
        self._breaks = 0  # of continuity
        self._wrong_syncs = self._right_syncs = 0  # running
        self._lost = self._in_doubt = self._silent = False
        self._tables = Tables(self._stream_ns)
        self._scrambled: set[int] = set()  # PIDs, since a CAT was last owed

    def restart(self, now_ns: int) -> None:
        """A new sender: nothing that was known of the stream holds; the counts stay."""
        self._faults.now_ns = now_ns
        self._pushed_ns = None
        self._begin()

    def faults(self) -> dict[str, Fault]:
        """By name of `checks.CHECKS`, only those that ever happened."""
        return self._faults.by_name

    @property
    def pids(self) -> dict[int, str]:
        """What each PID that came is, as far as the tables say."""
        words = self._tables.words()
        return {pid: words.get(pid, "not in the tables") for pid in sorted(self._expected)}

    @property
    def pcr_interval_ms_max(self) -> float:
        return max((clock.interval_max / 27_000 for clock in self._tables.clocks.values()), default=0.0)

    @property
    def pcr_accuracy_ns_max(self) -> float | None:
        """None where nothing is judged yet, or the rate is not constant."""
        known = [clock.accuracy_ns_max for clock in self._tables.clocks.values() if clock.accuracy_ns_max is not None]
        return max(known, default=None)

    @property
    def constant_rate(self) -> bool | None:
        """None where it is not known yet."""
        known = [clock.constant_rate for clock in self._tables.clocks.values() if clock.constant_rate is not None]
        return all(known) if known else None

    def push(self, datagrams: Iterable[bytes], now_ns: int) -> None:
        """What came at `now_ns`: datagrams of whole packets. One that is not counts as a packet without sync byte."""
        if self._pushed_ns is not None:
            self._stream_ns += max(0, min(now_ns - self._pushed_ns, LULL_NS))
        self._faults.now_ns = self._pushed_ns = now_ns
        self._silent = False
        expected, remember = self._expected, self._history.append
        next_of = expected.get
        for datagram in datagrams:
            if len(datagram) != ts.DATAGRAM or datagram[:: ts.PACKET] != _SYNCS or self._in_doubt:
                self._uneven(datagram)
                continue
            words, controls = _WORDS(datagram), datagram[_CONTROLS]
            word, control = words[0], controls[0]
            if next_of(word) == control and controls == _RUN[control] and words.count(word) == 7:
                expected[word] = _RUN_NEXT[control]
                self._packets += 7
                remember(datagram)
                continue
            for word, control, at in zip(words, controls, _PLACES):  # noqa: B905 - strict costs a tenth
                if word == ts.NULL_PID:
                    self._nulls += 1
                    continue
                if next_of(word) == control:
                    expected[word] = _NEXT[control]
                else:
                    self._look(datagram, at, word, control)
            self._packets += 7
            remember(datagram)

    def tick(self, now_ns: int) -> None:
        """Ten times a second: counts what stays away."""
        self._faults.now_ns = now_ns
        self._tell_rate(now_ns)
        if self._pushed_ns is None:
            return
        if now_ns - self._pushed_ns > SILENCE_NS:
            if not self._silent:
                self._faults.count("sync_loss")
                self._silent = True
            self._faults.by_name["sync_loss"].last_ns = now_ns
            return
        if self._tables.tick(self._stream_ns):
            self._mark_tables()
        for due in self._dues():
            if due.is_late(self._stream_ns):
                self._faults.count(due.name)

    def _dues(self) -> Iterator[Due]:
        tables = self._tables
        yield tables.pat_due
        if self._scrambled:
            yield tables.cat_due
            if tables.cat_due.missed:
                self._scrambled.clear()  # it fills again if they still come
        else:
            tables.cat_due.came(self._stream_ns)
        for programme in tables.programmes.values():
            yield programme.due
        for clock in tables.clocks.values():
            yield clock.due
        for pid, stream in tables.streams.items():
            if self._expected.get(pid) != stream.due.mark:  # packets came, by the counter
                stream.due.mark = self._expected.get(pid)
                stream.due.came(self._stream_ns)
            yield stream.due
            if stream.pts_due is not None:
                yield stream.pts_due

    def _tell_rate(self, now_ns: int) -> None:
        if self._rated is None:
            self._rated = now_ns, self._packets
        elif now_ns - self._rated[0] >= RATE_NS:
            since_ns, packets = self._rated
            self.rate_bps = (self._packets - packets) * ts.PACKET * 8 * 1_000_000_000 // (now_ns - since_ns)
            self._rated = now_ns, self._packets

    # sync, 1.1 and 1.2

    def _uneven(self, datagram: bytes) -> None:
        """A datagram that is not seven packets with their sync bytes, or that follows one."""
        if not datagram or len(datagram) % ts.PACKET:
            self._on_wrong_sync()
            return
        for at in range(0, len(datagram), ts.PACKET):
            if datagram[at] != ts.SYNC:
                self._on_wrong_sync()
            elif self._is_in_sync():
                word, control = datagram[at + 1] << 8 | datagram[at + 2], datagram[at + 3]
                if self._expected.get(word) == control:
                    self._expected[word] = _NEXT[control]
                elif word == ts.NULL_PID:
                    self._nulls += 1
                else:
                    self._look(datagram, at, word, control)
        self._packets += len(datagram) // ts.PACKET
        self._history.append(datagram)

    def _on_wrong_sync(self) -> None:
        self._faults.count("sync_byte")
        self._in_doubt = True
        self._right_syncs = 0
        self._wrong_syncs += 1
        if self._wrong_syncs == SYNC_LOST and not self._lost:
            self._lost = True
            self._faults.count("sync_loss")
            self._expected.clear()
            self._breaks += 1
            self._tables.break_off()

    def _is_in_sync(self) -> bool:
        self._wrong_syncs = 0
        if self._lost:
            self._right_syncs += 1
            self._lost = self._right_syncs < SYNC_FOUND
        self._in_doubt = self._lost
        return not self._lost

    # packets that say something

    def _look(self, data: bytes, at: int, word: int, control: int) -> None:
        pid = word & 0x1FFF
        expected = self._expected.get(pid)
        if word & 0x8000:  # 2.1: nothing else is to be derived from such a packet
            self._faults.count("transport")
            if expected is not None and (expected ^ control) & 15 == 0 and control & 0x10:
                self._expected[pid] = expected & ~15 | expected + 1 & 15
            return
        if pid == ts.NULL_PID or not control & 0x30:  # 2.4.3.3: a packet with neither part is discarded
            return
        flags = data[at + 5] if control & 0x20 and data[at + 4] else 0
        if expected is not None and not flags & 0x80 and not self._is_next(data, at, pid, control, expected):
            return
        tables, now_ns, faults = self._tables, self._stream_ns, self._faults
        never = _NEVER if pid in tables.sections else 0
        if control & 0xC0 and not never:
            self._scrambled.add(pid)
        self._expected[pid] = control & 0xC0 | 0x10 | control + 1 & 15 | never
        if never and control & 0x10:
            sections = tables.sections
            if flags & 0x80:
                sections[pid].forget()
            tables.look(pid, data, at, now_ns, faults)
            if sections is not tables.sections:
                self._mark_tables()
        if flags & 0x10 and (clock := tables.clocks.get(pid)) and (pcr := ts.pcr_of(data, at)) is not None:
            place = Place(self._packets + at // ts.PACKET, self._nulls, self._breaks)
            clock.push(pcr, place, bool(flags & 0x80), now_ns, faults)
        if word & 0x4000 and (stream := tables.streams.get(pid)):
            stream.due.came(now_ns)
            if control & 0xC0:
                stream.scrambled()
            else:
                clock = tables.clocks.get(stream.pcr_pid)
                stream.push(data, at, clock.epoch if clock else 0, now_ns, faults)

    def _mark_tables(self) -> None:
        """Packets of tables are expected never to come."""
        for pid, control in self._expected.items():
            self._expected[pid] = control | _NEVER if pid in self._tables.sections else control & 0xFF

    def _is_next(self, data: bytes, at: int, pid: int, control: int, expected: int) -> bool:
        """1.4, by 2.4.3.3: the counter is one up, or that of the last packet where there is no payload. False for a duplicate."""
        wanted = expected if control & 0x10 else expected - 1
        if (control ^ wanted) & 15 == 0:
            return True
        self._breaks += 1
        if control & 0x10 and (control + 1 ^ expected) & 15 == 0 and self._is_second(data, at, pid):
            return False
        self._faults.count("continuity_count")
        if pid in self._tables.sections:
            self._tables.sections[pid].forget()
        return True

    def _is_second(self, data: bytes, at: int, pid: int) -> bool:
        """The packet of this PID before is the same but for PCR, and the one before that is not: two are allowed, not three."""
        this = _without_pcr(data, at)
        before: list[bytes] = []
        for datagram, end in ((data, at), *((older, len(older)) for older in reversed(self._history))):
            for place in range(end - ts.PACKET, -1, -ts.PACKET):
                if ts.pid_of(datagram, place) == pid and datagram[place + 3] & 0x10:
                    before.append(_without_pcr(datagram, place))
                    if before[0] != this or len(before) == 2:
                        return before[0] == this and before[-1] != this
        return len(before) == 1


def _without_pcr(data: bytes, at: int) -> bytes:
    """The packet, for comparing duplicates: they may differ in PCR (2.4.3.3)."""
    packet = data[at : at + ts.PACKET]
    return packet[:6] + packet[12:] if ts.pcr_of(data, at) is not None else packet
