"""A film as a camera: any file that FFmpeg's libraries open, in real time, looped.

Picture and sound are read through two openings of the file, so that neither waits for the other however the file
interleaves them. Both are laid on one line of time that starts at 0 and has no jump:

    picture  |---- first pass ----|---- second pass ----|--
    sound    |-------------- ~~~~~|-------------- ~~~~~~|--     ~ silence, or cut where the sound is longer

A pass ends where its last picture ends. When pictures had to be left out, because the process was stopped, the film
waits; it does not skip.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from hw.camera import ALLOWED, CameraError
from hw.camera.pace import FrameClock
from hw.fit import Fit
from hw.frame import SAMPLE_RATE_HZ, SOUND_LEAD_SAMPLES, Frame, Sound, samples_at

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame

LARGEST_GAP_S = 1.0  # in the file's own times; beyond it they jumped, and the film goes on without the jump
SAMPLE_BYTES = 4


class Clip:
    def __init__(self, path: str, width: int, height: int, fps: int) -> None:
        self.name = f"clip {os.path.basename(path)}"
        self.fps = float(fps)
        self._film = Film(path)
        self._fit = Fit(width, height)
        self._source: VideoFrame | None = None
        self._fitted: VideoFrame | None = None  # the film is slower than we are: the same picture again
        self._track = Track(path, self._film)
        self._shown = self._heard = 0  # pictures and samples of the film so far
        self._last = -1
        self._clock = FrameClock(fps)

    def read(self) -> Frame:
        clock = self._clock
        picture = self._picture(self._film.at(self._shown / clock.fps))
        number = clock.next_number()
        sound = self._sound(number, number - self._last - 1)
        self._shown, self._last = self._shown + 1, number
        return Frame(number, picture, clock.wait(number), [sound])

    def close(self) -> None:
        self._film.close()
        self._track.close()

    def _picture(self, source: VideoFrame) -> VideoFrame:
        if self._fitted is None or source is not self._source:
            self._source, self._fitted = source, self._fit(source, self._film.pixel_aspect)
        return self._fitted

    def _sound(self, number: int, missing: int) -> Sound:
        """Silence for the pictures that are missing, then what follows in the film."""
        first, end = self._clock.sound_span(number)
        nothing = min(missing * SAMPLE_RATE_HZ // self._clock.fps, SOUND_LEAD_SAMPLES)
        self._heard += end - first - nothing
        self._film.reach(self._heard / SAMPLE_RATE_HZ)
        left, right = self._track.take(self._heard)
        silence = bytes(nothing * SAMPLE_BYTES)
        return Sound(samples_at(self._clock.start_ns) + first, silence + left, silence + right)


class Reader:
    """One stream of a file, decoded, pass after pass. Damaged packets are left out."""

    def __init__(self, path: str, kind: Literal["video", "audio"]) -> None:
        import av

        self._error: type[Exception] = av.FFmpegError
        self._path, self._kind = path, kind
        try:
            self._open()
        except av.FFmpegError as error:
            raise CameraError(f"camera `clip:{path}` cannot be read: {error.strerror}; {ALLOWED}") from None
        self._fresh = True

    def frames(self) -> Iterator[Any]:
        """One pass, from the start of the file."""
        try:
            self._rewind()
            for packet in self._container.demux(self.stream):
                yield from self._decoded(packet)
        except self._error:
            return  # the file is cut off here; what came so far is the pass

    def _open(self) -> None:
        import av

        self._container = av.open(self._path)
        streams: Any = self._container.streams.video if self._kind == "video" else self._container.streams.audio
        covers = (stream.disposition & stream.disposition.attached_pic for stream in streams)
        self.stream: Any = next((stream for stream, cover in zip(streams, covers, strict=True) if not cover), None)
        if self._kind == "video" and self.stream is not None:
            self.stream.thread_type = "AUTO"

    def _rewind(self) -> None:
        if self._fresh:
            self._fresh = False
            return
        try:
            self._container.seek(self._container.start_time or 0)
        except self._error:  # a bare stream, without times to look for
            self._container.close()
            self._open()

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except self._error:
            return []

    def close(self) -> None:
        self._container.close()


class Film(Reader):
    """The pictures."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "video")
        if self.stream is None:
            raise CameraError(f"camera `clip:{path}` has no video; {ALLOWED}, where FILE is a film with a picture")
        self.pixel_aspect = float(self.stream.codec_context.sample_aspect_ratio or 1) or 1.0
        self.rate = float(self.stream.average_rate or self.stream.guessed_rate or 25)  # pictures a second, as the file says
        self._step_s = 1 / self.rate
        self.starts_s = 0.0  # the first picture, in the file's own time
        self.ends_s: deque[float] = deque()  # of the passes that the sound has not ended yet
        self._coming = self._timeline()
        self._waiting = deque([next(self._coming)])

    def at(self, time_s: float) -> VideoFrame:
        """The picture that is to be seen then. Times must not go back."""
        time_s += self._step_s / 100  # times are rounded; a picture that is due now counts
        self.reach(time_s)
        while len(self._waiting) > 1 and self._waiting[1][0] <= time_s:
            self._waiting.popleft()
        return self._waiting[0][1]

    def reach(self, time_s: float) -> None:
        """Decode until pictures beyond that time are there, so that it is known whether the pass ends before."""
        while self._waiting[-1][0] <= time_s:
            self._waiting.append(next(self._coming))

    def _timeline(self) -> Iterator[tuple[float, VideoFrame]]:
        base_s = 0.0
        while True:
            at_s, before_s = base_s - self._step_s, None
            for picture in self.frames():
                file_s = picture.time
                gap_s = file_s - before_s if None not in (file_s, before_s) else self._step_s
                if before_s is None and file_s is not None:
                    self.starts_s = file_s
                at_s += gap_s if 0 < gap_s <= LARGEST_GAP_S else self._step_s
                before_s = file_s
                yield at_s, picture
            if at_s < base_s:
                raise CameraError(f"camera `clip:{self._path}`: none of its pictures can be decoded; {ALLOWED}")
            base_s = at_s + self._step_s
            self.ends_s.append(base_s)


