"""Rules: which figure, over how long, raises which alarm. The recommended set, and what an operator makes of it."""

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
    "FlowError": Metric("flow", "None", "gauge", "1 while the flow should run and is in ERROR, or its worker hangs"),
    "LockOverrides": Metric("flow", "Count", "count", "somebody unlocked what another one had locked"),
    "SourceOpenToAll": Metric("source", "None", "gauge", "1 where the allowlist of the source admits everybody"),
}
"""Metrics that only alarms know."""
OF_HOST: dict[str, Metric] = {
    "ClockUnsynchronised": Metric("flow", "None", "gauge", "1 while nobody keeps the clock of this box right"),
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


RECOMMENDED: tuple[Rule, ...] = (
    Rule(
        name="no-source",
        metric="Connected",
        statistic="Maximum",
        comparison="<",
        threshold=1,
        period_s=1,
        periods=5,
        missing="breaching",
        severity="critical",
        text="nothing arrives from any source",
        advice="Check that the sender runs and reaches this address and port, and that the allowlist and the passphrase let it in.",
    ),
    Rule(
        name="source-down",
        metric="SourceConnected",
        statistic="Maximum",
        comparison="<",
        threshold=1,
        period_s=1,
        periods=5,
        text="this source delivers nothing",
        advice="Check the path of this source and its sender; with a second source the picture goes on, without protection.",
    ),
    Rule(
        name="source-bitrate-low",
        metric="SourceBitRate",
        comparison="<",
        threshold=300_000,
        period_s=10,
        text="this source brings less than a picture takes",
        advice="Look at the encoder's bitrate and at the path's capacity; set the threshold to what this flow should carry.",
    ),
    Rule(
        name="not-recovered",
        metric="NotRecoveredPackets",
        statistic="Sum",
        comparison=">=",
        threshold=1,
        period_s=10,
        severity="critical",
        text="packets were lost for good",
        advice="Raise the latency or the merge window, add FEC or a second path, or lower the bitrate.",
    ),
    Rule(
        name="path-loss",
        metric="SourcePacketLossPercent",
        comparison=">",
        threshold=2,
        period_s=10,
        periods=3,
        text="this path loses packets, although they are repaired so far",
        advice="Look for what else loads this path before the repair no longer suffices.",
    ),
    Rule(
        name="merge-lost",
        metric="MergeActive",
        statistic="Maximum",
        comparison="<",
        threshold=1,
        period_s=1,
        periods=5,
        text="the stream has one path only",
        advice="Bring the other source back: the next fault of the one that is left is seen.",
    ),
    Rule(
        name="failover",
        metric="FailoverSwitches",
        statistic="Sum",
        comparison=">=",
        threshold=1,
        period_s=10,
        text="another source plays",
        advice="Look at the source that played before; `pressbox status` says which one plays now.",
    ),
    Rule(
        name="output-down",
        metric="OutputConnected",
        statistic="Maximum",
        comparison="<",
        threshold=1,
        period_s=1,
        periods=5,
        severity="critical",
        text="this output reaches nobody",
        advice="Check the far end and the path to it; the output goes on trying.",
    ),
    Rule(
        name="output-disconnected",
        metric="OutputDisconnections",
        statistic="Sum",
        comparison=">=",
        threshold=1,
        period_s=10,
        text="this output lost its connection",
        advice="Look at the far end: it hung up, or the path to it was gone for a moment.",
    ),
    Rule(
        name="tr101290-priority-1",
        metric="TR101290Priority1",
        statistic="Sum",
        comparison=">=",
        threshold=1,
        period_s=10,
        severity="critical",
        text="the stream has faults of TR 101 290, priority 1",
        advice="Receivers may show nothing; `pressbox status` names the faults. Look at the encoder, then at the path.",
    ),
    Rule(
        name="flow-error",
        metric="FlowError",
        statistic="Maximum",
        comparison=">=",
        threshold=1,
        period_s=1,
        periods=3,
        of=15,
        missing="ignored",
        severity="critical",
        text="the flow cannot run",
        advice="`pressbox status` says why; it is started again and again until it runs.",
    ),
    Rule(
        name="source-open-to-all",
        metric="SourceOpenToAll",
        statistic="Maximum",
        comparison=">=",
        threshold=1,
        period_s=1,
        text="the allowlist of this source admits every address there is",
        advice="Put the sender's own address into the allowlist in place of 0.0.0.0/0 or ::/0.",
    ),
    Rule(
        name="lock-overridden",
        metric="LockOverrides",
        statistic="Sum",
        comparison=">=",
        threshold=1,
        period_s=10,
        hold_s=900,
        text="a flow that somebody had locked was unlocked by another",
        advice="`pressbox audit --what UnlockFlow` says who did and why; lock it again where the show goes on.",
    ),
    Rule(
        name="clock-unsynchronised",
        metric="ClockUnsynchronised",
        statistic="Minimum",
        comparison=">=",
        threshold=1,
        period_s=10,
        periods=6,
        text="nobody keeps the clock of this box right",
        advice="Let chrony or systemd-timesyncd reach a time server: signatures, the audit log and events need the time.",
    ),
    Rule(
        name="disk-full",
        metric="DiskUsedPercent",
        statistic="Minimum",
        comparison=">=",
        threshold=90,
        period_s=10,
        periods=3,
        severity="critical",
        text="the disk is nearly full",
        advice="Make room: without it no change can be kept and nothing be recorded; the streams go on.",
    ),
)
NAMES = tuple(rule.name for rule in RECOMMENDED)


def _nearest(metric: str) -> str:
    fits = [name for name in EVERY if metric and metric.lower() in name.lower()]
    return f"there are {', '.join(fits)}" if fits else "`pressbox alarm metrics` lists them"
