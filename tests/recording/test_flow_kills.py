"""The flow worker is killed while it is recorded: the recorder stays, and what it writes goes on."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from typing import Any

from firmware.places import Places

from .test_recorder import Show, segments, show
from .test_segments import pictures_in

__all__ = ["show"]  # a fixture
KILLS = 4


def test_a_flow_worker_that_is_killed_leaves_its_recorder_alone(
    show: Callable[..., Show], places: Places, wait_for: Callable[..., Any]
) -> None:
    live, chance = show(segment_s=3600), random.Random(4)
    recorder = wait_for(lambda: (s := live.status()) and s.segment and s, what="a segment is written")
    for _ in range(KILLS):
        more = live.status().bytes + chance.randrange(100_000, 300_000)
        wait_for(lambda: (s := live.status()) and s.bytes > more, what="it grows", timeout_s=30)  # noqa: B023
        worker = wait_for(live.flow, what="a flow worker")
        os.kill(worker.pid, signal.SIGKILL)
        wait_for(lambda: (f := live.flow()) and f.pid != worker.pid, what="another flow worker", timeout_s=30)  # noqa: B023
    more = live.status().bytes + 200_000
    last = wait_for(lambda: (s := live.status()) and s.bytes > more and s, what="it goes on", timeout_s=30)
    assert last.pid == recorder.pid
    assert [path.name for path in segments(places.recordings)] == [last.segment]
    assert pictures_in(places.recordings / last.segment) > 30 * KILLS
