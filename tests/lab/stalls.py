"""When this machine itself stood still: a loop that lets packets wait so long loses some, and the network had no part in it."""

from __future__ import annotations

import os
import threading
import time
from typing import Self

STEP_S = 0.005
STALL_S = 0.03  # a picture at 30 a second is left out then


class Stalls:
    """A thread on every processor that wants to be woken every few milliseconds, and notes when it was not.

    On every one, because the host of a virtual machine takes its processors away one by one."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float]] = []  # monotonic s at its end, length in s
        self._open = True
        self._threads = [threading.Thread(target=self._run, args=(cpu,), name="stalls", daemon=True) for cpu in os.sched_getaffinity(0)]
        for thread in self._threads:
            thread.start()

    def longest_s(self, since_s: float) -> float:
        return max((length_s for end_s, length_s in self.found if end_s >= since_s), default=0.0)

    def close(self) -> None:
        self._open = False
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})  # of this thread
        before_s = time.monotonic()
        while self._open:
            time.sleep(STEP_S)
            now_s = time.monotonic()
            if now_s - before_s > STALL_S:
                self.found.append((now_s, now_s - before_s))
            before_s = now_s
