from __future__ import annotations

import time


class JumpingClock:
    """Stands for the `time` module in code that paces: real time, and `jump` lets some of it pass unseen, as when a process is stopped."""

    def __init__(self) -> None:
        self._ahead_ns = 0
        self.sleep = time.sleep

    def jump(self, seconds: float) -> None:
        self._ahead_ns += round(seconds * 1e9)

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + self._ahead_ns
