"""What one way of a bad network does to datagrams: it loses, delays, reorders and doubles them, and queues what its rate cannot take.

What happens to the n-th datagram depends on the seed, the direction and n alone, whatever happened to the others: every datagram
draws the same few numbers, whether they matter or not. So runs repeat. Only what a full queue drops depends on time as well.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

HEADER_BYTES = 28  # of IPv4 and UDP: a rate is that of the wire


class Loss(Protocol):
    def lost(self, draw: float) -> bool:
        """Of the next datagram; `draw` is from 0 to 1."""


@dataclass(slots=True)
class Uniform:
    share: float

    def lost(self, draw: float) -> bool:
        return draw < self.share


@dataclass(slots=True)
class GilbertElliott:
    """Bursts of geometric length: two states, and all that comes in the bad one is lost (Gilbert 1960)."""

    mean_loss: float
    mean_burst: float  # datagrams, 1 or more
    bad: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.mean_loss < 1 or self.mean_burst < 1 or self.mean_loss > (1 - self.mean_loss) * self.mean_burst:
            raise ValueError(f"no bursts of {self.mean_burst:g} datagrams make a loss of {self.mean_loss:g}; bursts have at least 1 each")

    def lost(self, draw: float) -> bool:
        into_bad = self.mean_loss / (1 - self.mean_loss) / self.mean_burst
        self.bad = draw >= 1 / self.mean_burst if self.bad else draw < into_bad
        return self.bad


class Trace:
    """Exactly these, True for a lost one, and from the start again at their end."""

    def __init__(self, pattern: Sequence[bool]) -> None:
        if not pattern:
            raise ValueError("a trace without a datagram; write 0 for each that arrives and 1 for each that is lost")
        self.pattern = pattern
        self.at = 0

    @classmethod
    def load(cls, file: str | Path) -> Trace:
        """0 for one that arrives, 1 for one that is lost; spaces and line ends mean nothing."""
        text = "".join(Path(file).read_text().split())
        if text.strip("01"):
            raise ValueError(f"{file}: a trace has 0 and 1 alone; `{text.strip('01')[0]}` is neither")
        return cls([digit == "1" for digit in text])

    def lost(self, draw: float) -> bool:
        self.at += 1
        return self.pattern[(self.at - 1) % len(self.pattern)]


class Fate(NamedTuple):
    """What was drawn for one datagram."""

    lost: bool
    jitter: float  # 0 to 1
    late: bool
    twice: bool


class Channel:
    """One direction. Everything public may be changed while it runs, from any thread.

    Jitter, drawn evenly from 0 to `jitter_ms`, keeps the order, as a queue does. `reorder` is the share that `reorder_ms` more
    hold back while others overtake. With `rate_bps` a queue of `queue_ms` drops what does not fit.
    """

    def __init__(self, name: str, seed: int, loss: float | Loss = 0.0, delay_ms: float = 0.0) -> None:
        self.name = name
        self.delay_ms = delay_ms
        self.jitter_ms = 0.0
        self.reorder = 0.0
        self.reorder_ms = 20.0
        self.duplicate = 0.0
        self.rate_bps: float | None = None
        self.queue_ms = 100.0
        self.swallows = False
        self.passed = self.lost = 0
        self.overflowed = self.late = self.duplicated = 0  # the first of them are lost ones too
        self._free_at_s = self._last_due_s = 0.0
        self.loss = loss
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Begin the draws of this seed."""
        self._loss_draw = random.Random(f"{seed} {self.name}").random
        self._jitter_draw, self._late_draw, self._twice_draw = (
            random.Random(f"{seed} {self.name} {what}").random for what in ("jitter", "late", "twice")
        )

    @property
    def loss(self) -> Loss:
        return self._loss

    @loss.setter
    def loss(self, loss: float | Loss) -> None:
        self._loss = Uniform(loss) if isinstance(loss, int | float) else loss

    def draw(self) -> Fate:
        """Of the next datagram."""
        lost = self._loss.lost(self._loss_draw())
        return Fate(lost, self._jitter_draw(), self._late_draw() < self.reorder, self._twice_draw() < self.duplicate)

    def due_s(self, fate: Fate, size_bytes: int, now_s: float) -> float | None:
        """When a datagram that was drawn comes out; None when the queue has no room for it."""
        leaves_s = now_s
        if self.rate_bps:
            free_s = max(now_s, self._free_at_s)
            if (free_s - now_s) * 1000 > self.queue_ms:
                self.overflowed += 1
                self.lost += 1
                return None
            leaves_s = self._free_at_s = free_s + (size_bytes + HEADER_BYTES) * 8 / self.rate_bps
        due_s = max(self._last_due_s, leaves_s + (self.delay_ms + fate.jitter * self.jitter_ms) / 1000)
        self.passed += 1
        self.duplicated += fate.twice
        if fate.late:
            self.late += 1
            return due_s + self.reorder_ms / 1000
        self._last_due_s = due_s
        return due_s

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("passed", "lost", "overflowed", "late", "duplicated")}
