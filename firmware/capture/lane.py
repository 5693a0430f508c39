"""What one path carries: from what it says of itself, ten times a second, to the bitrate that fits.

Theory of operation
-------------------
A path is a pipe with a queue, and everything about it is seen from the near end:

    encoder + stuffing --sent--> [ send buffer: not acknowledged yet ] --> ~~queue~~ link ~~> far end
                                  buffer_ms, its age                      rtt_ms grows      acknowledges: what is *carried*

**Down.** What does not fit waits in the queue: the oldest packet that is not acknowledged grows old at once, the round trip a little
later, and what is acknowledged *is* what the link carries. So one look says where to go: down to just that, less what drains the
queue in about a second; nothing is guessed and nothing compounds. Where so much waits that all that is sent now would come too late, or
what is carried broke down between two looks, down to the floor, until the queue is empty; then back at once to what was carried. A
queue may grow to a quarter of the latency beyond the round trip: until then no packet is late. Where packets are lost, a hole holds up
the
acknowledgements of what came after it, so then a fall waits until the last one shows, and is bounded.

**What is none of ours.** Only trouble that less bitrate cures is trouble. A longer way (another cell) looks like a queue, a noisy one
like a full link. A queue that is as long as before after `PROOF_NS` of sending less, or loss that is as before when less is sent than a
full
link would have left over, is the link's own: it becomes the *normal*, beyond which things are judged, and the limit goes back. The
normal follows downwards when things get better, and is slowly forgotten.

**Up, and never stuck.** There is no remembered ceiling, only a place of caution: the `knee`, what was carried at the last fall. Below
half of it the limit doubles each second, around it grows by 4 %, elsewhere by 30 %. A climb that ends at the same knee makes the next
one wait
twice as long, `LONGEST_HOLD_NS` at most, and after `CAUTION` such waits the knee is forgotten. So whatever was thought of a path:
`longest_climb_s`
after its last trouble it is at the ceiling; and one that is steadily too slow is tried every twenty seconds or so, each time with
a queue that no viewer sees. An outage says nothing of what the path carries: after a short one everything goes on as before.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

S = 1_000_000_000
WINDOW_NS = 400_000_000  # over which rates are told
QUEUE_SHARE = 0.25  # of the latency beyond the round trip that a queue may take,
LEAST_QUEUE_MS, MOST_QUEUE_MS = 30.0, 120.0  # but between these
LATE_SHARE = 0.7  # of it: a longer queue makes all late that is sent now
ACK_MS = 20.0  # age of the oldest packet on an idle link, beyond the round trip: acknowledgements come every 10 ms
MANY = 7.0  # one packet in e to this, a thousand, needs more turns than are allowed for
KEEP = 0.92  # of what is carried, kept at a fall
DRAIN_MS = 1500.0  # a queue of so long is drained in about the time that it is long
LOSS_TROUBLE = 0.10  # asked for again, beyond the normal
SATURATED = 0.93  # carried / sent below this: more is sent than the link takes
AGAIN_NS = 200_000_000  # until a fall shows: the encoder's pictures; and a round trip and more where acknowledgements stand still
OBEYED = 1.3
FRAMES_NS = 100_000_000  # that the encoder takes to follow
LEAST_STEP = 0.6  # then; for a hole that is not filled yet holds up what came
SUDDEN = 0.5  # carried / sent: to the floor first
NOTHING_BPS = 50_000  # carried: an outage, which says nothing of what the path can
SHORT_NS = 1_500_000_000  # of an outage: after it everything goes on as before
PROOF_NS = 1_500_000_000
HOLD_NS, LONGEST_HOLD_NS = 1 * S, 8 * S
CAUTION = 3  # holds, until the knee is forgotten
BAND_NS = 3 * S  # with a queue that is no trouble yet, before the climb goes on all the same
DOUBLE, QUICK, SLOW = math.log(2), math.log(1.3), math.log(1.04)  # climbs, each second
NEAR, BEYOND = 0.8, 1.12  # of the knee: where the climb is slow
VARIES = 0.15  # of a normal delay: a longer way varies more
FORGETS = 0.98  # a look: of a normal that is worse than what is seen
LATE_NS = 1 * S


@dataclass(slots=True)
class Path:
    """What one output counted, in totals of its connection. None: this protocol cannot tell."""

    name: str
    up: bool = True
    latency_ms: float | None = None  # what comes later than this is lost
    rtt_ms: float | None = None
    buffer_ms: float | None = None  # age of the oldest packet that is not acknowledged
    sent_bytes: int = 0  # each packet once, headers too
    buffer_bytes: int | None = None  # of them not acknowledged
    sent_packets: int = 0
    asked_packets: int = 0  # the far end missed them
    fec_share: float = 0.0  # sent beside, as a share of the stream: 0.2 for 10 x 10 rows and columns

    @property
    def tells(self) -> bool:
        return self.rtt_ms is not None


def line_bps(video_bps: int, audio_bps: int) -> int:
    """Rate of the transport stream: video + 8 %, audio + 30 % (TS and PES headers), 100 kb/s of tables and PCR."""
    return (video_bps * 108 + audio_bps * 130) // 100 + 100_000


def video_bps_of(path_bps: float, audio_bps: int, fec_share: float = 0.0) -> float:
    """The picture's part of what a path carries: datagrams of 1316 with 44 bytes of headers, FEC beside them."""
    return (path_bps * 1316 / 1360 / (1 + fec_share) - 100_000 - audio_bps * 1.3) / 1.08