class Track(Reader):
    """The sound, 48 kHz stereo; silence where the file has none."""

    def __init__(self, path: str, film: Film) -> None:
        super().__init__(path, "audio")
        self._film = film
        self._left, self._right = bytearray(), bytearray()
        self._at = 0  # the sample on the line of time that follows what waits in `_left` and `_right`
        self._pass_at = 0  # where the pass started
        self._coming = self._blocks()
        self._next: tuple[int, AudioFrame] | None = None  # a block and where it belongs

    def take(self, end: int) -> tuple[bytes, bytes]:
        """All samples before `end` that were not taken yet, left and right."""
        while True:
            self._start_pass()
            if self._at >= end:
                break
            self._add(end)
        rest = (self._at - end) * SAMPLE_BYTES
        taken = bytes(self._left[: len(self._left) - rest]), bytes(self._right[: len(self._right) - rest])
        del self._left[: len(taken[0])], self._right[: len(taken[1])]
        return taken

    def _add(self, end: int) -> None:
        if self._next is None:
            self._next = next(self._coming, None)
        belongs = self._next[0] if self._next else end
        if belongs > self._at:
            self._silence(min(belongs, end))
        elif self._next:
            self._append(self._at - belongs, self._next[1])
            self._next = None

    def _start_pass(self) -> None:
        """Where the film's pass has ended: drop what is left of its sound and start over."""
        if not self._film.ends_s or self._at < (start := round(self._film.ends_s[0] * SAMPLE_RATE_HZ)):
            return
        self._film.ends_s.popleft()
        too_much = (self._at - start) * SAMPLE_BYTES
        for samples in (self._left, self._right):
            del samples[len(samples) - too_much :]
        self._at = self._pass_at = start
        self._coming, self._next = self._blocks(), None

    def _silence(self, end: int) -> None:
        nothing = bytes((end - self._at) * SAMPLE_BYTES)
        self._left += nothing
        self._right += nothing
        self._at = end

    def _append(self, late: int, block: AudioFrame) -> None:
        """Without the first `late` samples, whose time is over."""
        for samples, plane in zip((self._left, self._right), block.planes, strict=True):
            samples += memoryview(plane)[late * SAMPLE_BYTES : block.samples * SAMPLE_BYTES]
        self._at += max(0, block.samples - late)

    def _blocks(self) -> Iterator[tuple[int, AudioFrame]]:
        """One pass of sound, and the place of each block on the line of time."""
        if self.stream is None:
            return
        belongs, jumped = self._pass_at, 0
        for number, block in enumerate(self._resampled()):
            file_s = block.time - self._film.starts_s if block.time is not None else None
            exact = self._pass_at + round(file_s * SAMPLE_RATE_HZ) - jumped if file_s is not None else belongs
            if number and abs(exact - belongs) > LARGEST_GAP_S * SAMPLE_RATE_HZ:
                jumped += exact - belongs
                exact = belongs
            if not number or abs(exact - belongs) > SAMPLE_RATE_HZ // 50:
                belongs = exact
            yield belongs, block
            belongs += block.samples

    def _resampled(self) -> Iterator[AudioFrame]:
        from av import AudioResampler

        resampler, shape = None, None
        for block in self.frames():
            if resampler is None or shape != (block.format.name, block.layout.name, block.sample_rate):
                shape = (block.format.name, block.layout.name, block.sample_rate)
                resampler = AudioResampler("fltp", "stereo", SAMPLE_RATE_HZ)
            yield from resampler.resample(block)
