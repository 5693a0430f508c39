"""Health, judged: what is wrong (`Watch`) and how much less to ask of the board (`StepDown`).

Both are pure: readings and `now_ns` in, judgement out. A finding rises when its condition has held for `rise_s`, and falls when
its opposite, which leaves a band between the two, has held for `fall_s`. So a reading that trembles at a limit changes nothing.

    raises  ───────────────╮ rise_s ╭─────── stands ───────╮ fall_s ╭── gone
    level   ·······╱╲╱╲╱╲╱·█████████████████████████████████·╲╱╲╱╲╱╲╱···
                 the band: neither raises nor clears
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from hw.health import Health

SECOND_NS = 1_000_000_000
MB = 1 << 20
USUAL_LIMIT_CELSIUS = 85.0  # of a board that does not tell its own
NEAR, COOL = 5.0, 10.0  # degrees below the limit: hot from the one on, cool again below the other
WORN_PERCENT = 90

DISTRESS_NS = 10 * SECOND_NS
CHANGE_NS = 30 * SECOND_NS
CALM_NS = 60 * SECOND_NS
LONGEST_CALM_NS = 16 * CALM_NS
RELAPSE_NS = 300 * SECOND_NS
LOWEST = 3

Severity = Literal["note", "warning", "fault"]
Answer = bool | None  # None: in the band between


class Finding(msgspec.Struct, frozen=True):
    kind: str
    severity: Severity
    words: str
    since_ns: int


class Rule(msgspec.Struct, frozen=True):
    kind: str
    severity: Severity
    wrong: Callable[[Health], Answer]
    words: Callable[[Health], str]
    rise_s: int = 0
    fall_s: int = 60


def is_hot(health: Health) -> Answer:
    if health.soc_celsius is None:
        return False
    limit = health.limit_celsius or USUAL_LIMIT_CELSIUS
    return True if health.soc_celsius >= limit - NEAR else False if health.soc_celsius <= limit - COOL else None


def is_slowed(health: Health) -> bool:
    return bool(health.throttled_now or health.capped_now or health.soft_limit_now)


def _below(value: int | None, wrong: int, well: int) -> Answer:
    if value is None or value >= well:
        return False
    return True if value < wrong else None


RULES = (
    Rule(
        "under-voltage",
        "fault",
        lambda health: bool(health.under_voltage_now),
        lambda health: "The power supply is too weak: the board has less than 4.63 V now. Use the maker's supply and a short cable.",
    ),
    Rule(
        "under-voltage-before",
        "note",
        lambda health: bool(health.under_voltage_since_boot) and not health.under_voltage_now,
        lambda health: "The power supply was too weak at least once since the box started.",
        fall_s=0,
    ),
    Rule(
        "slowed",
        "warning",
        is_slowed,
        lambda health: "The board slows itself down, for heat or for its supply; the picture may stumble.",
        rise_s=10,
    ),
    Rule(
        "hot",
        "warning",
        is_hot,
        lambda health: (
            f"The processor has {health.soc_celsius or 0:.0f} degrees, and slows itself down"
            f" at {health.limit_celsius or USUAL_LIMIT_CELSIUS:.0f}: give it air."
        ),
        rise_s=10,
    ),
    Rule(
        "disk",
        "warning",
        lambda health: _below(health.disk_free_bytes, 200 * MB, 300 * MB),
        lambda health: f"The disk has {(health.disk_free_bytes or 0) // MB} MB left; take away recordings.",
    ),
    Rule(
        "disk-read-only",
        "fault",
        lambda health: bool(health.disk_read_only),
        lambda health: "The disk can only be read: nothing that is changed now outlives a restart. The card or eMMC may be at its end.",
    ),
    Rule(
        "memory",
        "warning",
        lambda health: _below(health.memory_available_bytes, 64 * MB, 96 * MB),
        lambda health: f"Memory is short: {(health.memory_available_bytes or 0) // MB} MB are left.",
        rise_s=10,
    ),
    Rule(
        "clock",
        "warning",
        lambda health: health.clock_synchronised is False,
        lambda health: "Nobody keeps the clock: times in logs and on certificates may be wrong. The box needs a way to a time server.",
        rise_s=120,
        fall_s=0,
    ),
    Rule(
        "wear",
        "warning",
        lambda health: (health.storage_wear_percent or 0) >= WORN_PERCENT or health.storage_reserve in ("low", "urgent"),
        lambda health: "The eMMC is nearly worn out: replace the module before it can only be read.",
        fall_s=0,
    ),
)


class _Stand:
    """One rule over time."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._wrong_ns: int | None = None  # since when it has been wrong all the time
        self._well_ns: int | None = None
        self._since_ns: int | None = None

    def push(self, health: Health, now_ns: int) -> Finding | None:
        answer = self.rule.wrong(health)
        self._wrong_ns = (now_ns if self._wrong_ns is None else self._wrong_ns) if answer else None
        self._well_ns = (now_ns if self._well_ns is None else self._well_ns) if answer is False else None
        if self._since_ns is None and self._wrong_ns is not None and now_ns - self._wrong_ns >= self.rule.rise_s * SECOND_NS:
            self._since_ns = now_ns
        elif self._since_ns is not None and self._well_ns is not None and now_ns - self._well_ns >= self.rule.fall_s * SECOND_NS:
            self._since_ns = None
        if self._since_ns is None:
            return None
        return Finding(self.rule.kind, self.rule.severity, self.rule.words(health), self._since_ns)


