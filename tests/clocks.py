from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Clock:
    """Stands for the `time` module in cameras that pace themselves: it passes only where they sleep, and where a test says so."""

    def __init__(self) -> None:
        self._now_ns = time.monotonic_ns()

    def monotonic_ns(self) -> int:
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)

    jump = sleep


@contextmanager
def no_waiting() -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr("hw.camera.pace.time", clock)
        yield clock
