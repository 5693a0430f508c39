"""Rhythms that lamps play: brightness and colour as a function of time alone, so that all lamps of one clock keep phase.

A rhythm is a row of steps that repeats. What a lamp without dimming shows of it is `lit`: on or off, nothing between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

Colour = Literal["white", "blue", "amber", "red"]
"""No green: nothing has to be told from red by it."""

RGB: dict[Colour, tuple[float, float, float]] = {
    "white": (1.0, 1.0, 1.0),
    "blue": (0.0, 0.1, 1.0),
    "amber": (1.0, 0.4, 0.0),
    "red": (1.0, 0.0, 0.0),
}
GLIDE_MS = 50  # between two brightnesses of one that glides
SHORTEST_FLASH_MS = 334  # three flashes a second at most, WCAG 2.2 criterion 2.3.1


class Step(NamedTuple):
    ms: int
    level: float  # 0 to 1
    colour: int = 0  # which of the pattern's colours


class Light(NamedTuple):
    """What one lamp shows at a moment."""

    level: float
    colour: Colour


DARK = Light(0.0, "white")


@dataclass(frozen=True)
class Rhythm:
    name: str
    words: str  # what a person sees, as an end of "the lamp …"
    steps: tuple[Step, ...]
    glides: bool = False  # rises and falls once in its period, without edges

    @cached_property
    def period_ms(self) -> int:
        return sum(step.ms for step in self.steps)

    def step_at(self, ms: float) -> tuple[Step, float]:
        """The step of that moment, and how long it lasts from there."""
        left = ms % self.period_ms
        for step in self.steps:
            if left < step.ms:
                return step, step.ms - left
            left -= step.ms
        return self.steps[-1], 0.0  # rounding

    def level_at(self, ms: float) -> float:
        if self.glides:
            return (1 - math.cos(2 * math.pi * (ms % self.period_ms) / self.period_ms)) / 2
        return self.step_at(ms)[0].level

    def changes_in_ms(self, ms: float) -> float:
        """How long what it shows stays as it is."""
        if self.glides:
            return GLIDE_MS
        return self.step_at(ms)[1] if len(self.steps) > 1 else math.inf


def _blink(*pairs: tuple[int, int]) -> tuple[Step, ...]:
    return tuple(step for on_ms, off_ms in pairs for step in (Step(on_ms, 1.0), Step(off_ms, 0.0)))


OFF = Rhythm("off", "is dark", (Step(1000, 0.0),))
SOLID = Rhythm("solid", "is lit", (Step(1000, 1.0),))
BREATHE = Rhythm("breathe", "breathes, once in 2 seconds", (Step(500, 0.0), Step(1000, 1.0), Step(500, 0.0)), glides=True)
DIP = Rhythm("dip", "is lit, with a short gap every 2 seconds", _blink((1700, 300)))
DOUBLE = Rhythm("double", "flashes twice, quickly, then pauses", _blink((150, 200), (150, 1000)))
FAST = Rhythm("fast", "blinks fast, twice a second", _blink((250, 250)))
WINK = Rhythm("wink", "winks, once in 3 seconds", _blink((100, 2900)))
SWAP = Rhythm("swap", "changes between two colours, twice a second", (Step(250, 1.0), Step(250, 0.3, 1)))

CODE_ON_MS, CODE_OFF_MS, CODE_PAUSE_MS = 350, 350, 2000


def code(number: int) -> Rhythm:
    """So many flashes, slow enough to count, then a pause."""
    last = (CODE_ON_MS, CODE_PAUSE_MS)
    return Rhythm(f"code-{number}", f"flashes {number} times, then pauses", _blink(*[(CODE_ON_MS, CODE_OFF_MS)] * (number - 1), last))


@dataclass(frozen=True)
class Pattern:
    """A rhythm in its colours. A lamp of one colour plays the rhythm in that."""

    rhythm: Rhythm
    colours: tuple[Colour, ...]

    def at(self, ms: float, *, glides: bool = True) -> Light:
        """Of a lamp that knows on and off alone, `glides` is false."""
        step, _ = self.rhythm.step_at(ms)
        return Light(self.rhythm.level_at(ms) if glides else step.level, self.colours[min(step.colour, len(self.colours) - 1)])

    @property
    def words(self) -> str:
        """As "breathes, once in 2 seconds, white"."""
        return self.rhythm.words if self.rhythm is OFF else f"{self.rhythm.words}, {' and '.join(self.colours)}"


NOTHING = Pattern(OFF, ("white",))

_LUMINANCE: dict[Colour, float] = {"white": 1.0, "amber": 0.55, "red": 0.35, "blue": 0.25}


def brightness(light: Light) -> float:
    return light.level * _LUMINANCE[light.colour]


class Calm:
    """Lets no lamp flash more than three times a second, whatever it is told: a new rise waits, and the lamp stays as it is."""

    def __init__(self) -> None:
        self.shown = DARK
        self._rose_ms = -math.inf
        self._falling = True

    def light(self, wanted: Light, ms: float) -> Light:
        before, after = brightness(self.shown), brightness(wanted)
        if after > before and self._falling:
            if ms - self._rose_ms < SHORTEST_FLASH_MS:
                return self.shown
            self._rose_ms, self._falling = ms, False
        elif after < before:
            self._falling = True
        self.shown = wanted
        return wanted

    @property
    def may_rise_ms(self) -> float:
        """From when on it may rise again."""
        return self._rose_ms + SHORTEST_FLASH_MS
