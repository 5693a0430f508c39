"""The recorder as it runs on a box: killed, with a full disk, or hanging. The stream must not notice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.service import Service
from firmware.flow.tap import Tap
from firmware.model import parse_flow
from firmware.places import Places
from firmware.status import FlowStatus, RecordingStatus, read_snapshot
from tests.lab.analyse import analyse
from tests.lab.programs import Program, pressbox
from tests.lab.recorder import Recorder

from .test_segments import pictures_in

WaitFor = Callable[..., Any]
CAMERA = {"protocol": "camera", "name": "camera", "width": 320, "height": 180, "video_bps": 800_000, "preset": "ultrafast", "gop_ms": 500}


class Show:
    """A box that records what it sends, and the far end of what it sends."""

    def __init__(self, places: Places, **recording: object) -> None:
        self.places = places
        self.got = Recorder()
        output = {"protocol": "udp", "name": "out", "host": "127.0.0.1", "port": self.got.port}
        flow = {"name": "show", "sources": [CAMERA], "outputs": [output], "recording": recording}
        Service(places).create(parse_flow(flow), start=True)
        self.box = Program.pressbox(places, "run", "--no-web")

    def status(self) -> RecordingStatus | None:
        return read_snapshot(self.places.recording_snapshot("show"), RecordingStatus)

    def flow(self) -> FlowStatus | None:
        return read_snapshot(self.places.snapshot("show"), FlowStatus)

    def stream_is_whole(self) -> None:
        report = analyse(b"".join(self.got.datagrams))
        assert (report.continuity_errors, report.priority_1) == (0, 0)

    def close(self) -> None:
        self.box.close()
        self.got.close()


@pytest.fixture
def show(places: Places) -> Iterator[Callable[..., Show]]:
    shows: list[Show] = []

    def begin(**recording: object) -> Show:
        shows.append(Show(places, **recording))
        return shows[-1]

    yield begin
    for one in shows:
        one.close()


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("show-*.ts"))


def test_what_left_is_on_the_disk_in_segments_that_play_alone(show: Callable[..., Show], places: Places, wait_for: WaitFor) -> None:
    live = show(segment_s=5)
    wait_for(lambda: len(segments(places.recordings)) >= 3, what="three segments", timeout_s=60)
    first, second, _ = segments(places.recordings)[:3]
    assert pictures_in(second) >= 5 * 30 - 15
    pressbox(places, "flow", "stop", "show")
    joined = b"".join(path.read_bytes() for path in (first, second))
    assert len(joined) % 188 == 0
    recorded = [joined[at : at + 188] for at in range(0, len(joined), 188)]
    sent = b"".join(live.got.datagrams)
    assert sum(packet in sent for packet in recorded[1000:1100]) == 100, "it is what was sent"
    live.stream_is_whole()


def test_a_recorder_that_is_killed_comes_back_and_loses_two_seconds_at_most(
    show: Callable[..., Show], places: Places, wait_for: WaitFor
) -> None:
    live = show(segment_s=3600)
    for kills in range(1, 4):
        running = wait_for(lambda: (s := live.status()) and s.segment and s, what="a segment is written")
        before = running.bytes
        written = wait_for(lambda: (s := live.status()) and s.bytes > before + 300_000 and s, what="it grows")  # noqa: B023
        os.kill(written.pid, signal.SIGKILL)
        path = places.recordings / written.segment
        assert path.stat().st_size >= written.bytes - 400_000, "what a snapshot told a moment ago is there"
        wait_for(lambda: len(segments(places.recordings)) == kills + 1, what="another segment")  # noqa: B023
        assert pictures_in(path) > 20
    live.stream_is_whole()


def test_a_recorder_that_hangs_costs_the_stream_nothing(show: Callable[..., Show], wait_for: WaitFor) -> None:
    live = show()
    status = wait_for(lambda: (s := live.status()) and s.segment and s, what="a segment is written")
    os.kill(status.pid, signal.SIGSTOP)
    wait_for(lambda: (f := live.flow()) and f.counters["recording_dropped_bytes"] > 100_000, what="it is counted", timeout_s=60)
    count = len(live.got.datagrams)
    wait_for(lambda: len(live.got.datagrams) > count + 300, what="the stream goes on")
    os.kill(status.pid, signal.SIGCONT)
    wait_for(lambda: (s := live.status()) and s.at > time.time() - 1 and s.bytes > status.bytes + 100_000, what="it goes on")
    live.stream_is_whole()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk wants root")
def test_a_disk_that_is_full_is_told_and_used_again_when_there_is_room(
    show: Callable[..., Show], tmp_path: Path, wait_for: WaitFor
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=55m", "none", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(20_000_000))
        live = show(folder=str(disk), leave_mb=50, segment_s=5)
        told = wait_for(lambda: (s := live.status()) and s.message and s, what="that the disk is full")
        assert "50 MB" in told.message
        ballast.unlink()
        wait_for(lambda: (s := live.status()) and s.segment and not s.message and s.bytes, what="it records again", timeout_s=30)
        live.stream_is_whole()
        live.box.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_a_tap_without_a_recorder_keeps_nothing(tmp_path: Path) -> None:
    tap = Tap(tmp_path / "nobody.sock")
    for tick in range(100):
        tap.push([bytes(1316)] * 10)
        tap.tick(tick)
    assert tap.dropped_bytes == 100 * 13_160
    tap.push([bytes(1316)] * 4000)
    tap.push([bytes(1316)])
    tap.tick(0)
    assert tap.dropped_bytes >= 4000 * 1316
