"""One button, many meanings: how long it was held decides when it is let go. Levels and a clock in, actions out; no pin here.

    0        0.8       2     2.75  3         5                 10                   20 s
    | press  |  keep on | start | - | set-up |   keep on        |   factory          | nothing
    |  lit   |  blinks  |  lit  |   | lit    |   blinks, faster |   lit              | dark

Where the lamp is lit, letting go does something; where it blinks or is dark, nothing. Between any two actions lies such a gap, so that
nobody asks for the one while aiming at the other. A button that is held at the start, or for longer than anybody means it, does nothing.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Zone = Literal["press", "keep on", "start-stop", "gap", "set-up", "keep on, faster", "factory", "nothing"]
Action = Literal["press", "start-stop", "set-up", "factory"]

DEBOUNCE_MS = 30
_BORDERS: tuple[tuple[int, Zone], ...] = (  # from so many milliseconds on
    (20_000, "nothing"),
    (10_000, "factory"),
    (5_000, "keep on, faster"),
    (3_000, "set-up"),
    (2_750, "gap"),
    (2_000, "start-stop"),
    (800, "keep on"),
    (0, "press"),
)
_ACTIONS: dict[Zone, Action] = {"press": "press", "start-stop": "start-stop", "set-up": "set-up", "factory": "factory"}


class Hold(NamedTuple):
    zone: Zone
    ms: float  # since it was pressed


def zone_at(ms: float, *, may_start: bool) -> Zone:
    zone = next(zone for border, zone in _BORDERS if ms >= border)
    return "keep on" if zone == "start-stop" and not may_start else zone


class Button:
    """`push` the level whenever it may have changed, and again at `due_ms`; it is true while the button is down."""

    def __init__(self, *, may_start: bool = False) -> None:
        self.may_start = may_start
        self._raw: bool | None = None
        self._raw_since_ms = 0.0
        self._down: bool | None = None  # debounced; None: not known yet
        self._since_ms: float | None = None  # of a press that counts

    def push(self, down: bool, now_ms: float) -> Action | None:
        """What is to be done now, if anything."""
        if down != self._raw:
            self._raw, self._raw_since_ms = down, now_ms
        if down == self._down or now_ms - self._raw_since_ms < DEBOUNCE_MS:
            return None
        before, self._down = self._down, down
        if down:
            self._since_ms = None if before is None else self._raw_since_ms  # one that is down from the start is stuck
            return None
        since_ms, self._since_ms = self._since_ms, None
        if since_ms is None:
            return None
        return _ACTIONS.get(zone_at(self._raw_since_ms - since_ms, may_start=self.may_start))

    def hold(self, now_ms: float) -> Hold | None:
        """While it is held: what letting go would mean."""
        if self._since_ms is None:
            return None
        held_ms = now_ms - self._since_ms
        return Hold(zone_at(held_ms, may_start=self.may_start), held_ms)

    @property
    def stuck(self) -> bool:
        """Down since before anybody looked, or for longer than anybody means it."""
        return self._down is True and self._since_ms is None

    def due_ms(self, now_ms: float) -> float:
        """How long nothing changes by itself."""
        if self._raw is not None and self._raw != self._down:
            return max(0.0, self._raw_since_ms + DEBOUNCE_MS - now_ms)
        if self._since_ms is None:
            return math.inf
        held_ms = now_ms - self._since_ms
        return min((border - held_ms for border, _ in _BORDERS if border > held_ms), default=math.inf)
