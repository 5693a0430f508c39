"""What is tried, in which order, for a camera that is there and gives no picture.

    at once   the capture worker opens the device again, four times a second; one that blocks is killed and started anew
    10 s      the worker is started anew, whatever it does
    30 s      the USB port is power-cycled, or the driver bound anew; again after 90 s, and then every ten minutes
    5 min     this machine is started anew, where it may and nothing else on it is live: three times in an hour at most
    then      it stays up: the slate plays, the page says why

A camera that is not there is waited for: nothing done to this machine would plug it in. One good picture, and all begins at
the first rung again. No I/O here: `firmware.captures` does what this says.
"""

from __future__ import annotations

from typing import Literal

Step = Literal["restart", "power-cycle", "reboot"]

SECOND_NS = 1_000_000_000
RUNGS: tuple[tuple[int, Step], ...] = (
    (10, "restart"),
    (30, "power-cycle"),
    (60, "restart"),
    (90, "power-cycle"),
    (300, "reboot"),
)
EVERY_S = 600  # power-cycled again, above the last rung


class Ladder:
    def __init__(self) -> None:
        self._since_ns: int | None = None
        self._rung = 0
        self._next_ns = 0

    def look(self, *, well: bool, present: bool, now_ns: int) -> Step | None:
        """What to do now, if anything. `well`: pictures come; `present`: the device is there."""
        if well or not present:
            self._since_ns, self._rung = None, 0
            return None
        if self._since_ns is None:
            self._since_ns = now_ns
        waited_ns = now_ns - self._since_ns
        if self._rung < len(RUNGS):
            after_s, step = RUNGS[self._rung]
            if waited_ns < after_s * SECOND_NS:
                return None
            self._rung += 1
            self._next_ns = now_ns + EVERY_S * SECOND_NS
            return step
        if now_ns < self._next_ns:
            return None
        self._next_ns = now_ns + EVERY_S * SECOND_NS
        return "power-cycle"
