"""The camera side of a flow: its capture worker, watched by the pictures that come out, its slate, and what is done when none come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from firmware.boxwatch import BoxStatus
from firmware.capture.slate import slate_name
from firmware.child import Child
from firmware.ladder import Ladder
from firmware.model import Camera
from firmware.places import Places
from firmware.rescue import Rescue
from firmware.secrets import SecretError
from firmware.status import CaptureStatus, read_snapshot, write_snapshot
from hw.camera import DEVICES, kind_of

START_NS = 10_000_000_000  # time a camera has to give its first picture
LONGEST_START_NS = 60_000_000_000  # a board that is slower than that starts nothing: each time in vain, the next has twice as long
STALL_NS = 2_000_000_000  # without a picture, and the worker is started anew
TRIED = 8  # attempts to open a camera: two seconds
BOX_NS = 1_000_000_000  # between two looks at how the board is
SLATE_AFTER_NS = 1_000_000_000  # let the camera start first: making the slate costs a moment of processor

log = logging.getLogger("pressbox.capture")


def start_patience_ns(in_vain: int) -> int:
    """For the first picture of a worker, after so many that were ended before they gave any."""
    return min(START_NS << min(in_vain, 8), LONGEST_START_NS)


class Captures:
    """Call `keep` several times a second."""

    def __init__(self, flow: str, camera: Camera, places: Places, password: Callable[[], str] = str, rescue: Rescue | None = None) -> None:
        """`password` of a network camera; without `rescue` nothing but the worker is ever started anew."""
        self.camera = camera
        self.live = False  # pictures come
        self.trouble = ""  # why a camera that was tried again and again has not given any
        self._rescue = rescue
        self._ladder = Ladder()
        self.slate = places.slates / slate_name(flow, camera)
        self._snapshot = places.capture_snapshot(flow)
        self._box = places.box
        self._box_ns = 0
        self._told = (0, 0)  # the worker's pid, and how much less it is to ask of the board
        self._snapshot.unlink(missing_ok=True)
        job = {"flow": flow, "camera": camera, "handoff": str(places.handoff(flow)), "snapshot": str(self._snapshot)}
        self.worker = Child(f"camera of {flow}", "firmware.capture.worker", lambda: self._job(job, password()), flow=flow)
        slate_job = {"flow": flow, "camera": camera, "slate": str(self.slate)}
        self._slate_maker = Child(f"slate of {flow}", "firmware.capture.slate", lambda: msgspec.json.encode(slate_job), niceness=10)
        self._began_ns: int | None = None
        self._seen = (0, 0, 0)  # pid, frames, attempts to open
        self._advanced_ns = 0
        self._in_vain = 0  # starts of the worker that gave no picture, one after the other
        self._picture_ns: int | None = None  # the newest one

    def _job(self, job: dict[str, Any], password: str) -> bytes:
        """With what the worker before said last: it stands until there is a picture."""
        return msgspec.json.encode(job | {"password": password, "message": self.worker.words})

    def keep(self, now_ns: int) -> None:
        try:
            self.worker.keep(now_ns)
        except SecretError as error:
            self.worker.words = str(error)
        if self._began_ns is None:
            self._began_ns = now_ns
        self._make_slate(now_ns - self._began_ns, now_ns)
        self._watch(now_ns)
        if now_ns - self._box_ns > BOX_NS:
            self._box_ns = now_ns
            self._spare_the_board()
        if self.worker.process is None:
            self._say_why()

    def stop(self) -> None:
        self.worker.stop(wait_s=1.0)
        self._slate_maker.stop(wait_s=0.0)
        self._snapshot.unlink(missing_ok=True)

    def _say_why(self) -> None:
        told = CaptureStatus(pid=0, at=time.time(), camera=self.camera.camera, encoder="", message=self.worker.words)
        with suppress(OSError):  # a full disk is said by others
            write_snapshot(self._snapshot, told)

    def _spare_the_board(self) -> None:
        box, process = read_snapshot(self._box, BoxStatus), self.worker.process
        if box is None or process is None or self._told == (process.pid, box.level) or (not box.level and self._told[0] != process.pid):
            return
        self._told = (process.pid, box.level)
        self.worker.tell(msgspec.json.encode({"spare": box.level, "why": box.why}))

    def _make_slate(self, since_ns: int, now_ns: int) -> None:
        if self.slate.exists():
            self._slate_maker.stop(wait_s=0.0)
        elif since_ns > SLATE_AFTER_NS:
            self._slate_maker.keep(now_ns)

    def _watch(self, now_ns: int) -> None:
        status = read_snapshot(self._snapshot, CaptureStatus)
        process = self.worker.process
        if process is None or status is None or status.pid != process.pid:
            status, seen = None, (process.pid if process else 0, 0, 0)
        else:
            seen = (status.pid, status.frames, status.attempts)
        self.trouble = status.message if status is not None and not status.frames and status.attempts >= TRIED else ""
        if seen != self._seen:
            if seen[1] != self._seen[1]:
                self._picture_ns = now_ns
            self._seen, self._advanced_ns = seen, now_ns
        if seen[1]:
            self._in_vain = 0
        patience_ns = STALL_NS if seen[1] else start_patience_ns(self._in_vain)
        if process is not None and now_ns - max(self._advanced_ns, self.worker.mute_ns) > patience_ns:
            self.worker.kill(f"no picture from {self.camera.camera} for {patience_ns // 1_000_000_000} s")
            self._in_vain += not seen[1]
            self._advanced_ns = now_ns
        self.live = self._picture_ns is not None and now_ns - self._picture_ns < STALL_NS
        if status is not None and status.loaded:
            self._climb(present=status.present, now_ns=now_ns)

    def _climb(self, *, present: bool, now_ns: int) -> None:
        """A film that cannot be read needs no other port."""
        if kind_of(self.camera.camera) not in DEVICES:
            return
        step = self._ladder.look(well=self.live, present=present, now_ns=now_ns)
        if step == "restart":
            self.worker.kill(f"{self.camera.camera} is there and gives no picture")
        elif step is not None and self._rescue is not None:
            self._rescue.ask(step, self.camera.camera)
