"""Sound of a device, laid on the grid of CLOCK_MONOTONIC without a seam.

    chunks of the device --push--> DeviceClock: when was it? --> aresample --> contiguous samples --take-->
                                     in doubt: they wait            gaps become silence

Each chunk is told to FFmpeg's `aresample` with the time at which it began. Its `async` mode is made for that, but as it comes it
corrects in steps of a millisecond, which a tone shows. With `min_comp=0` it corrects all the time and in proportion: what is a
millisecond late is caught up at 1000 ppm, so 200 ppm of drift are followed 0.2 ms behind; `comp_duration` gives it fine steps.
`flags=res` keeps its filter on from the first sample: to put it in later costs 17 samples. Measured in tests/hw/test_drift_sound.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hw.drift import DeviceClock
from hw.frame import SAMPLE_RATE_HZ, Sound, samples_at

LAG_MS = 150  # sound that is later is silence: beyond it a receiver would get it after it is due
LAG_SAMPLES = LAG_MS * SAMPLE_RATE_HZ // 1000
LONGEST_FILL = 2 * SAMPLE_RATE_HZ  # a longer gap is left open
FASTEST = 0.001  # of correction, as a part of the rate: less than two hundredths of a semitone
OPTIONS = f"async=1000:min_comp=0:comp_duration=10:max_soft_comp={FASTEST}:min_hard_comp=1000:flags=res"
NANOSECOND = Fraction(1, 1_000_000_000)
FILTER_SAMPLES = 16  # half of aresample's filter, which it keeps to itself
SAMPLE_BYTES = 4  # of what comes out


@dataclass(slots=True)
class Chunk:
    """What came at one read: `frames` samples of two planes, integers of 2 or 4 bytes each."""

    position: int  # of the first one since the device began
    frames: int
    left: bytes
    right: bytes
    at_ns: int  # when `position` + `frames` samples had come
    broken: bool = False  # the device began anew before it; positions start again


class SoundLine:
    def __init__(self, rate_hz: int, sample_bytes: int, first: int | None = None, *, stamped: bool = False) -> None:
        """`first` is the index at which what comes out begins; None: where the device's sound does."""
        self.clock = DeviceClock(rate_hz, stamped=stamped)
        self.filled = self.cut = 0  # samples of silence put in, samples that came too late or twice
        self.offset_ms = 0.0  # how far the resampler is behind the clock's line
        self._rate_hz, self._sample_bytes = rate_hz, sample_bytes
        self._waiting: list[Chunk] = []
        self._stretch: Stretch | None = None
        self._next_position = 0
        self._end = first  # of what has come out
        self._left, self._right = bytearray(), bytearray()

    def push(self, chunk: Chunk) -> None:
        if chunk.broken:
            self._finish()
            self._waiting.clear()
            self.clock.restart()
        if self.clock.push(chunk.position + chunk.frames, chunk.at_ns):
            self._finish()
        self._waiting.append(chunk)
        if self.clock.sure:
            for waiting in self._waiting:
                self._resample(waiting)
            self._waiting.clear()
        elif len(self._waiting) > 1 and chunk.at_ns - self._waiting[0].at_ns > 1_000_000_000:
            del self._waiting[0]

    def take(self, now_ns: int) -> list[Sound]:
        """All there is: one piece, or none. Where the device is silent for longer than `LAG_MS`, so is this."""
        if self._end is not None:
            missing = samples_at(now_ns) - LAG_SAMPLES - self._end
            if missing > 0:
                self._fill(missing)
        if self._end is None or not self._left:
            return []
        left, right = bytes(self._left), bytes(self._right)
        self._left.clear()
        self._right.clear()
        return [Sound(self._end - len(left) // SAMPLE_BYTES, left, right)]

    def _resample(self, chunk: Chunk) -> None:
        if chunk.position != self._next_position:
            self._finish()
        self._next_position = chunk.position + chunk.frames
        if self._stretch is None:
            self._stretch = Stretch(self._rate_hz, self._sample_bytes)
        for first, left, right in self._stretch.feed(chunk, self.clock.time_of(chunk.position)):
            self._put(first, left, right)
        self.offset_ms = self._stretch.behind_ms(self.clock.time_of(self._next_position))

    def _finish(self) -> None:
        if self._stretch is not None:
            for first, left, right in self._stretch.flush():
                self._put(first, left, right)
            self._stretch = None

    def _put(self, first: int, left: bytes, right: bytes) -> None:
        if self._end is None:
            self._end = first
        gap = first - self._end
        if gap > 0:
            self._fill(gap)
        surplus = max(0, -gap)
        self.cut += min(surplus, len(left) // SAMPLE_BYTES)
        self._left += left[surplus * SAMPLE_BYTES :]
        self._right += right[surplus * SAMPLE_BYTES :]
        self._end += max(0, len(left) // SAMPLE_BYTES - surplus)

    def _fill(self, count: int) -> None:
        if count > LONGEST_FILL:
            self._left.clear()  # what nobody took for seconds
            self._right.clear()
        else:
            self._left += bytes(count * SAMPLE_BYTES)
            self._right += bytes(count * SAMPLE_BYTES)
        self.filled += count
        self._end = (self._end or 0) + count


class Stretch:
    """Sound without a gap, resampled so that it follows the times it is fed with."""

    def __init__(self, rate_hz: int, sample_bytes: int) -> None:
        import av

        self._new_frame = av.AudioFrame
        self._empty: tuple[type[Exception], ...] = (av.BlockingIOError, av.EOFError)
        self._rate_hz = rate_hz
        self._format = "s16p" if sample_bytes == 2 else "s32p"
        self._keeps = FILTER_SAMPLES * max(1.0, SAMPLE_RATE_HZ / rate_hz)
        self._end = 0
        graph: Any = av.filter.Graph()
        self._source = graph.add_abuffer(sample_rate=rate_hz, format=self._format, layout="stereo", time_base=NANOSECOND)
        resampler = graph.add("aresample", OPTIONS)
        shape = graph.add("aformat", f"sample_fmts=fltp:sample_rates={SAMPLE_RATE_HZ}:channel_layouts=stereo")
        self._sink = graph.add("abuffersink")
        for one, other in ((self._source, resampler), (resampler, shape), (shape, self._sink)):
            one.link_to(other)
        graph.configure()
        self._graph = graph

    def feed(self, chunk: Chunk, began_ns: int) -> Iterator[tuple[int, bytes, bytes]]:
        """What is ready: index of the first sample, left, right."""
        frame = self._new_frame(format=self._format, layout="stereo", samples=chunk.frames)
        for plane, samples in zip(frame.planes, (chunk.left, chunk.right), strict=True):
            memoryview(plane)[: len(samples)] = samples
        frame.sample_rate, frame.time_base, frame.pts = self._rate_hz, NANOSECOND, began_ns
        self._source.push(frame)
        return self._ready()

    def flush(self) -> Iterator[tuple[int, bytes, bytes]]:
        self._source.push(None)
        return self._ready()

    def behind_ms(self, fed_until_ns: int) -> float:
        return (fed_until_ns * SAMPLE_RATE_HZ / 1e9 - self._end - self._keeps) * 1000 / SAMPLE_RATE_HZ

    def _ready(self) -> Iterator[tuple[int, bytes, bytes]]:
        while True:
            try:
                frame = self._sink.pull()
            except self._empty:
                return
            size = frame.samples * SAMPLE_BYTES
            left, right = (bytes(plane)[:size] for plane in frame.planes)
            self._end = frame.pts + frame.samples
            yield frame.pts, left, right
