"""The sample clock of a sound device, told on CLOCK_MONOTONIC: when was sample n?

A device has a quartz of its own, up to 200 ppm off: 17 s a day. All that is known of it are pairs (samples so far, time at which that
was seen), and the times are late by what the machine was busy with, never early:

    at       .  late      .                                  A block is a second. Of each one the least late pair counts, so a busy
     |    . .    .    .  . .   <- least late of its block    machine moves nothing as long as one pair of a second was on time.
     |  .__.______.__.__.___  line: median of the slopes     The line lies through the last 64 of them: slope is the median over
     +------------------------ position                      pairs half a window apart, offset the median of what is left.

A pair that is more than `JUMP_NS` off the line puts the line in doubt: was it the machine, or did the device lose samples, sleep,
leap? A driver that stamps its own interrupts is believed after a tenth of a second. Where only the time of the reading is known,
the machine is the likelier cause, and only what stays equally late for a second is the device. Early it can only be the device.
Then a new line begins, with the old slope.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SECOND_NS = 1_000_000_000
WINDOW = 64  # blocks
SLOPE_AFTER = 10  # blocks until the slope is taken from them
TELL_AFTER = 20  # and until it is told
SETTLE = 5  # pairs before there is a line
JUMP_NS = 10_000_000
EARLY_PAIRS = 3
STAMPED_DOUBT_NS, STAMPED_PAIRS = 100_000_000, 4  # all late for so long, and the device it was
READ_DOUBT_NS, READ_PAIRS, EQUALLY_NS = 1_000_000_000, 8, 5_000_000
HOLD_NS = 50_000_000  # beyond it doubt about reads is no reason to wait
LARGEST_PPM = 1_000.0  # no quartz; what seems more is noise


class DeviceClock:
    """`push` pairs, ask `time_of` any position while it is `sure`."""

    def __init__(self, rate_hz: int, *, stamped: bool = False) -> None:
        """`stamped`: times are those of the driver's interrupts, not of the reading."""
        self.sure = False
        self.jumps = 0
        self.ppm: float | None = None  # the device's samples come so much faster than its rate says
        self._rate_hz, self._stamped = rate_hz, stamped
        self._nominal = self._step = SECOND_NS / rate_hz  # ns a sample
        self.restart()

    def restart(self) -> None:
        """Positions do not go on from those before: an overrun. The slope stays."""
        self.sure = self._has_line = False
        self._position, self._at_ns = 0, 0.0  # a point of the line
        self._unsure: deque[tuple[int, int]] = deque()  # pairs since there is no line, or doubt in it
        self._doubt_ns = 0  # when that began
        self._blocks: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self._best: tuple[int, int] | None = None
        self._block_end = 0

    def push(self, position: int, at_ns: int) -> bool:
        """`position` samples had come at `at_ns`. True when the device leapt: a new line begins at the last time it was `sure`."""
        late_ns = at_ns - self._line(position)
        if self._has_line and abs(late_ns) <= JUMP_NS:
            self._unsure.clear()
            self.sure = True
            self._take(position, at_ns, late_ns)
            return False
        if not self._unsure:
            self._doubt_ns = at_ns
        self._unsure.append((position, at_ns))
        if self._has_leapt() if self._has_line else len(self._unsure) >= SETTLE:
            return self._begin()
        self.sure = self._has_line and not self._stamped and at_ns - self._doubt_ns > HOLD_NS
        return False

    def time_of(self, position: int) -> int:
        return round(self._line(position))

    def _line(self, position: int) -> float:
        return self._at_ns + (position - self._position) * self._step

    def _has_leapt(self) -> bool:
        late = [at_ns - self._line(position) for position, at_ns in self._unsure]
        if len(late) >= EARLY_PAIRS and max(late[-EARLY_PAIRS:]) < 0:
            return True
        long_ns = self._unsure[-1][1] - self._unsure[0][1]
        if self._stamped:
            return min(late) > 0 and len(late) >= STAMPED_PAIRS and long_ns >= STAMPED_DOUBT_NS
        if long_ns < READ_DOUBT_NS or len(late) < READ_PAIRS:
            return False
        self._unsure.popleft()
        half = len(late) // 2
        return min(late) > 0 and abs(min(late[:half]) - min(late[half:])) < EQUALLY_NS

    def _begin(self) -> bool:
        """A line of the slope known so far, through the least late of the pairs at hand."""
        leapt, pairs = self._has_line, self._unsure
        self.restart()
        self._position, self._at_ns = min(pairs, key=lambda pair: pair[1] - pair[0] * self._step)
        self._block_end = pairs[-1][0] + self._rate_hz
        self._has_line = self.sure = True
        self.jumps += leapt
        return leapt

    def _take(self, position: int, at_ns: int, late_ns: float) -> None:
        if self._best is None or late_ns < self._best[1] - self._line(self._best[0]):
            self._best = position, at_ns
        if position >= self._block_end:
            self._blocks.append(self._best)
            self._best, self._block_end = None, position + self._rate_hz
            self._fit()

    def _fit(self) -> None:
        blocks = list(self._blocks)
        if len(blocks) >= SLOPE_AFTER:
            half = len(blocks) // 2
            steps = ((b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(blocks, blocks[half:], strict=False))
            most = LARGEST_PPM * 1e-6 * self._nominal
            self._step = min(max(median(steps), self._nominal - most), self._nominal + most)
        if len(blocks) >= TELL_AFTER:
            self.ppm = (self._nominal / self._step - 1) * 1e6
        position = blocks[-1][0]
        self._at_ns = blocks[-1][1] + median(at_ns - blocks[-1][1] - (there - position) * self._step for there, at_ns in blocks)
        self._position = position
