"""The power goes while a recording runs: a copy of the file system's image, taken at random moments, is what the disk would have held.

The copy is no single moment, which is harder than a cut: blocks of metadata may be younger or older than each other. What the kernel had
not yet handed to the block device is not in it, as after a cut; a card that loses what it acknowledged is not modelled.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firmware.capture.handoff import Sender
from firmware.recording import Recording
from firmware.recording.recorder import Disk, Job, Recorder, Waiting
from firmware.status import RecordingStatus, read_snapshot

from .test_segments import FPS, filmed, pictures_in

WaitFor = Callable[..., Any]
CUTS = 6
MOST_LOST_S = 2.0
IMAGE_MB = 96


def mounted(image: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, Path]]:
    """(image, where it is mounted); skips where this machine mounts none."""
    image, place = folder / "disk.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(IMAGE_MB * 1_000_000)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
        mounted(image, place)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be made and mounted here: {error}")
    try:
        yield image, place
    finally:
        subprocess.run(["umount", "-l", place], check=False)


class Running:
    """The recorder as a process, fed as a flow worker feeds it: picture by picture, in time."""

    def __init__(self, run: Path, folder: Path, **settings: int) -> None:
        self.socket, self.snapshot = run / "rec.sock", run / "rec.json"
        recording = {"leave_mb": 50, "keep_mb": 50, "segment_s": 5, **settings}
        job = {"flow": "show", "recording": recording, "folder": str(folder), "socket": str(self.socket), "snapshot": str(self.snapshot)}
        self.process = subprocess.Popen([sys.executable, "-m", "firmware.recording.recorder"], stdin=subprocess.PIPE)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()
        self.sender = Sender(self.socket, 0.0)
        self.given: list[tuple[float, int]] = []  # when, and bytes by then
        self._parts = filmed(4 * FPS)
        self._number = 0

    def feed(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            packets = self._parts[self._number % len(self._parts)]
            self.sender.connect()
            if self.sender.send(0, packets):
                self._number += 1
                total = self.given[-1][1] if self.given else 0
                self.given.append((time.monotonic(), total + len(packets)))
            time.sleep(1 / FPS)

    def status(self) -> RecordingStatus | None:
        return read_snapshot(self.snapshot, RecordingStatus)

    def given_by(self, moment: float) -> int:
        return max((total for at, total in self.given if at <= moment), default=0)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.sender.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk wants root")
def test_two_seconds_are_lost_at_most_when_the_power_goes(tmp_path: Path) -> None:
    chance = random.Random(5)
    with small_disk(tmp_path) as (image, place):
        live = Running(tmp_path, place / "show")
        cuts: list[tuple[float, Path]] = []
        try:
            live.feed(2)
            for number in range(CUTS):
                live.feed(chance.uniform(0.4, 3.0))
                copy = tmp_path / f"cut-{number}.img"
                cuts.append((time.monotonic(), copy))
                shutil.copyfile(image, copy)
        finally:
            live.close()
    for moment, copy in cuts:
        checked = subprocess.run(["e2fsck", "-fy", copy], capture_output=True, check=False)
        assert checked.returncode in (0, 1), checked.stdout
        after = tmp_path / "after"
        mounted(copy, after)
        try:
            files = sorted((after / "show").glob("show-*.ts"))
            kept = sum(path.stat().st_size for path in files)
            assert kept >= live.given_by(moment - MOST_LOST_S), f"{kept} bytes of {live.given_by(moment)}"
            assert all(pictures_in(path) for path in files if path.stat().st_size > 100_000)
        finally:
            subprocess.run(["umount", after], check=True)
        copy.unlink()


def test_any_beginning_of_a_segment_plays(tmp_path: Path) -> None:
    whole, chance = b"".join(filmed(60)), random.Random(1)
    path = tmp_path / "torn.ts"
    for _ in range(12):
        end = chance.randrange(40_000, len(whole))
        path.write_bytes(whole[:end])
        assert pictures_in(path) > 0, f"cut at {end}"


def test_a_disk_that_stands_still_is_said_and_what_waits_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    """The segment is a fifo that nobody empties: it takes 64 kB and then nothing, as a card that hangs in a write does."""
    folder = tmp_path / "show"
    job = Job(flow="show", recording=Recording(keep_mb=50, leave_mb=50), folder=str(folder), socket="", snapshot="")
    disk = Disk(Recorder(job))
    disk.waiting = Waiting(limit=100_000)
    monkeypatch.setattr("firmware.recording.recorder.STUCK_S", 1.0)
    read, write = os.pipe()
    monkeypatch.setattr(os, "open", lambda path, *more, real=os.open: write if str(path).endswith(".ts") else real(path, *more))
    disk.start()
    for part in filmed(3 * FPS):
        disk.waiting.put(part)
    wait_for(lambda: "has not answered" in disk.status().message, what="that the disk hangs")
    for _ in range(200):
        disk.waiting.put(bytes(1316))
    assert disk.status().missed_bytes > 100_000
    monkeypatch.undo()
    threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 65_536), b"")], daemon=True).start()
    disk.close()


def test_a_stopped_recorder_holds_up_nobody(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "rec.sock"))
    listener.listen(1)  # and never reads
    sender = Sender(tmp_path / "rec.sock", 0.0)
    assert sender.connect()
    longest = 0.0
    for _ in range(200):
        began = time.thread_time()
        sender.send(0, bytes(130_000))
        longest = max(longest, time.thread_time() - began)
    assert sender.dropped > 150
    assert longest < 0.05
    listener.close()
    sender.close()
