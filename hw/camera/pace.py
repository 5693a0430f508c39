"""When the next picture is due, for cameras that have no clock of their own."""

from __future__ import annotations

import time

from hw.frame import SAMPLE_RATE_HZ, SOUND_LEAD_SAMPLES

SECOND_NS = 1_000_000_000
LATE_FRAMES = 2


class FrameClock:
    """Picture n is due n / fps seconds after the first: no drift, and what is later than two pictures is left out."""

    def __init__(self, fps: int) -> None:
        self.fps = fps
        self.start_ns = 0
        self._number = -1
        self._sound_end = 0

    def due_ns(self, number: int) -> int:
        return self.start_ns + number * SECOND_NS // self.fps

    def next_number(self) -> int:
        if self._number < 0:
            self.start_ns = time.monotonic_ns()
        newest = (time.monotonic_ns() - self.start_ns) * self.fps // SECOND_NS
        self._number += 1
        if newest - self._number >= LATE_FRAMES:
            self._number = newest
        return self._number

    def sound_span(self, number: int) -> tuple[int, int]:
        """First sample and end, from the start, of the sound of that picture: what follows the last one's, ahead by the lead.

        After a jump it starts at the picture, so that the lead is there again at once.
        """
        first = max(self._sound_end, number * SAMPLE_RATE_HZ // self.fps)
        self._sound_end = (number + 1) * SAMPLE_RATE_HZ // self.fps + SOUND_LEAD_SAMPLES
        return first, self._sound_end

    def wait(self, number: int) -> int:
        """Sleep until picture `number` is due; returns that time."""
        due_ns = self.due_ns(number)
        left_ns = due_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / SECOND_NS)
        return due_ns