def mbit(bps: float) -> str:
    return f"{bps / 1e6:.1f}"


def longest_climb_s(floor_bps: int, ceiling_bps: int) -> float:
    """From a path's last trouble to the ceiling, whatever happened before: hold, caution, and the climb itself."""
    return (LONGEST_HOLD_NS * (1 + CAUTION) + BAND_NS) / S + math.log(ceiling_bps / floor_bps) / QUICK


@dataclass(slots=True)
class _Sample:
    now_ns: int
    sent: int
    buffered: int
    packets: int
    asked: int


def _between(first: _Sample, last: _Sample) -> tuple[float, float, float]:
    """Sent a second, the share of it that was asked for again, and carried a second."""
    span_s = (last.now_ns - first.now_ns) / S
    if span_s <= 0:
        return 0.0, 0.0, 0.0
    sent, packets, asked = last.sent - first.sent, last.packets - first.packets, last.asked - first.asked
    acknowledged = min(max(sent - last.buffered + first.buffered, 0), max(sent, 0) * 2)
    return sent * 8 / span_s, asked / max(packets, asked, 1), acknowledged * packets / max(packets + asked, 1) * 8 / span_s


class Lane:
    """One path: `look` at it ten times a second, read `limit_bps`, which is the picture's."""

    def __init__(self, floor_bps: int, ceiling_bps: int, audio_bps: int) -> None:
        self.floor_bps, self.ceiling_bps, self._audio_bps = floor_bps, ceiling_bps, audio_bps
        self.limit_bps = float(ceiling_bps)
        self.why = ""
        self.falls = 0
        self.late_ns = 0  # for so long all came too late
        self._samples: deque[_Sample] = deque()
        self._now_ns = 0
        self._sent_bps = self._carried_bps = self._lately_bps = self._loss = 0.0
        self._rtt_ms = self._buffer_ms = self._rtt_rise = self._buffer_rise = 0.0
        self._queue_ms = self._allowed_ms = self._room_ms = 0.0
        self._least_rtt_ms: float | None = None
        self._before_sent_bps = self._worst_loss = 0.0  # as the trouble began
        self._normal_ms = self._normal_loss = 0.0  # what less bitrate did not cure: delay beyond the least, and loss
        self._knee_bps = self._wire_bps = 0.0  # carried when it last fell: the picture's part, and all. 0: forgotten
        self._hold_ns = HOLD_NS
        self._before_bps: float | None = None  # the limit when the present trouble began
        self._trouble_ns = self._began_ns = self._returned_ns = self._fell_ns = self._calm_ns = self._lossy_ns = -LONGEST_HOLD_NS * (
            1 + CAUTION
        )
        self._proof: tuple[int, float, float] | None = None  # since when the last fall should show, and queue and loss then

    def look(self, path: Path, now_ns: int) -> None:
        since_ns, self._now_ns = min(now_ns - self._now_ns, S), now_ns
        self._measure(path)
        if self._is_trouble():
            self._on_trouble(path)
        elif self._before_bps is not None:
            if self._queue_ms < self._allowed_ms / 2 or now_ns - self._trouble_ns > BAND_NS:
                self._on_end_of_trouble(path)
        elif now_ns - self._trouble_ns >= self._hold_ns and (
            self._queue_ms < self._allowed_ms / 3 or now_ns - max(self._calm_ns, self._trouble_ns) > BAND_NS
        ):
            self._climb(path, since_ns)
        if self._queue_ms < self._allowed_ms / 3:
            self._calm_ns = now_ns
        self.limit_bps = min(max(self.limit_bps, self.floor_bps), self.ceiling_bps)

    # what is

    def _measure(self, path: Path) -> None:
        samples, now_ns = self._samples, self._now_ns
        sample = _Sample(now_ns, path.sent_bytes, path.buffer_bytes or 0, path.sent_packets, path.asked_packets)
        if samples and (sample.sent < samples[-1].sent or now_ns - samples[-1].now_ns > S):
            samples.clear()  # another connection
        samples.append(sample)
        while len(samples) > 2 and now_ns - samples[1].now_ns >= WINDOW_NS:
            samples.popleft()
        self._sent_bps, self._loss, self._carried_bps = _between(samples[0], sample)
        self._lately_bps = _between(samples[max(len(samples) - 2, 0)], sample)[2]
        if self._loss > 0:
            self._lossy_ns = now_ns
        rtt_ms, buffer_ms = path.rtt_ms or 0.0, path.buffer_ms or 0.0
        self._rtt_rise, self._rtt_ms = rtt_ms - self._rtt_ms, rtt_ms
        self._buffer_rise, self._buffer_ms = buffer_ms - self._buffer_ms, buffer_ms
        least = self._least_rtt_ms = min(rtt_ms, self._least_rtt_ms if self._least_rtt_ms is not None else rtt_ms)
        turns = max(2.0, MANY / -math.log(min(self._normal_loss, 0.9)) if self._normal_loss else 0.0)
        repairs_ms = turns * least + ACK_MS if now_ns - self._lossy_ns < S else 0.0  # sent again: old without a queue
        queue_ms = max(rtt_ms - least, buffer_ms - least - ACK_MS - repairs_ms)
        self._normal_ms = min(self._normal_ms, max(queue_ms, self._normal_ms * FORGETS))
        self._normal_loss = min(self._normal_loss, max(self._loss, self._normal_loss * FORGETS))
        self._queue_ms = queue_ms - self._normal_ms
        latency_ms = path.latency_ms or 500.0
        self._room_ms = max(latency_ms - least - self._normal_ms, LEAST_QUEUE_MS)
        self._allowed_ms = min(max(self._room_ms * QUEUE_SHARE, LEAST_QUEUE_MS), MOST_QUEUE_MS) + VARIES * self._normal_ms
        self.late_ns = self.late_ns + WINDOW_NS // 4 if buffer_ms > latency_ms else 0

    @property
    def _full(self) -> bool:
        return self._carried_bps < SATURATED * self._sent_bps

    @property
    def _lossy(self) -> bool:
        packets = self._samples[-1].packets - self._samples[0].packets
        return self._loss > self._normal_loss * 1.25 + LOSS_TROUBLE + 1 / math.sqrt(max(packets, 1))  # of few packets chance says much

    @property
    def _all_late(self) -> bool:
        return self._queue_ms > max(self._room_ms * LATE_SHARE, self._allowed_ms)

    def _video(self, path: Path, wire_bps: float) -> float:
        return max(video_bps_of(wire_bps, self._audio_bps, path.fec_share), self.floor_bps)

    # down

    def _is_trouble(self) -> bool:
        soon_ms = self._queue_ms + 2 * self._buffer_rise if self._loss == 0 and self._buffer_rise > LEAST_QUEUE_MS else 0.0
        if self._lossy or (self._full and soon_ms > self._allowed_ms):
            return True
        # A way that only grew longer is as well as before: it must be much
        return self._queue_ms > self._allowed_ms * (1.0 if self._full or self._before_bps is not None else 1.5)

    def _on_trouble(self, path: Path) -> None:
        self._trouble_ns = self._now_ns
        if self._before_bps is None:
            self._begin(path)
        if self._now_ns - self._began_ns < WINDOW_NS:
            self._worst_loss = max(self._worst_loss, self._loss)
        if self._loss == 0 and self._buffer_rise > 0 and self._lately_bps < self._wire_bps:
            self._wire_bps, self._knee_bps = self._lately_bps, self._video(path, self._lately_bps)
        if self._began_ns < self._now_ns and self.limit_bps > self.floor_bps:
            if self._all_late or (self._still_grows() and self._waiting_ms(path) > self._room_ms):
                self._fall_to_floor(path)
            elif self._full and self._still_grows() and not (self._is_noise and self._sent_bps < self._left_over_bps):
                self._fall(path, self._lately_bps if self._loss == 0 else max(self._carried_bps, LEAST_STEP * self._wire_bps))
        self._prove(path)

    def _begin(self, path: Path) -> None:
        self._before_bps, self._began_ns = self.limit_bps, self._now_ns
        self._before_sent_bps, self._worst_loss = self._sent_bps, 0.0
        former_bps = self._knee_bps
        self._fall(path, min(self._carried_bps, self._lately_bps) if self._loss == 0 else self._carried_bps)
        again = former_bps and NEAR <= self._knee_bps / former_bps <= 1 / NEAR
        self._hold_ns = min(self._hold_ns * 2, LONGEST_HOLD_NS) if again else HOLD_NS
        self.falls += 1

    def _still_grows(self) -> bool:
        since_ns = self._now_ns - self._fell_ns
        if self._loss == 0:  # then the age of the oldest packet says it at once
            return self._buffer_rise > 0
        return since_ns >= 2 * AGAIN_NS + 1.5e6 * min(self._rtt_ms, 500) and self._rtt_rise > -0.5

    @property
    def _is_noise(self) -> bool:
        """Loss without a queue: the link is noisy, or somebody polices its rate."""
        return self._queue_ms <= self._allowed_ms and self._rtt_ms - (self._least_rtt_ms or 0) - self._normal_ms < max(
            self._allowed_ms / 3, LEAST_QUEUE_MS
        )

    @property
    def _left_over_bps(self) -> float:
        """By the loss at first: what a full link let through. Who sends less and loses as before is on a noisy one."""
        return 0.9 * self._before_sent_bps * (1 - self._worst_loss)

    def _waiting_ms(self, path: Path) -> float:
        """What waits, at the rate at which it is carried: how old it will be."""
        return (
            (path.buffer_bytes or 0) * 8000 / max(self._lately_bps, 1000.0)
            if self._loss == 0 and self._buffer_rise > LEAST_QUEUE_MS
            else 0.0
        )

    def _fall(self, path: Path, wire_bps: float) -> None:
        """To what the link carries, less what drains the queue; to the floor where that is so long that all comes too late."""
        assert self._before_bps is not None  # noqa: S101
        sudden = self._loss == 0 and wire_bps < SUDDEN * self._sent_bps  # the next look knows more
        target = self.floor_bps if self._all_late or sudden else self._video(path, wire_bps * (KEEP - max(self._queue_ms, 0.0) / DRAIN_MS))
        self._knee_bps = self._video(path, wire_bps)
        self._fell_ns, self._wire_bps, self._proof = self._now_ns, wire_bps, None
        if target < self.limit_bps:
            self.limit_bps = target
            delivers = f"delivers {mbit(wire_bps)} Mb/s" if wire_bps > NOTHING_BPS else "delivers nothing"
            self.why = f"{path.name} {delivers}: down to {mbit(target)}"

    def _fall_to_floor(self, path: Path) -> None:
        self._fell_ns, self._proof = self._now_ns, None
        self.limit_bps = self.floor_bps
        self.why = f"{path.name} holds so much back that all comes too late: down to {mbit(self.floor_bps)}"

    def _prove(self, path: Path) -> None:
        """Trouble that less bitrate does not cure is none of ours: it becomes the normal."""
        if self._before_bps is None or self._now_ns - self._fell_ns < 2 * AGAIN_NS + 1.5e6 * self._rtt_ms or not self._is_obeyed(path):
            return
        if self._proof is None:
            self._proof = self._now_ns, self._queue_ms, self._worst_loss
        since_ns, queue_ms, loss = self._proof
        if not self._is_noise or self._now_ns - self._began_ns > LONGEST_HOLD_NS:
            if self._now_ns - since_ns < PROOF_NS:
                return
            self._proof = self._now_ns, self._queue_ms, self._loss
            if self._queue_ms < 0.9 * queue_ms if not self._is_noise else self._loss < 0.7 * loss:
                return
        elif (
            self._sent_bps > self._left_over_bps
            or self._loss < 0.5 * max(self._worst_loss, LOSS_TROUBLE)
            or self._now_ns - since_ns < WINDOW_NS
        ):
            return
        self._take_as_normal(path)

    def _is_obeyed(self, path: Path) -> bool:
        """Whether no more is sent than it says. Where another path leads, it is not, and a fall proves nothing."""
        wire_bps = line_bps(int(self.limit_bps), self._audio_bps) * (1 + path.fec_share)
        return self._sent_bps < OBEYED * wire_bps

    def _take_as_normal(self, path: Path) -> None:
        was_late = self._all_late
        self._normal_ms += max(self._queue_ms, 0.0)
        self._normal_loss = max(self._normal_loss, self._loss, self._worst_loss if self._is_noise else 0.0)
        before_bps, self._before_bps, self._knee_bps = self._before_bps or 0.0, None, 0.0
        self._trouble_ns = self._now_ns - self._hold_ns
        if not was_late and before_bps * KEEP > self.limit_bps:
            self.limit_bps = before_bps * KEEP
            self.why = f"{path.name} is as slow or lossy whatever is sent: back to {mbit(self.limit_bps)}"

    # up

    def _on_end_of_trouble(self, path: Path) -> None:
        """The queue is drained. What was carried is known; an outage said nothing of that."""
        assert self._before_bps is not None  # noqa: S101
        if self._is_noise and self._loss > 0.5 * self._worst_loss > 0.5 * LOSS_TROUBLE:  # it ended by chance
            if self._now_ns - self._fell_ns > 2 * WINDOW_NS + 1.5e6 * self._rtt_ms and self._is_obeyed(path):
                self._take_as_normal(path)
            return
        before_bps, self._before_bps = self._before_bps, None
        shown_ns = AGAIN_NS + FRAMES_NS + 1e6 * min(self._rtt_ms, 200)
        if self._worst_loss <= LOSS_TROUBLE and self._now_ns - self._began_ns < shown_ns:  # before the fall could show: a moment's stop
            self.limit_bps, self._knee_bps, self._trouble_ns = before_bps, 0.0, self._now_ns - self._hold_ns
            self.why = f"{path.name} stood still for a moment: back to {mbit(before_bps)}"
            return
        if self._wire_bps < NOTHING_BPS:
            self._knee_bps = 2 * before_bps
            short = self._trouble_ns - self._began_ns < SHORT_NS and self._began_ns - self._returned_ns > SHORT_NS
            back_bps, self._returned_ns = before_bps * (KEEP if short else 0.25), self._now_ns
        else:
            back_bps = KEEP * min(self._knee_bps, before_bps)
        if back_bps > self.limit_bps:
            self.limit_bps, self.why = back_bps, f"{path.name} is free again: back to {mbit(back_bps)}"

    def _climb(self, path: Path, since_ns: int) -> None:
        if self._now_ns - self._trouble_ns > self._hold_ns * (1 + CAUTION):
            self._knee_bps, self._hold_ns = 0.0, HOLD_NS
        if self.limit_bps >= self.ceiling_bps:
            self.why = ""
            return
        speed, knee = QUICK, self._knee_bps
        if knee:
            speed = DOUBLE if self.limit_bps < knee / 2 else SLOW if NEAR * knee < self.limit_bps < BEYOND * knee else QUICK
        carries_bps = self._video(path, min(self._carried_bps, self._sent_bps))
        self.limit_bps = max(self.limit_bps * math.exp(speed * since_ns / S), min(carries_bps, self.limit_bps * 2))
        self.why = f"{path.name} carries it well: up to {mbit(self.limit_bps)}"
