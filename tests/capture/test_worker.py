"""The capture worker as a process, over a real Unix socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from firmware.capture.handoff import Receiver
from firmware.capture.mux import PID_VIDEO
from firmware.places import Places
from firmware.status import CaptureStatus, read_snapshot
from firmware.wire import ts

from ..pictures import pictures_of

WaitFor = Any


@dataclass
class Box:
    """One worker and, where a test wants it, the flow worker's end of the socket."""

    places: Places
    camera: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    listener: socket.socket | None = None

    def start(self, **camera: Any) -> subprocess.Popen[bytes]:
        config = {
            "flow": "show",
            "camera": {"protocol": "camera", "name": "cam", "width": 640, "height": 360, "preset": "ultrafast", "video_bps": 1_500_000}
            | camera,
            "handoff": str(self.places.handoff("show")),
            "snapshot": str(self.places.capture_snapshot("show")),
        }
        command = [sys.executable, "-m", "firmware.capture.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.tell(config)
        return self.process

    def tell(self, message: object) -> None:
        assert self.process
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def listen(self) -> None:
        path = self.places.handoff("show")
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.settimeout(10)

    def lists(self) -> Generator[tuple[int, bytes], None, None]:
        """Lists of a new connection, until it ends."""
        assert self.listener
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        receiver = Receiver()
        with connection:
            while data := connection.recv(1 << 16):
                yield from receiver.feed(data)

    def status(self) -> CaptureStatus | None:
        return read_snapshot(self.places.capture_snapshot("show"), CaptureStatus)

    def frames(self) -> int:
        status = self.status()
        return status.frames if status else 0

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stderr):
                if pipe:
                    pipe.close()

    def close(self) -> None:
        self.kill()
        if self.listener:
            self.listener.close()


@pytest.fixture
def box(places: Places) -> Iterator[Box]:
    box = Box(places)
    yield box
    box.close()


def take(lists: Iterator[tuple[int, bytes]], count: int) -> list[tuple[int, bytes]]:
    return [next(lists) for _ in range(count)]


def counters(lists: list[tuple[int, bytes]]) -> list[int]:
    """Every picture decodes, and the counter burnt into it agrees with its time; so a busy machine may have left some out."""
    pictures = pictures_of(b"".join(payload for _, payload in lists))
    start_ns, start = lists[0][0], pictures[0].counter
    assert [picture.counter for picture in pictures] == [start + round((capture_ns - start_ns) * 30 / 1e9) for capture_ns, _ in lists]
    return [picture.counter for picture in pictures]


def is_key(payload: bytes) -> bool:
    return any(ts.is_key_picture(payload, at) for at in range(0, len(payload), ts.PACKET) if ts.pid_of(payload, at) == PID_VIDEO)


