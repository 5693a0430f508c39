"""AAC-LC, 48 kHz stereo."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from hw.frame import SAMPLE_RATE_HZ, AccessUnit, Sound

if TYPE_CHECKING:
    from av import AudioFrame

BLOCK = 1024
SAMPLE = Fraction(1, SAMPLE_RATE_HZ)


class Aac:
    """Cuts sound into blocks of 1024 samples and encodes them. Time follows the samples; a gap is left out, not filled.

    The encoder keeps two blocks to itself. Behind a gap they would come out of their time, so it begins anew there.
    """

    name = "aac"

    def __init__(self, bitrate_bps: int) -> None:
        import av

        self._new_frame, self._new_context = av.AudioFrame, av.CodecContext.create
        self._bitrate_bps = bitrate_bps
        self._open()
        self._left, self._right = bytearray(), bytearray()
        self._first = 0  # index of the first sample that waits

    def _open(self) -> None:
        self._context = self._new_context("aac", "w")
        self._context.sample_rate, self._context.layout, self._context.format = SAMPLE_RATE_HZ, "stereo", "fltp"
        self._context.bit_rate, self._context.time_base = self._bitrate_bps, SAMPLE
        self._context.open()

    @property
    def extradata(self) -> bytes:
        """The AudioSpecificConfig, ISO 14496-3 section 1.6."""
        return self._context.extradata or b""

    def encode(self, sound: Sound) -> list[AccessUnit]:
        if sound.first != self._first + len(self._left) // 4:
            if self._first:
                self._open()
            self._left.clear()
            self._right.clear()
            self._first = sound.first
        self._left += sound.left
        self._right += sound.right
        units = []
        while len(self._left) >= BLOCK * 4:
            units += [AccessUnit(packet, (packet.pts or 0) * 15 // 8) for packet in self._context.encode(self._block())]
        return units

    def _block(self) -> AudioFrame:
        frame = self._new_frame(format="fltp", layout="stereo", samples=BLOCK)
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE_HZ, SAMPLE, self._first
        for plane, samples in zip(frame.planes, (self._left, self._right), strict=True):
            memoryview(plane)[: BLOCK * 4] = samples[: BLOCK * 4]
            del samples[: BLOCK * 4]
        self._first += BLOCK
        return frame
