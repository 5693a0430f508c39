"""The recorder: what a flow's outputs get, on disk. A process of its own, for a disk may take seconds.

    python -m firmware.recording.recorder

One line of JSON on stdin is its job; the end of stdin ends it. It listens on a Unix socket, on which the flow worker hands over
what it has sent, ten times a second; whatever is not taken at once the flow worker drops, and counts for the recording alone.

    flow worker --socket--> main thread --`Waiting`, at most 16 MB--> disk thread --> segments

Every second what was written is made durable, and a card may take seconds for that: only the disk thread waits for it. A disk that is
full or can only be read is told in the snapshot and tried again.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

from firmware.capture.handoff import HandoffError, Receiver
from firmware.recording import MB, Recording
from firmware.recording.cuts import Cuts
from firmware.recording.segments import Segments
from firmware.status import RecordingStatus, write_snapshot

SYNC_S = 1.0
AGAIN_S = 5.0  # until a disk that took nothing is tried again
READ_BYTES = 1 << 20
WAITING_BYTES = 16 * MB
STUCK_S = 5.0  # without a word of the disk, and the snapshot says so
CLOSING_S = 2.0
NICENESS = 10  # the kernel's I/O priority follows it

log = logging.getLogger("pressbox.recording")


class Job(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    flow: str
    recording: Recording
    folder: str
    socket: str
    snapshot: str


class Waiting:
    """What the disk has not taken yet: bounded, and what does not fit is dropped and counted."""

    def __init__(self, limit: int = WAITING_BYTES) -> None:
        self._limit = limit
        self._lists: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self.ended = False
        self.dropped = 0  # bytes

    def put(self, packets: bytes) -> None:
        with self._changed:
            if self._size + len(packets) > self._limit:
                self.dropped += len(packets)
                return
            self._lists.append(packets)
            self._size += len(packets)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify()

    def get(self, within_s: float) -> bytes | None:
        with self._changed:
            if not self._lists and not self.ended:
                self._changed.wait(max(0.0, within_s))
            if not self._lists:
                return None
            packets = self._lists.popleft()
            self._size -= len(packets)
            return packets


class Recorder:
    """`take` what came, `tick` once a second. Times are monotonic seconds."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._segments = Segments(job.flow, Path(job.folder), job.recording)
        self._cuts = Cuts()
        self._began_s = 0.0
        self._again_s = 0.0
        self.message = ""
        self.missed = 0  # bytes that came while the disk took nothing

    def take(self, packets: bytes, now_s: float) -> None:
        cut = self._cuts.find(packets)
        try:
            if self._segments.path is None:
                if cut is None or now_s < self._again_s:
                    self.missed += len(packets)
                    return
                self._begin(now_s)
                packets = packets[cut:]
            elif cut is not None and now_s - self._began_s >= self._job.recording.segment_s:
                self._segments.write(packets[:cut])
                self._begin(now_s)
                packets = packets[cut:]
            self._segments.write(packets)
        except OSError as error:
            self.missed += len(packets)
            self._fail(error, now_s)

    def _begin(self, now_s: float) -> None:
        self._segments.begin(time.time())
        self._began_s = now_s
        self._segments.write(self._cuts.tables)
        self.message = ""

    def _fail(self, error: OSError, now_s: float) -> None:
        words = f"nothing can be recorded in {self._segments.folder}: {error.strerror}"
        if words != self.message:
            log.warning("%s", words)
        self.message, self._again_s = words, now_s + AGAIN_S
        with suppress(OSError):
            self._segments.end()

    def tick(self, now_s: float) -> None:
        try:
            self._segments.sync()
            if self._segments.path is not None:
                self._segments.make_room()
                if self._segments.is_cramped:
                    raise OSError(28, f"less than {self._job.recording.leave_mb} MB would be left on the disk")
        except OSError as error:
            self._fail(error, now_s)

    def status(self) -> RecordingStatus:
        segments = self._segments
        return RecordingStatus(
            pid=os.getpid(),
            at=time.time(),
            folder=str(segments.folder),
            segment=segments.path.name if segments.path else "",
            segments=len(segments.there()),
            bytes=segments.written,
            missed_bytes=self.missed,
            removed=segments.removed,
            message=self.message,
        )

    def close(self) -> None:
        with suppress(OSError):
            self._segments.end()


class Disk(threading.Thread):
    """The only one who waits for the disk."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(name="disk", daemon=True)
        self.waiting = Waiting()
        self._recorder = recorder
        self._told = recorder.status()
        self._told_s = time.monotonic()

    def run(self) -> None:
        recorder, waiting, due_s = self._recorder, self.waiting, time.monotonic() + SYNC_S
        while True:
            packets = waiting.get(due_s - time.monotonic())
            if packets is not None:
                recorder.take(packets, time.monotonic())
            elif waiting.ended:
                break
            if time.monotonic() >= due_s:
                recorder.tick(time.monotonic())
                due_s = time.monotonic() + SYNC_S
                self._told, self._told_s = recorder.status(), time.monotonic()
        recorder.close()

    def status(self) -> RecordingStatus:
        """As the disk thread saw it last."""
        told = msgspec.structs.replace(self._told, at=time.time(), missed_bytes=self._told.missed_bytes + self.waiting.dropped)
        silent_s = time.monotonic() - self._told_s
        if silent_s > STUCK_S:
            told.message = f"the disk of {told.folder} has not answered for {silent_s:.0f} s"
        return told

    def close(self) -> None:
        self.waiting.end()
        self.join(CLOSING_S)


def main() -> None:
    logging.basicConfig(format="recording: %(message)s")
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    os.nice(NICENESS)
    disk, receiver = Disk(Recorder(job)), Receiver()
    disk.start()
    path = Path(job.socket)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(2)
    feed: socket.socket | None = None
    due_s = time.monotonic()
    while True:
        waits = [sys.stdin, listener, *([feed] if feed else [])]
        ready, _, _ = select.select(waits, [], [], max(0.0, due_s - time.monotonic()))
        if sys.stdin in ready and not os.read(0, 4096):
            disk.close()
            return
        if listener in ready:  # another flow worker takes the place of the one before
            if feed is not None:
                feed.close()
            feed, receiver = listener.accept()[0], Receiver()
        elif feed in ready and feed is not None and not _read(feed, receiver, disk.waiting):
            feed.close()
            feed = None
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + SYNC_S
            with suppress(OSError):
                write_snapshot(Path(job.snapshot), disk.status())


def _read(feed: socket.socket, receiver: Receiver, waiting: Waiting) -> bool:
    """False when the flow worker is gone, or is none."""
    try:
        data = feed.recv(READ_BYTES)
        for _, packets in receiver.feed(data):
            waiting.put(packets)
    except OSError:
        return False
    except HandoffError as error:
        log.warning("%s", error)
        return False
    return bool(data)


if __name__ == "__main__":
    main()
