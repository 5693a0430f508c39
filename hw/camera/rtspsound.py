"""The sound of a network camera: decoded, made 48 kHz stereo, on the same line of time as its picture."""

from __future__ import annotations

from typing import Any

from hw.frame import Sound
from hw.soundline import Chunk, Stretch
from hw.timeline import Timeline

NEAR_NS = 1_000_000_000  # of its arrival; farther off, sound and picture carry times of different clocks
SEAM_NS = 100_000_000  # what is so far from where the last block ended does not belong to it
SAMPLE_BYTES = 2  # of what the stretching takes


class CameraSound:
    def __init__(self, stream: Any) -> None:
        from av import AudioResampler, FFmpegError

        self._error = FFmpegError
        self._stream = stream
        self._new_resampler = AudioResampler
        self._shape: tuple[object, ...] = ()
        self._resampler: Any = None
        self._stretch: Stretch | None = None
        self._own = Timeline()
        self._due_ns = self._count = 0

    def take(self, packet: Any, offset_ns: int | None, arrived_ns: int) -> list[Sound]:
        """`offset_ns` is that of the pictures' times. Damaged blocks are left out."""
        try:
            blocks = [block for frame in packet.decode() for block in self._stereo(frame)]
        except self._error:
            return []
        began_ns = self._began(packet, offset_ns, arrived_ns)
        sounds = []
        for block in blocks:
            sounds += self._laid(block, began_ns)
            began_ns += block.samples * 1_000_000_000 // block.sample_rate
        return sounds

    def _began(self, packet: Any, offset_ns: int | None, arrived_ns: int) -> int:
        if packet.pts is None:
            return self._due_ns or arrived_ns
        carried_ns = int(packet.pts * packet.time_base * 1_000_000_000)
        own_ns = self._own.push(carried_ns, arrived_ns)
        if offset_ns is not None and abs(carried_ns + offset_ns - arrived_ns) < NEAR_NS:
            return carried_ns + offset_ns
        return own_ns

    def _stereo(self, frame: Any) -> list[Any]:
        shape = frame.format.name, frame.layout.name, frame.sample_rate
        if shape != self._shape:
            self._shape, self._stretch = shape, None
            self._resampler = self._new_resampler("s16p", "stereo", frame.sample_rate)
        frame.pts = None
        return list(self._resampler.resample(frame))

    def _laid(self, block: Any, began_ns: int) -> list[Sound]:
        ready: list[tuple[int, bytes, bytes]] = []
        if self._stretch is not None and abs(began_ns - self._due_ns) > SEAM_NS:
            ready += self._stretch.flush()
            self._stretch = None
        if self._stretch is None:
            self._stretch, self._count = Stretch(block.sample_rate, SAMPLE_BYTES), 0
        left, right = (bytes(plane)[: block.samples * SAMPLE_BYTES] for plane in block.planes)
        chunk = Chunk(self._count, block.samples, left, right, began_ns)
        self._count += block.samples
        self._due_ns = began_ns + block.samples * 1_000_000_000 // block.sample_rate
        ready += self._stretch.feed(chunk, began_ns)
        return [Sound(*piece) for piece in ready]
