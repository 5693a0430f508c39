"""A camera of the bench box: the test pattern, with the faults of real ones on demand. `bench:FILE`

The file says what the camera does now, in one word; no file means that it is not plugged in.

    picture        the moving pattern
    black, freeze  what the words say
    320x240@15     another size and rate, from the next picture on
    fail           the driver reports an error, at each read and each opening
    block          the read never returns, as after a cable moved under some drivers; opened anew it reads again
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

from hw.camera import CameraError
from hw.camera.pace import FrameClock
from hw.camera.pattern import Pattern
from hw.canvas import BLACK, Canvas
from hw.frame import Frame

_MODE = re.compile(r"(\d{2,4})x(\d{2,4})@(\d{1,2})")


class BenchCamera:
    def __init__(self, path: str, width: int, height: int, fps: int) -> None:
        self._path = Path(path)
        self._wanted = (width, height, fps)
        self._mode = (0, 0, 0)
        self._stamp = 0
        self._does = "picture"
        self._look()
        self._set_mode(self._wanted)

    @property
    def name(self) -> str:
        width, height, fps = self._mode
        return f"bench camera, {width} x {height}, {fps}/s"

    @property
    def fps(self) -> float:
        return float(self._mode[2])

    def read(self) -> Frame:
        self._look()
        if self._does == "block":
            threading.Event().wait()
        mode = _MODE.fullmatch(self._does)
        self._set_mode((int(mode[1]), int(mode[2]), int(mode[3])) if mode else self._wanted)
        number = self._clock.next_number()
        if self._does == "black":
            Canvas(self._pattern.picture).fill(0, 0, self._mode[0], self._mode[1], BLACK)
        elif self._does != "freeze":
            self._pattern.draw(number, self._clock.due_ns(number))
        return Frame(number, self._pattern.picture, self._clock.wait(number))

    def close(self) -> None:
        """Nothing to give back."""

    def _look(self) -> None:
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._stamp, self._does = stamp, self._path.read_text().strip() or "picture"
        except OSError:
            raise CameraError(f"the bench camera {self._path.name} is not plugged in") from None
        if self._does == "fail":
            raise CameraError(f"the bench camera {self._path.name} reports an error, as it was told to")

    def _set_mode(self, mode: tuple[int, int, int]) -> None:
        if mode != self._mode:
            self._mode = mode
            self._pattern, self._clock = Pattern(*mode), FrameClock(mode[2])
