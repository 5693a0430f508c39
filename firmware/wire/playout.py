"""The constant-rate clock of a camera flow: it never stops, whatever the camera does.

    lists of the capture worker --push-->  queue  --one slot of 7 packets every 1316 * 8 / rate-->  datagrams
    slate, while there are none --------->

The capture worker delivers transport packets without stuffing, a frame at a time. Here they are laid on a line of
packet positions at `rate_bps`: position p leaves `p * 1504 / rate` seconds after the start and every PCR says just
that, so PCR is exact by construction, and the wire is smooth. Null packets fill what the queue leaves empty. When the
camera falls silent the slate plays on the same PIDs. Continuity counters are given here, so that they run on through every
change of feed, and where the capture worker had to drop a list.

Without stuffing (`stuffed=False`) the line is faster than the stream and its empty slots are not sent: each picture leaves
at once at the line's rate, about a frame's time sooner, as a stream of variable rate. PCR still says when a position leaves.

**The rate may change on air** (`set_rate`): where the video gets fewer bits, stuffing would fill the line all the same. The line is
straight in pieces then. A piece begins at a slot, when that is due on the piece before it, and with a PCR: between two PCRs the
rate is constant, as ISO/IEC 13818-1, 2.4.2.2 wants it, so PCR stays exact and a decoder's clock sees nothing. What waits was encoded
for the former rate, and more of it comes until the encoder follows; so the line comes down only as far as that leaves in
`DRAIN_NS`, and then the rest of the way. Climbs are taken in a few steps a second.

All clocks are one: PTS is 90 kHz of the monotonic clock at capture, PCR is the same clock `HEADROOM_NS` ago. So a
restarted capture worker, the slate and a restarted flow worker all fall into place on the same time line.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from firmware.wire import psi, ts

SLOT_PACKETS = 7
PACKET_NBITS = ts.PACKET * 8 * 1_000_000_000  # over a rate in bits a second: nanoseconds of a packet
LEAST_BPS = 320_000  # below it one datagram takes longer than PCR may stay away
HEADROOM_NS = 300_000_000  # PTS ahead of PCR: time to encode, to send the largest picture at the constant rate, and for the slate
SLATE_DELAY_NS = 150_000_000  # the slate is stamped this much in the past, so that a returning camera is never older than it
SILENCE_NS = 350_000_000  # without a list from the camera before the slate plays: tables must come twice a second (TR 101 290, 1.3)
TABLES_PERIOD_NS = 400_000_000  # PAT and PMT are repeated after this long without: 500 ms is the limit of TR 101 290, 1.3a and 1.5a
PCR_PERIOD_NS = 30_000_000  # 40 ms is the limit of TR 101 290, 2.3a
UNSTUFFED_PCR_PERIOD_NS = 36_000_000  # each picture brings one; at 28 pictures a second and more none goes alone
CATCH_UP_NS = 500_000_000  # a loop that comes later than this skips positions instead of sending them in a burst
DRAIN_NS = 180_000_000  # in which a picture leaves on a line that came down: less than the headroom
RECENT_NS = 200_000_000  # pictures by which that is told
STEADY_NS = 250_000_000  # between two changes of the line, but for
LEAP = 1.2  # what must be at once
QUEUE_NS = 2_000_000_000  # of packets waiting; beyond it the camera's rate is not what it said


@dataclass(slots=True)
class SlateUnit:
    at_ns: int  # from the start of the loop
    packets: bytes
    stamps: list[tuple[int, int]]  # (where, 90 kHz from the start of the loop) of every PTS and DTS


class Slate:
    """A loop of transport packets: one unit a frame."""

    def __init__(self, stream: bytes, video_pid: int = 0x100) -> None:
        """`stream` is a whole loop of MPEG-TS without stuffing; ValueError when it has fewer than two pictures."""
        starts: list[tuple[int, int]] = []  # (offset, DTS) of each picture
        for at in range(0, len(stream) - len(stream) % ts.PACKET, ts.PACKET):
            if ts.pid_of(stream, at) == video_pid:
                stamps = ts.timestamps_at(stream, at)
                if stamps:
                    starts.append((at, ts.read_timestamp(stream, stamps[-1])))
        if len(starts) < 2:
            raise ValueError("the slate has no moving picture")
        first, last = starts[0][1], starts[-1][1]
        self.duration_90k = round((last - first) * len(starts) / (len(starts) - 1))
        self.units: list[SlateUnit] = []
        cuts = [0, *(at for at, _ in starts[1:]), len(stream)]
        for (_, dts), begin, end in zip(starts, cuts, cuts[1:], strict=False):
            packets = stream[begin:end]
            places = [place for at in range(0, len(packets), ts.PACKET) for place in ts.timestamps_at(packets, at)]
            stamps_90k = [(place, ts.read_timestamp(packets, place) - first) for place in places]
            self.units.append(SlateUnit((dts - first) * 100_000 // 9, packets, stamps_90k))

    def stamped(self, unit: SlateUnit, base_90k: int) -> bytes:
        packets = bytearray(unit.packets)
        for place, ticks in unit.stamps:
            ts.write_timestamp(packets, place, base_90k + ticks)
        return bytes(packets)


class Playout:
    """`push` the lists of the capture worker, `pop` datagrams of exactly seven packets when they are due. Times are monotonic ns."""

    def __init__(self, rate_bps: int, slate: Slate | None = None, video_pid: int = 0x100, *, stuffed: bool = True) -> None:
        self.rate_bps = rate_bps
        self.wanted_bps = self.top_bps = rate_bps
        self.stuffed = stuffed
        self.slate = slate
        self.picture: Literal["live", "slate", "none"] = "none"
        self.overruns = self.slates = self.skipped_slots = 0
        self._video_pid = video_pid
        self._start_ns: int | None = None
        self._slot = 0
        self._pcr_due = 0  # packet position from which the next PCR is owed
        self._from_slot = 0  # of the present piece of the line; `_start_ns` is when that slot is due
        self._changed_ns = 0
        self._peaks: deque[tuple[int, int]] = deque()  # when something was queued, and the bytes that waited then
        self._jumped = False
        self._tables: dict[int, bytes] = {}  # the last PAT and PMT that were queued, by PID
        self._tables_at = 0  # where on the line
        self._queue: deque[bytes] = deque()  # whole packets, cut as they came
        self._queued = 0  # bytes in the queue
        self._head = 0  # bytes of the queue's first entry that are gone
        self._counter: dict[int, int] = {}  # last one queued, by PID
        self._live_ns: int | None = None
        self._wait_for_key = True
        self._unit = 0  # the slate's next
        self._loop_ns = 0  # when the slate's loop began
        self._set_steps()

    def _set_steps(self) -> None:
        period_ns = PCR_PERIOD_NS if self.stuffed else UNSTUFFED_PCR_PERIOD_NS
        self._pcr_step = max(1, period_ns * self.rate_bps // PACKET_NBITS - SLOT_PACKETS)
        self._tables_step = TABLES_PERIOD_NS * self.rate_bps // PACKET_NBITS

    def set_rate(self, rate_bps: int, now_ns: int) -> None:
        """The line's rate from the next slot on, up to the first one; lower ones as soon as what waits has room on it."""
        self.wanted_bps = min(max(rate_bps, LEAST_BPS), self.top_bps)
        self._follow(now_ns)

    def _follow(self, now_ns: int) -> None:
        """Bring the line to the wanted rate, or to the one on which what waits leaves in time."""
        if self.rate_bps == self.wanted_bps == self.top_bps:
            return
        peaks = self._peaks
        while peaks and now_ns - peaks[0][0] > RECENT_NS:
            peaks.popleft()
        waits = max((size for _, size in peaks), default=self._queued)
        goal_bps = min(max(self.wanted_bps, waits * 8_000_000_000 // DRAIN_NS), self.top_bps)
        leaps = goal_bps > LEAP * self.rate_bps or goal_bps * LEAP < self.rate_bps
        if goal_bps != self.rate_bps and (leaps or now_ns - self._changed_ns >= STEADY_NS):
            self._begin_piece(goal_bps, now_ns)

    def _begin_piece(self, rate_bps: int, now_ns: int) -> None:
        before_bps, self._changed_ns = self.rate_bps, now_ns
        if self._start_ns is not None:
            self._start_ns = self._due(self._start_ns)
        self._from_slot = self._slot
        self.rate_bps = rate_bps
        self._set_steps()
        position = self._slot * SLOT_PACKETS
        self._tables_at = position - (position - self._tables_at) * rate_bps // before_bps
        self._pcr_due = position

    def push(self, packets: bytes, now_ns: int) -> None:
        """One list of the capture worker: whole packets, no stuffing."""
        self._live_ns = now_ns
        if self._queued > QUEUE_NS * self.top_bps // 8_000_000_000:
            self.overruns += 1
            self._wait_for_key = True
            return
        if self._wait_for_key and not self._has_key_picture(packets):
            return
        self.picture = "live"
        self._wait_for_key = False
        if self._start_ns is None:
            self._start_ns = now_ns
        self._append(packets, self._start_ns, now_ns)
        self._follow(now_ns)

    def restart(self) -> None:
        """The capture worker is gone or new: its next list begins a feed of its own, at a key picture."""
        self._wait_for_key = True

    def pop(self, now_ns: int) -> list[bytes]:
        """The datagrams of every slot that is due."""
        self._mind_the_camera(now_ns)
        if self._start_ns is None:
            return []
        self._follow(now_ns)
        behind_ns = now_ns - self._due(self._start_ns)
        if behind_ns > CATCH_UP_NS:
            skip = behind_ns * self.rate_bps // (ts.DATAGRAM * 8 * 1_000_000_000)
            self.skipped_slots += skip
            self._slot += skip
            self._jumped = True
            self._pcr_due = self._slot * SLOT_PACKETS
        out = []
        while self._due(self._start_ns) <= now_ns:
            if self.stuffed or self._queued or self._slot * SLOT_PACKETS >= self._pcr_due:
                out.append(self._fill_slot(self._start_ns))
            self._slot += 1
        return out

    def due_ns(self) -> int | None:
        if self._start_ns is None:
            return None
        if self.stuffed or self._queued:
            return self._due(self._start_ns)
        return self._start_ns + (self._pcr_due - self._from_slot * SLOT_PACKETS) * PACKET_NBITS // self.rate_bps

    def begin(self, now_ns: int) -> None:
        """Start the clock without a camera, so that the slate plays when none comes."""
        if self._start_ns is None:
            self._start_ns = now_ns

    def _due(self, start_ns: int) -> int:
        return start_ns + (self._slot - self._from_slot) * SLOT_PACKETS * PACKET_NBITS // self.rate_bps

    # the line of packet positions

    def _fill_slot(self, start_ns: int) -> bytes:
        position = self._slot * SLOT_PACKETS
        wanted = ts.DATAGRAM
        pcr = b""
        if position >= self._pcr_due:
            pcr = self._pcr_at(position, start_ns)
            self._pcr_due = position + self._pcr_step
            wanted -= ts.PACKET
        if self._queued >= wanted:
            return pcr + self._take(wanted)
        taken = pcr + self._take(self._queued)
        if not self.stuffed:
            return taken
        if position - self._tables_at > self._tables_step and len(taken) + len(self._tables) * ts.PACKET <= ts.DATAGRAM:
            taken += self._tables_again(position)
        return taken + ts.NULL_PACKET * ((ts.DATAGRAM - len(taken)) // ts.PACKET)

    def _tables_again(self, position: int) -> bytes:
        """A camera that is held up brings no tables for a while, and the slate does not play yet."""
        self._tables_at = position
        again = b""
        for pid, packet in self._tables.items():
            if not packet:
                continue
            counter = self._counter[pid] = self._counter[pid] + 1 & 15
            again += packet[:3] + bytes((packet[3] & 0xF0 | counter,)) + packet[4:]
        return again

    def _pcr_at(self, position: int, start_ns: int) -> bytes:
        since = (position - self._from_slot * SLOT_PACKETS) * PACKET_NBITS
        clock = ((start_ns - HEADROOM_NS) * self.rate_bps + since) * 27 // (1000 * self.rate_bps)
        packet = ts.pcr_packet(self._video_pid, self._counter_on_the_wire(), clock, discontinuity=self._jumped)
        self._jumped = False
        return packet

    def _counter_on_the_wire(self) -> int:
        """The video PID's last counter that left: one less than the next that waits."""
        head = self._head
        for chunk in self._queue:
            for at in range(head, len(chunk), ts.PACKET):
                if ts.pid_of(chunk, at) == self._video_pid:
                    return chunk[at + 3] - 1 & 15
            head = 0
        return self._counter.get(self._video_pid, 15)

    def _take(self, size: int) -> bytes:
        self._queued -= size
        taken: list[bytes] = []
        while size:
            chunk = self._queue[0]
            end = self._head + size
            taken.append(chunk[self._head : end])
            if end < len(chunk):
                self._head = end
                break
            size = end - len(chunk)
            self._queue.popleft()
            self._head = 0
        return b"".join(taken)

    def _append(self, packets: bytes, start_ns: int, now_ns: int) -> None:
        """Queue the packets: counters renumbered, their own PCR struck out (ours are exact), packets without payload left out."""
        if not self.stuffed and not self._queued:
            self._slot = max(self._slot, self._from_slot + (now_ns - start_ns) * self.rate_bps // (SLOT_PACKETS * PACKET_NBITS))
            self._pcr_due = self._slot * SLOT_PACKETS
        data = bytearray(packets)
        dropped: list[int] = []
        counters = self._counter
        for at in range(0, len(data), ts.PACKET):
            control = data[at + 3]
            if not control & 0x10:
                dropped.append(at)
                continue
            pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
            if control & 0x20 and data[at + 4] >= 7 and data[at + 5] & 0x10:
                data[at + 5] &= 0xEF
                data[at + 6 : at + 12] = b"\xff" * 6
            counters[pid] = counter = counters.get(pid, 15) + 1 & 15
            data[at + 3] = control & 0xF0 | counter
            if pid == psi.PAT_PID or pid in self._tables:
                self._keep_table(pid, bytes(data[at : at + ts.PACKET]))
        for at in reversed(dropped):
            del data[at : at + ts.PACKET]
        if data:
            self._queue.append(bytes(data))
            self._queued += len(data)
            if self.wanted_bps < self.top_bps or self.rate_bps < self.top_bps:
                self._peaks.append((now_ns, self._queued))

    def _keep_table(self, pid: int, packet: bytes) -> None:
        """Of tables of one packet each, which those of a camera are."""
        self._tables_at = self._slot * SLOT_PACKETS + self._queued // ts.PACKET
        if pid == psi.PAT_PID and packet[4:] != self._tables.get(pid, b"")[4:]:
            sections = psi.Sections().push(packet, 0)
            self._tables = dict.fromkeys((pid, *(psi.programmes(sections[0]).values() if sections else ())), b"")
        self._tables[pid] = packet

    def _has_key_picture(self, packets: bytes) -> bool:
        return any(ts.pid_of(packets, at) == self._video_pid and ts.is_key_picture(packets, at) for at in range(0, len(packets), ts.PACKET))

    # the slate

    def _mind_the_camera(self, now_ns: int) -> None:
        if self._start_ns is None or self.slate is None:
            return
        if self.picture != "slate":
            if now_ns - (self._live_ns if self._live_ns is not None else self._start_ns) < SILENCE_NS:
                return
            self.picture = "slate"
            self.slates += 1
            self._wait_for_key = True
            self._unit = 0
            self._loop_ns = now_ns
        while True:
            unit = self.slate.units[self._unit]
            if self._loop_ns + unit.at_ns > now_ns:
                return
            stamped = self.slate.stamped(unit, (self._loop_ns - SLATE_DELAY_NS) * 9 // 100_000)
            self._append(stamped, self._start_ns, now_ns)
            self._unit += 1
            if self._unit == len(self.slate.units):
                self._unit = 0
                self._loop_ns += self.slate.duration_90k * 100_000 // 9
