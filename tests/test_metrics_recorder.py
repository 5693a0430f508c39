"""The recorder as a process: in real time, and killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from firmware.child import Child
from firmware.metrics.history import History
from firmware.metrics.ring import FOLDER, segments
from firmware.metrics.tail import TAIL
from firmware.status import EndStatus, FlowStatus, write_snapshot

ROOT = Path(__file__).parent.parent
PACKETS = 250  # with each snapshot
NOON = 1_800_000_000

AT_ONCE = """
import sys
from pathlib import Path
from firmware.metrics.recorder import Config, Recorder
from firmware.status import EndStatus, FlowStatus, write_snapshot
run, state, first = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
recorder = Recorder(Config(run=str(run), state=state))
for second in range(first, first + 10_000):
    end = EndStatus(name="path-a", protocol="srt-caller", state="connected", packets=second, rate_bps=second % 97)
    write_snapshot(run / "studio.flow.json", FlowStatus(name="studio", state="ACTIVE", pid=1, at=second, sources=[end]))
    recorder.look(second + 0.5, second * 1_000_000_000)
    print(second, flush=True)
"""


@pytest.fixture
def history(places):
    return History(places.state, places.run)


@contextmanager
def snapshots(path: Path) -> Iterator[None]:
    """What a flow worker writes, until the end of the block."""
    over = threading.Event()

    def write() -> None:
        packets = 0
        while not over.wait(0.25):
            packets += PACKETS
            end = EndStatus(name="path-a", protocol="srt-caller", state="connected", packets=packets, rate_bps=1e7)
            write_snapshot(path, FlowStatus(name="studio", state="ACTIVE", pid=7, at=time.time(), sources=[end]))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def recorder(places):
    config = msgspec.json.encode({"run": str(places.run), "state": str(places.state)})
    child = Child("metrics", "firmware.metrics.recorder", lambda: config)
    yield child
    child.stop()


def packets(history: History) -> dict[int, float]:
    now = time.time()
    return dict(history.read("studio", "path-a", "SourceTotalPackets", now - 300, now + 300, 1, "Sum"))


def test_it_records_by_the_second_and_goes_on_after_a_kill(places, history, recorder, wait_for):
    with snapshots(places.snapshot("studio")):
        recorder.keep(time.monotonic_ns())
        before = wait_for(lambda: len(told := packets(history)) >= 3 and told, what="three seconds")
        os.kill(recorder.process.pid, signal.SIGKILL)
        wait_for(lambda: not recorder.running, what="its end")

        def more() -> dict[int, float] | bool:
            recorder.keep(time.monotonic_ns())
            return len(told := packets(history)) >= len(before) + 3 and told

        after = wait_for(more, timeout_s=30, what="three seconds more")
    assert recorder.starts == 2
    assert before.items() <= after.items()
    assert all(0 < value <= 20 * PACKETS for value in after.values())
    process = recorder.process
    recorder.stop()
    assert process.returncode == 0
    assert not list(places.run.glob(f"*{TAIL}"))
    assert segments(places.state / FOLDER / "studio", "seconds")
    assert after.items() <= packets(history).items()


def test_killed_at_any_moment_it_loses_no_second_that_it_had_told(places, history):
    chance = random.Random(11)
    at, told = NOON, []
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, str(places.run), str(places.state), str(at)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            last = at + chance.randint(1, 300)
            for line in process.stdout:
                told.append(int(line))
                if told[-1] >= last:
                    break
            process.kill()
            told += [int(line) for line in process.stdout]
        at = told[-1] + chance.randint(2, 100)
    points = history.read("studio", "path-a", "SourceBitRate", NOON - 1, at, 1, "Average")
    assert all(value == second % 97 for second, value in points)
    assert set(told) <= {second for second, _ in points}
    assert len(points) <= len(told) + 8  # the one that it was at when it was killed
    assert sum(value for _, value in history.read("studio", "path-a", "SourceBitRate", NOON - 1, at, 1, "SampleCount")) == len(points)


def test_two_never_write_to_one_place(places, recorder, wait_for):
    recorder.keep(time.monotonic_ns())
    wait_for((places.state / FOLDER).exists, what="the first one is up")
    config = msgspec.json.encode({"run": str(places.run), "state": str(places.state)})
    second = subprocess.run([sys.executable, "-m", "firmware.metrics.recorder"], input=config, cwd=ROOT, capture_output=True, check=False)
    assert second.returncode == 1
    assert "another one records to" in second.stderr.decode()
