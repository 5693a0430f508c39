"""Rules: which figure, over how long, raises which alarm."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from firmware.alarms.board import Kind, Severity
from firmware.metrics.measure import METRICS, TR_101_290, Metric

Statistic = Literal["Average", "Minimum", "Maximum", "Sum"]
Comparison = Literal["<", "<=", ">", ">="]
Missing = Literal["breaching", "ignored", "not breaching"]

PRIORITY_1 = ("TSSyncLoss", "TSByteError", "PATError", "ContinuityCounter", "PMTError", "PIDError")
assert set(PRIORITY_1) <= TR_101_290.keys()  # noqa: S101

OWN: dict[str, Metric] = {
    "TR101290Priority1": Metric("flow", "Count", "count", "faults of TR 101 290, priority 1, while a source is connected"),
    "MergeWindowUsedPercent": Metric("flow", "Percent", "gauge", "MergeLatency, of the window that the merge waits"),
    "FlowError": Metric("flow", "None", "gauge", "1 while the flow should run and is in ERROR, or its worker hangs"),
    "CameraMissing": Metric("flow", "None", "gauge", "1 while the flow's camera gives no picture, and the slate plays"),
    "PictureBlack": Metric("flow", "None", "gauge", "1 while the camera's picture is black, for three seconds or more"),
    "PictureFrozen": Metric("flow", "None", "gauge", "1 while nothing moves in the camera's picture, for ten seconds or more"),
    "SoundSilent": Metric("flow", "None", "gauge", "1 while the camera's or microphone's sound is silent, for ten seconds or more"),
    "EncoderReplaced": Metric("flow", "None", "gauge", "1 while software encodes in place of hardware that failed"),
    "LockOverrides": Metric("flow", "Count", "count", "somebody unlocked what another one had locked"),
    "SourceOpenToAll": Metric("source", "None", "gauge", "1 where the allowlist of the source admits everybody"),
}
"""Metrics that only alarms know."""
OF_HOST: dict[str, Metric] = {
    "ClockUnsynchronised": Metric("flow", "None", "gauge", "1 while nobody keeps the clock of this box right"),
    "UnderVoltage": Metric("flow", "None", "gauge", "1 while the board's supply is too weak, where the board tells"),
    "BoardStrained": Metric("flow", "None", "gauge", "1 while the board is hot or slows itself down, where it tells"),
    "DiskUsedPercent": Metric("flow", "Percent", "gauge", "of the disk with the state folder, and of that with the run folder"),
}
EVERY = METRICS | OWN | OF_HOST


def kind_of(metric: str) -> Kind:
    return "host" if metric in OF_HOST else EVERY[metric].of


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Breached where `statistic` of `metric` over `period_s` compares so to `threshold`, in `periods` of the last `of` periods."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    metric: str
    statistic: Statistic = "Average"
    comparison: Comparison
    threshold: float
    period_s: Annotated[int, Meta(ge=1, le=3600)] = 10
    periods: Annotated[int, Meta(ge=1, le=60)] = 1
    of: Annotated[int, Meta(ge=0, le=60)] = 0
    """0: as many as `periods`."""
    missing: Missing = "ignored"
    severity: Severity = "warning"
    hold_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    """How long all must be well before it is cleared; 0: three periods, 10 s at least."""
    flows: str = "*"
    end: str = "*"
    text: Annotated[str, Meta(max_length=200)] = ""
    advice: Annotated[str, Meta(max_length=300)] = ""

    def __post_init__(self) -> None:
        if self.metric not in EVERY:
            raise ValueError(f"metric: `{self.metric}` is unknown; {_nearest(self.metric)}")
        if self.of and self.of < self.periods:
            raise ValueError(f"of: {self.of} is less than `periods`, {self.periods}; {self.periods} of the last {self.of} can never breach")
        if self.threshold != self.threshold or abs(self.threshold) == float("inf"):
            raise ValueError("threshold: it is not a number")

    @property
    def kind(self) -> Kind:
        return kind_of(self.metric)

    def covers(self, flow: str, end: str) -> bool:
        return fnmatchcase(flow, self.flows) and fnmatchcase(end, self.end)

    def breached_by(self, value: float) -> bool:
        if self.comparison == "<":
            return value < self.threshold
        if self.comparison == "<=":
            return value <= self.threshold
        return value > self.threshold if self.comparison == ">" else value >= self.threshold

    @property
    def condition(self) -> str:
        """`Sum of NotRecoveredPackets >= 1 over 10 s`."""
        often = f", {self.periods} of {self.of} times" if self.of > self.periods else f", {self.periods} times running"
        over = f"{self.statistic} of {self.metric} {self.comparison} {figure(self.threshold, self.metric)} over {self.period_s} s"
        return over + (often if self.periods > 1 or self.of > 1 else "")


def figure(value: float, metric: str) -> str:
    """With its unit, short."""
    unit = EVERY[metric].unit
    if unit == "Bits/Second":
        return f"{value / 1e6:.4g} Mb/s" if abs(value) >= 1e6 else f"{value / 1e3:.4g} kb/s"
    return f"{value:.4g}" + {"Milliseconds": " ms", "Percent": " %"}.get(unit, "")


def reason(rule: Rule, value: float | None) -> str:
    """Why it was raised, with the figure and the threshold."""
    what = rule.text or f"{rule.metric} is out of bounds"
    if value is None:
        return f"{what}: {rule.metric} is missing"
    was = f"{rule.statistic} of {rule.metric} was {figure(value, rule.metric)} over {rule.period_s} s"
    return f"{what}: {was}; the alarm is at {rule.condition}"


def _nearest(metric: str) -> str:
    fits = [name for name in EVERY if metric and metric.lower() in name.lower()]
    return f"there are {', '.join(fits)}" if fits else "`pressbox alarm metrics` lists them"
