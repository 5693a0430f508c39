"""From points to states, without a flap. No clock and no file: time comes in, in seconds that never go back.

    raised    when the statistic breached the threshold in M of the last N periods; what can only get worse within its period (a sum that
              is over its threshold) breaches at once
    calm      while each point is well nothing is gathered: the first period begins with the first point that is not
    cleared   when nothing breached for the hold: three periods, 10 s at least
    flapping  raised again within 10 minutes of having been cleared: the hold is twice as long each time, up to 5 minutes

So a condition that comes and goes becomes one long alarm: in any 10 minutes a rule is raised `MOST_IN_10_MIN` times at one place at most.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from firmware.alarms.board import State
from firmware.alarms.rules import Rule

SHORTEST_HOLD_S = 10.0
LONGEST_HOLD_S = 300.0
FLAP_S = 600.0
MOST_FLAPS = 10  # more make no longer hold
MOST_IN_10_MIN = 7
JITTER_S = 0.25  # looks are a second apart, more or less
GAP_S = 5.0  # what was gathered before a longer one says nothing

Change = Literal["raised", "cleared"]


class Judge:
    """One rule at one place. `push` a point each second, None where there should be one and is none."""

    __slots__ = (
        "_calm",
        "_counted",
        "_highest",
        "_last_breach_s",
        "_lowest",
        "_points",
        "_since_s",
        "_sum",
        "_window",
        "cleared_s",
        "flaps",
        "rule",
        "state",
        "value",
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.state: State = "INSUFFICIENT_DATA"
        self.value: float | None = None  # the statistic that breached last; None: points were missing
        self.flaps = 0
        self.cleared_s = float("-inf")
        self._last_breach_s = float("-inf")
        self._since_s = float("-inf")  # when the period began
        self.become(rule)

    def become(self, rule: Rule) -> None:
        """Another definition: what was gathered says nothing about it. A raised alarm stays until all is well by the new one."""
        self.rule = rule
        self._window: deque[bool] = deque(maxlen=max(rule.periods, rule.of))
        self._begin(self._since_s)
        self._calm = self.state != "ALARM"

    def was_raised(self, now_s: float, flaps: int) -> None:
        """By somebody before us: it is not raised again, and cleared after its hold."""
        self.state, self.flaps, self._last_breach_s, self._calm = "ALARM", flaps, now_s, False

    def was_cleared(self, cleared_s: float, flaps: int) -> None:
        self.state, self.flaps, self.cleared_s = "OK", flaps, cleared_s

    @property
    def calm(self) -> bool:
        """Another point that is well would change nothing."""
        return self._calm and self.state == "OK"

    @property
    def hold_s(self) -> float:
        shortest = float(self.rule.hold_s or max(SHORTEST_HOLD_S, 3 * self.rule.period_s))
        return max(shortest, min(LONGEST_HOLD_S, shortest * (1 << self.flaps)))

    def push(self, now_s: float, value: float | None) -> Change | None:
        if self._calm and value is not None and self._is_well(value):
            self.state, self._since_s = "OK", now_s
            return None
        self._calm = False
        if now_s - self._since_s > self.rule.period_s + GAP_S:
            self._window.clear()
            self._begin(now_s - 1)
            self._last_breach_s = self._since_s  # of a raised alarm: nobody knows how it was meanwhile
        if value is not None:
            self._add(value)
            if not self._counted and self._certain():
                self._count(now_s)
        if now_s - self._since_s >= self.rule.period_s - JITTER_S:
            self._close(now_s)
        return self._judged(now_s)

    def _is_well(self, value: float) -> bool:
        """However many of these a period has, it does not breach."""
        return not self.rule.breached_by(value) and (value == 0 or self.rule.statistic != "Sum")

    def _begin(self, now_s: float) -> None:
        self._since_s = now_s
        self._points, self._counted = 0, False
        self._sum = self._highest = self._lowest = 0.0

    def _add(self, value: float) -> None:
        self._highest = value if not self._points else max(self._highest, value)
        self._lowest = value if not self._points else min(self._lowest, value)
        self._sum += value
        self._points += 1

    @property
    def _figure(self) -> float:
        statistic = self.rule.statistic
        if statistic == "Average":
            return self._sum / self._points
        return self._sum if statistic == "Sum" else self._highest if statistic == "Maximum" else self._lowest

    def _certain(self) -> bool:
        """Whatever else the period brings, it breaches: what is summed are counts, never negative."""
        worse = ("<", "<=") if self.rule.statistic == "Minimum" else (">", ">=")
        return self.rule.statistic != "Average" and self.rule.comparison in worse and self.rule.breached_by(self._figure)

    def _close(self, now_s: float) -> None:
        """The period is over."""
        if not self._points and self.rule.missing == "ignored":
            self._last_breach_s = min(now_s, self._last_breach_s + now_s - self._since_s)  # neither well nor not: the hold stands still
        elif self._counted:
            self._last_breach_s = now_s
            self.value = self._figure
        elif self.rule.breached_by(self._figure) if self._points else self.rule.missing == "breaching":
            self._count(now_s)
        else:
            self._window.append(False)
            self._calm = self.state != "ALARM" and not any(self._window)
            if self.state == "INSUFFICIENT_DATA":
                self.state = "OK"
        self._begin(now_s)

    def _count(self, now_s: float) -> None:
        """A period that breaches."""
        self._counted = True
        self._window.append(True)
        self._last_breach_s = now_s
        self.value = self._figure if self._points else None

    def _judged(self, now_s: float) -> Change | None:
        if self.state == "ALARM":
            if now_s - self._last_breach_s < self.hold_s:
                return None
            self.state, self.cleared_s = "OK", now_s
            self._window.clear()
            self._calm = True
            return "cleared"
        if sum(self._window) < self.rule.periods:
            return None
        self.state = "ALARM"
        self.flaps = min(MOST_FLAPS, self.flaps + 1) if now_s - self.cleared_s <= FLAP_S else 0
        return "raised"