class Watch:
    """`push` gives what stands now, the worst first."""

    def __init__(self) -> None:
        self._stands = [_Stand(rule) for rule in RULES]

    def push(self, health: Health, now_ns: int) -> list[Finding]:
        found = [finding for stand in self._stands if (finding := stand.push(health, now_ns))]
        return sorted(found, key=lambda finding: ("fault", "warning", "note").index(finding.severity))


class StepDown:
    """How much less to ask of the board: 0 nothing less, to 3. At most one step in 30 s.

    Down after 10 s of distress (pauses shorter than that do not end it), up after 60 s of calm. Where a step up is followed by
    distress within five minutes, it takes twice the calm before the next one, up to 16 minutes: a board in the sun does not
    go up and down all afternoon. A step up that holds forgives it.
    """

    def __init__(self) -> None:
        self.level = 0
        self.why = ""
        self._troubled_ns: int | None = None  # when this distress began
        self._last_trouble_ns = 0
        self._calm_ns: int | None = None
        self._changed_ns: int | None = None
        self._rose_ns: int | None = None  # the last step up
        self.calm_needed_ns = CALM_NS

    def push(self, health: Health, now_ns: int) -> int:
        words = distress(health)
        self._follow(words, health, now_ns)
        if self._rose_ns is not None and now_ns - self._rose_ns > RELAPSE_NS:
            self._rose_ns, self.calm_needed_ns = None, CALM_NS
        if self._changed_ns is not None and now_ns - self._changed_ns < CHANGE_NS:
            return self.level
        if words and self._troubled_ns is not None and now_ns - self._troubled_ns >= DISTRESS_NS and self.level < LOWEST:
            self._down(words, now_ns)
        elif self.level and self._calm_ns is not None and now_ns - self._calm_ns >= self.calm_needed_ns:
            self._up(now_ns)
        return self.level

    def _follow(self, words: str, health: Health, now_ns: int) -> None:
        if words:
            self._calm_ns, self._last_trouble_ns = None, now_ns
            self._troubled_ns = now_ns if self._troubled_ns is None else self._troubled_ns
            return
        if now_ns - self._last_trouble_ns > DISTRESS_NS:
            self._troubled_ns = None
        if is_hot(health) is not None:
            self._calm_ns = now_ns if self._calm_ns is None else self._calm_ns

    def _down(self, words: str, now_ns: int) -> None:
        self.level, self.why, self._changed_ns = self.level + 1, words, now_ns
        if self._rose_ns is not None:
            self.calm_needed_ns, self._rose_ns = min(LONGEST_CALM_NS, 2 * self.calm_needed_ns), None

    def _up(self, now_ns: int) -> None:
        self.level, self._changed_ns, self._rose_ns, self._calm_ns = self.level - 1, now_ns, now_ns, now_ns
        if not self.level:
            self.why = ""


def distress(health: Health) -> str:
    """What strains the board now, in words; empty when nothing does."""
    if health.under_voltage_now:
        return "its power supply is too weak"
    if is_slowed(health):
        return "it slows itself down"
    if is_hot(health) and health.soc_celsius is not None:
        return f"it has {health.soc_celsius:.0f} degrees"
    return ""
