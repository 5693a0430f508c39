"""Numbers and rate of pictures that bring their own time."""

from __future__ import annotations

from collections import deque

PICTURES = 32  # of which the rate is told
SECOND_NS = 1_000_000_000


class Count:
    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.number = -1
        self._times: deque[int] = deque(maxlen=PICTURES)

    def push(self, capture_ns: int) -> int:
        """The picture's number. It follows the time: what was lost on the way is missing in the numbers."""
        missing = round((capture_ns - self._times[-1]) * self.fps / SECOND_NS) - 1 if self._times else 0
        self.number += 1 + max(0, missing)
        self._times.append(capture_ns)
        span_ns = capture_ns - self._times[0]
        if len(self._times) == PICTURES and span_ns > 0:
            self.fps = round((PICTURES - 1) * SECOND_NS / span_ns, 2)
        return self.number
