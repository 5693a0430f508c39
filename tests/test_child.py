"""Worker processes: started again when they end, ended when they hang, never waited for."""

from __future__ import annotations

import os
import signal
import time

import pytest

from firmware.child import Child

MODULE = "json.tool"  # reads its input to the end, then writes and ends: enough of a worker for these tests


@pytest.fixture
def child():
    made = Child("tester", MODULE, lambda: b"{}")
    made.keep(time.monotonic_ns())
    yield made
    made.stop()


def test_it_is_started_again_when_it_dies(child, wait_for):
    first = child.process.pid
    os.kill(first, signal.SIGKILL)

    def replaced() -> bool:
        child.keep(time.monotonic_ns())
        return child.process is not None and child.process.pid != first

    wait_for(replaced, what="another process")
    assert child.starts == 2


def test_quick_ends_are_waited_out_longer_and_longer(child, wait_for):
    now_ns = child.started_ns
    waits = []
    for _ in range(4):
        child.process.kill()
        child.process.wait()
        child.keep(now_ns)
        began_ns = now_ns
        while child.process is None:
            now_ns += 10_000_000
            child.keep(now_ns)
        waits.append((now_ns - began_ns) / 1e9)
    assert waits == sorted(waits)
    assert waits[0] < 0.3
    assert waits[-1] > 1


def test_a_worker_that_reads_no_orders_is_ended_not_waited_for(child, wait_for):
    os.kill(child.process.pid, signal.SIGSTOP)
    process = child.process
    for _ in range(100):
        child.tell(b"x" * 4000)
    wait_for(lambda: process.poll() is not None, what="its end")


def test_a_stop_ends_it_by_the_end_of_its_input(child):
    process = child.process
    child.stop()
    assert process.returncode == 0
    assert not child.running
