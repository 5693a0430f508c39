"""How loud sound is: peak and RMS of each channel, and whether it is silence or clips."""

from __future__ import annotations

import math
from array import array
from operator import mul
from typing import Literal

from hw.frame import SAMPLE_RATE_HZ, Sound

FLOOR_DB = -96.0  # told of anything softer
WINDOW = SAMPLE_RATE_HZ // 2
RMS_STEP = 13  # so many samples tell the power as well as all; a prime, in step with no tone
SILENT_DB, SILENT_S = -60.0, 10
FULL = 0.999  # of full scale
CLIPPED_S = 5  # it is said for so long


class Levels:
    """`push` what goes out; the rest is read at any time."""

    def __init__(self) -> None:
        self.peak_db = [FLOOR_DB, FLOOR_DB]  # of the last half second: left, right
        self.rms_db = [FLOOR_DB, FLOOR_DB]
        self._peaks, self._powers = [0.0, 0.0], [0.0, 0.0]
        self._samples = 0  # of the window so far
        self._silent = 0  # samples, running
        self._clipped: int | None = None  # samples since it did

    def push(self, sound: Sound) -> None:
        count = len(sound.left) // 4
        loudest = 0.0
        for channel, plane in enumerate((sound.left, sound.right)):
            if not plane.strip(b"\0"):
                continue
            samples = array("f", plane)
            peak = max(max(samples), -min(samples))
            part = samples[::RMS_STEP]
            self._powers[channel] += sum(map(mul, part, part)) * RMS_STEP
            self._peaks[channel] = max(self._peaks[channel], peak)
            loudest = max(loudest, peak)
        self._silent = 0 if _db(loudest) > SILENT_DB else self._silent + count
        if loudest >= FULL:
            self._clipped = 0
        elif self._clipped is not None:
            self._clipped += count
        self._samples += count
        if self._samples >= WINDOW:
            self.peak_db = [_db(peak) for peak in self._peaks]
            self.rms_db = [_db(math.sqrt(power / self._samples)) for power in self._powers]
            self._peaks, self._powers, self._samples = [0.0, 0.0], [0.0, 0.0], 0

    @property
    def verdict(self) -> Literal["heard", "silent"]:
        """Silent: nothing above -60 dBFS for ten seconds."""
        return "silent" if self._silent >= SILENT_S * SAMPLE_RATE_HZ else "heard"

    @property
    def clipping(self) -> bool:
        """It reached full scale within the last five seconds."""
        return self._clipped is not None and self._clipped < CLIPPED_S * SAMPLE_RATE_HZ


def _db(level: float) -> float:
    return max(FLOOR_DB, round(20 * math.log10(level), 1)) if level > 0 else FLOOR_DB
