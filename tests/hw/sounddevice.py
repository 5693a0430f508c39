"""A made-up sound device and the machine that reads it: a clock that is off, reads that come late, things that go wrong.

Each true second has one click, so that what comes out of a `SoundLine` tells its own error.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from hw.frame import SAMPLE_RATE_HZ, Sound
from hw.soundline import FILTER_SAMPLES, Chunk, SoundLine

SECOND_NS = 1_000_000_000
CLICK = (16_000).to_bytes(2, "little")


@dataclass
class MadeUp:
    """Reads of `frames` samples. `late_ms(random)` is what the machine adds to each read; events happen at a second, once."""

    ppm: float = 0.0
    rate_hz: int = 48_000
    frames: int = 480
    seed: int = 1
    busy_ms: float = 0.3  # mean of what reads are late by
    stamp_ms: float | None = None  # mean of what the driver's stamps are late by; None: it has none, the reads' times are all
    start_ns: int = 1_000 * SECOND_NS
    wander_ppm: float = 0.0  # the quartz warms up and cools down, over an hour
    losses: dict[int, float] = field(default_factory=dict)  # second: ms that the device leaves out, or gives twice where below 0
    stalls: dict[int, float] = field(default_factory=dict)  # second: s for which the machine stands still
    buffer_ms: int = 500
    ready: float = 0.0  # when the machine is on its feet again

    def chunks(self, seconds: int) -> Iterator[Chunk]:
        chance = random.Random(self.seed)
        true_ns, position, clicked = float(self.start_ns), 0, self.start_ns // SECOND_NS
        broken = False
        while true_ns < self.start_ns + seconds * SECOND_NS:
            hour = (true_ns - self.start_ns) / SECOND_NS % 3600 / 3600
            ppm = self.ppm + self.wander_ppm * (abs(hour - 0.5) * 4 - 1)
            step = SECOND_NS / self.rate_hz / (1 + ppm * 1e-6)
            second = int(true_ns - self.start_ns) // SECOND_NS
            true_ns += self.losses.pop(second, 0.0) * 1e6
            plane = bytes(2 * self.frames)
            end_ns = true_ns + self.frames * step
            if end_ns // SECOND_NS > clicked:
                clicked = int(end_ns // SECOND_NS)
                at = min(self.frames - 1, round((clicked * SECOND_NS - true_ns) / step))
                if at >= 0:  # not in what is lost
                    plane = bytes(2 * at) + CLICK + plane[2 * at + 2 :]
            self.ready = max(self.ready, end_ns + chance.expovariate(1 / self.busy_ms) * 1e6)
            seen_ns = self.ready
            if stall_s := self.stalls.pop(second, 0.0):
                self.ready += stall_s * SECOND_NS
            if seen_ns - end_ns > self.buffer_ms * 1e6:  # an overrun: what waited is lost, and the device begins anew
                true_ns, position, broken = seen_ns, 0, True
                continue
            if self.stamp_ms is not None:
                seen_ns = end_ns + chance.expovariate(1 / self.stamp_ms) * 1e6
            yield Chunk(position, self.frames, plane, plane, round(seen_ns), broken)
            position, true_ns, broken = position + self.frames, end_ns, False


@dataclass
class Heard:
    """What came out: where its clicks are, and whether it is one piece."""

    seams: int = 0
    end: int | None = None
    errors_ms: list[tuple[int, float]] = field(default_factory=list)  # at which second, and how late the click is

    def hear(self, sound: Sound) -> None:
        if self.end is not None and sound.first != self.end:
            self.seams += 1
        self.end = sound.first + len(sound.left) // 4
        if sound.left.count(0) < len(sound.left):
            rest = sound.left.lstrip(b"\0")
            at = sound.first + (len(sound.left) - len(rest)) // 4 + FILTER_SAMPLES
            second = round(at / SAMPLE_RATE_HZ)
            self.errors_ms.append((second, (at - second * SAMPLE_RATE_HZ) * 1000 / SAMPLE_RATE_HZ))


def listen(device: MadeUp, seconds: int, line: SoundLine | None = None, every: int = 4) -> tuple[Heard, SoundLine]:
    """Run it through the real resampler, taken after every `every` reads."""
    line, heard = line or SoundLine(device.rate_hz, 2, stamped=device.stamp_ms is not None), Heard()
    for number, chunk in enumerate(device.chunks(seconds)):
        line.push(chunk)
        if number % every == 0:
            for sound in line.take(round(device.ready)):
                heard.hear(sound)
    return heard, line