def test_one_list_a_picture_with_its_capture_time(box: Box) -> None:
    box.listen()
    box.start()
    got = take(box.lists(), 45)
    assert counters(got)[0] == 0
    pictures = pictures_of(b"".join(payload for _, payload in got))
    assert [picture.pts_90k for picture in pictures] == [capture_ns * 9 // 100_000 % 2**33 for capture_ns, _ in got]


def test_whoever_comes_later_starts_with_a_key_frame(box: Box, wait_for: WaitFor) -> None:
    box.start(gop_ms=10_000)
    wait_for(lambda: box.frames() > 5, what="frames without a listener")
    box.listen()
    lists = box.lists()
    got = take(lists, 5)
    first = counters(got)[0]
    assert first > 0
    assert is_key(got[0][1])
    status = wait_for(lambda: next(lists) and (s := box.status()) and s.frames > first and s, what="a snapshot after that")
    assert status.dropped >= first, "nobody took those, and they are counted"
    lists.close()
    assert counters(take(box.lists(), 5))[0] > first, "a second connection too"


@pytest.mark.parametrize("clip", [False, True])
def test_snapshots_tell_what_runs(box: Box, wait_for: WaitFor, clip: bool, film: Callable[[str], Path]) -> None:
    box.listen()
    worker = box.start(camera=f"clip:{film('bikes.mp4')}" if clip else "pattern")
    lists = box.lists()
    take(lists, 20)
    status = wait_for(lambda: next(lists) and (s := box.status()) and s.frames >= 10 and s, what="a snapshot")
    assert status.pid == worker.pid
    assert status.camera == ("clip bikes.mp4" if clip else "pattern")
    assert status.encoder == "x264 ultrafast, software"
    assert status.bitrate_bps == 1_500_000
    assert status.keyframes >= 1
    assert 0 < status.encode_ms < 500


def test_the_bitrate_changes_on_command(box: Box, wait_for: WaitFor) -> None:
    box.listen()
    box.start()
    lists = box.lists()
    before = sum(len(payload) for _, payload in take(lists, 60)[15:])
    box.tell({"bitrate_bps": 300_000})
    wait_for(lambda: next(lists) and (s := box.status()) and s.bitrate_bps == 300_000, what="the new bitrate in the snapshot")
    after = sum(len(payload) for _, payload in take(lists, 60)[15:])
    assert after < before / 2


def test_a_key_frame_on_command_and_nonsense_is_survived(box: Box) -> None:
    box.listen()
    worker = box.start(gop_ms=10_000)
    lists = box.lists()
    assert [is_key(payload) for _, payload in take(lists, 10)] == [True] + [False] * 9
    box.tell({"bitrate": 7})
    box.tell(["what"])
    box.tell({"key_frame": True})
    got = take(lists, 30)
    assert any(is_key(payload) for _, payload in got)
    worker.terminate()
    assert worker.stderr
    assert worker.stderr.read().count(b"not a command") == 2


@pytest.mark.parametrize("end", ["stdin", "SIGTERM"])
@pytest.mark.parametrize("listening", [True, False])
def test_it_ends_cleanly_and_at_once(box: Box, end: str, listening: bool, wait_for: WaitFor) -> None:
    if listening:
        box.listen()
    worker = box.start()
    wait_for(lambda: box.frames() > 0, what="the first frame")
    assert worker.stdin
    if end == "stdin":
        worker.stdin.close()
    else:
        worker.terminate()
    assert worker.wait(2) == 0
    assert worker.stderr
    assert worker.stderr.read() == b""


def test_a_camera_that_blocks_stops_the_frames_but_neither_snapshots_nor_the_end(box: Box, tmp_path: Path, wait_for: WaitFor) -> None:
    fifo = tmp_path / "camera"
    os.mkfifo(fifo)
    worker = box.start(camera=f"clip:{fifo}")
    first = wait_for(box.status, what="a snapshot while the camera opens")
    later = wait_for(lambda: (s := box.status()) and s.at > first.at and s, what="another one")
    assert (later.frames, later.camera) == (0, f"clip:{fifo}")
    assert worker.stdin
    worker.stdin.close()
    assert worker.wait(2) == 0


def test_a_camera_that_blocks_while_it_is_read_does_so_too(
    box: Box, film: Callable[[str], Path], tmp_path: Path, wait_for: WaitFor
) -> None:
    """A pipe that gives some of a film and then nothing more."""
    fifo = tmp_path / "camera"
    os.mkfifo(fifo)
    feeds = [os.open(fifo, os.O_RDWR)]
    worker = box.start(camera=f"clip:{fifo}")
    os.set_blocking(feeds[0], False)
    os.write(feeds[0], b"\x47" + bytes(30_000))
    at = wait_for(box.status, what="a snapshot").at
    wait_for(lambda: (s := box.status()) and s.at > at + 0.9, what="more snapshots")
    assert box.frames() == 0
    worker.terminate()
    assert worker.wait(2) == 0
    os.close(feeds[0])


def test_a_worker_that_was_stopped_goes_on_with_a_key_frame(box: Box, wait_for: WaitFor) -> None:
    box.listen()
    worker = box.start(gop_ms=10_000)
    lists = box.lists()
    (before_ns, _), *_ = take(lists, 20)[-1:]
    wait_for(box.status, what="a snapshot")
    worker.send_signal(signal.SIGSTOP)
    wait_for(lambda: (s := box.status()) and time.time() - s.at > 1.2, what="a snapshot that grows old")
    worker.send_signal(signal.SIGCONT)
    while (one := next(lists))[0] - before_ns < 300_000_000:
        before_ns = one[0]
    capture_ns, payload = one
    pictures = pictures_of(payload + b"".join(more for _, more in take(lists, 2)))
    assert pictures[0].key
    assert pictures[0].pts_90k == capture_ns * 9 // 100_000 % 2**33
    assert pictures[0].counter > 25, "the pictures in between are missing, and the counter says so"
    status = wait_for(lambda: (s := box.status()) and s.dropped and s, what="a snapshot that counts them")
    assert status.dropped >= 20


def test_a_killed_worker_is_followed_by_another_on_the_same_socket_and_the_same_clock(box: Box) -> None:
    box.listen()
    last_ns = 0
    for _ in range(3):
        box.start()
        lists = box.lists()
        got = take(lists, 10)
        assert counters(got)[0] == 0
        assert got[0][0] > last_ns
        last_ns = got[-1][0]
        box.kill()
        list(lists)  # the connection ends


def test_a_reader_that_stalls_gets_whole_lists_and_a_key_frame_when_it_returns(box: Box, wait_for: WaitFor) -> None:
    box.listen()
    box.start(gop_ms=10_000, video_bps=8_000_000)
    lists = box.lists()
    take(lists, 3)
    wait_for(lambda: (s := box.status()) and s.dropped >= 10, what="dropped lists")
    before_ns = next(lists)[0]
    while (one := next(lists))[0] - before_ns < 50_000_000:
        before_ns = one[0]
    (picture,) = pictures_of(one[1])
    assert (picture.key, picture.pts_90k) == (True, one[0] * 9 // 100_000 % 2**33)


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ("nocam", "camera `nocam` is not known"),
        ("clip:/no/film.mp4", "camera `clip:/no/film.mp4` cannot be read: No such file or directory"),
    ],
)
def test_a_camera_that_cannot_be_is_one_sentence_and_exit_code_5(box: Box, camera: str, words: str) -> None:
    worker = box.start(camera=camera)
    assert worker.wait(10) == 5
    assert worker.stderr
    complaint = worker.stderr.read()
    assert complaint.decode().startswith(words)
    assert complaint.count(b"\n") == 1
    assert b"allowed are" in complaint


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b'{"flow": 1}\n', b"\xff\n"])
def test_a_configuration_that_is_none_is_one_sentence_and_exit_code_2(line: bytes) -> None:
    command = [sys.executable, "-m", "firmware.capture.worker"]
    done = subprocess.run(command, input=line, capture_output=True, timeout=10, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"capture worker: the first line on stdin is no configuration: ")
    assert done.stderr.count(b"\n") == 1
