"""The watcher as a process, killed between two looks: the same alarm, one notice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from firmware.alarms.board import read_alarms
from firmware.alarms.journal import ALARMS, read
from firmware.alarms.settings import FOLDER
from firmware.child import Child
from firmware.places import Places
from firmware.status import FlowStatus, write_snapshot
from tests.alarms.watching import end


@contextmanager
def snapshots(places: Places, down: threading.Event) -> Iterator[None]:
    """What a flow worker writes, until the end of the block."""
    over, began = threading.Event(), time.time() - 60

    def write() -> None:
        while not over.wait(0.25):
            outputs = [end("wall", "connecting" if down.is_set() else "connected")]
            status = FlowStatus(name="studio", state="ACTIVE", pid=7, started_at=began, at=time.time(), sources=[end("a")], outputs=outputs)
            write_snapshot(places.snapshot("studio"), status)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def watcher(places):
    config = msgspec.json.encode({"run": str(places.run), "state": str(places.state)})
    child = Child("alarms", "firmware.alarms.watcher", lambda: config)
    yield child
    child.stop()


def test_it_goes_on_after_a_kill_with_the_same_alarm(places, watcher, wait_for):
    down = threading.Event()

    def raised() -> list[str]:
        watcher.keep(time.monotonic_ns())
        return [alarm.id for alarm in read_alarms(places).active if alarm.alarm == "output-down"]

    with snapshots(places, down):
        wait_for(lambda: raised() == [] and read_alarms(places).at, what="its first look")
        down.set()
        first = wait_for(raised, what="the alarm", timeout_s=30)
        os.kill(watcher.process.pid, signal.SIGKILL)
        seen = read_alarms(places).at
        wait_for(lambda: raised() and read_alarms(places).at > seen + 2, what="looks of the next one", timeout_s=30)
        assert raised() == first
    assert watcher.starts == 2
    assert [notice.alarm.state for notice in read(places.state / FOLDER, ALARMS) if notice.alarm.alarm == "output-down"] == ["ALARM"]
    process = watcher.process
    watcher.stop()
    assert process.returncode == 0
