"""What alarms look at: the metrics of a flow, and some more that only alarms know. No clock and no file but the disks' own figures."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Container, Iterable
from pathlib import Path

import msgspec

from firmware.alarms.rules import PRIORITY_1, Rule
from firmware.boxwatch import BoxStatus
from firmware.metrics.measure import TR_101_290, Dimension, Values, readings
from firmware.model import Flow
from firmware.status import CaptureStatus, EndStatus, FlowStatus
from firmware.wire.checks import CHECKS
from hw.clock import synchronised
from hw.encoder import INSTEAD

HostPlace = tuple[str, str]
"""Kind `host` and which disk, or nothing."""
OF_CONNECTION = ("OutputConnected", "OutputDisconnections")
"""Metrics of an output that say nothing new while it stays connected."""
_WAITS_FOR_CALLERS = "srt-listener"


def points(
    before: FlowStatus | None, now: FlowStatus, open_sources: Iterable[str], calm: Container[str] = ()
) -> list[tuple[Dimension, Values]]:
    """All that can be told of a flow that runs. What does not apply is not there: an alarm on it stays silent.

    Of a `calm` output that is and was connected nothing is told: to measure fifty costs more than all else.
    """
    told = _worth_telling(before, now, calm)
    found = readings(before, told)
    if told is not now:
        found[0][1]["ConnectedOutputs"] = float(sum(end.state == "connected" for end in now.outputs))
    ends = {("source", end.name): end for end in now.sources} | {("output", end.name): end for end in now.outputs}
    for dimension, values in found:
        kind, name = dimension
        if kind == "flow":
            values["FlowError"] = 0.0
            if values["Connected"] and PRIORITY_1[0] in values:
                values["TR101290Priority1"] = sum(values[metric] for metric in PRIORITY_1)
            if now.merge and now.merge.window_ms and "MergeLatency" in values:
                values["MergeWindowUsedPercent"] = 100 * values["MergeLatency"] / now.merge.window_ms
        elif kind == "source":
            values["SourceOpenToAll"] = float(name in open_sources)
            if not values["SourceConnected"]:  # that it brings nothing is said already
                del values["SourceBitRate"]
        elif _nobody_called(ends[dimension]):
            del values["OutputConnected"]
    return found


def _worth_telling(before: FlowStatus | None, now: FlowStatus, calm: Container[str]) -> FlowStatus:
    """Without the calm outputs, but with the first, whose health is that of the stream."""
    if before is None:
        return now
    stayed = {end.name for end in before.outputs if end.state == "connected" and end.name in calm}
    outputs = [end for place, end in enumerate(now.outputs) if not place or end.state != "connected" or end.name not in stayed]
    return now if len(outputs) == len(now.outputs) else msgspec.structs.replace(now, outputs=outputs)


def _nobody_called(end: EndStatus) -> bool:
    """A listening output that waits: whether somebody should be there only he knows."""
    return end.protocol == _WAITS_FOR_CALLERS and end.state == "waiting"


def capture_points(capture: CaptureStatus, picture: str | None) -> Values:
    """Of a flow with a camera; `picture` is what leaves it."""
    return {
        "CameraMissing": float(picture in ("slate", "none")),
        "PictureBlack": float(capture.picture == "black"),
        "PictureFrozen": float(capture.picture == "frozen"),
        "SoundSilent": float(capture.sound == "silent"),
        "EncoderReplaced": float(capture.encoder_why.startswith(INSTEAD)),
    }


def open_to_all(flow: Flow) -> list[str]:
    """Sources that admit every address."""
    return [
        source.name for source in flow.sources if any(ipaddress.ip_network(block).prefixlen == 0 for block in getattr(source, "allow", ()))
    ]


def host_points(state: Path, run: Path, box: BoxStatus | None = None) -> list[tuple[HostPlace, Values]]:
    found: list[tuple[HostPlace, Values]] = [(("host", ""), {"ClockUnsynchronised": float(not synchronised())})]
    if box is not None:
        kinds = {finding.kind for finding in box.findings}
        found[0][1]["UnderVoltage"] = float("under-voltage" in kinds)
        found[0][1]["BoardStrained"] = float(bool(kinds & {"hot", "slowed"}))
    for name, folder in (("state", state), ("run", run)):
        used = used_percent(folder)
        if used is not None:
            found.append((("host", name), {"DiskUsedPercent": used}))
    return found


def used_percent(folder: Path) -> float | None:
    """Of what this process may fill, as df tells it."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    used = disk.f_blocks - disk.f_bfree
    return 100 * used / (used + disk.f_bavail) if used + disk.f_bavail else None


def words(rule: Rule, end: str, status: FlowStatus | None) -> str:
    """What the flow itself says about it, for the end of the reason."""
    if status is None:
        return ""
    if rule.kind in ("source", "output"):
        found = next((one for one in (status.sources if rule.kind == "source" else status.outputs) if one.name == end), None)
        return found.message if found else ""
    if rule.metric == "TR101290Priority1":
        health = status.outputs[0].health if status.outputs else status.sources[0].health if status.sources else None
        checks = {check for metric in PRIORITY_1 for check in TR_101_290[metric]}
        told = [f"{fault.name} ({CHECKS[fault.name].number})" for fault in health.faults if fault.name in checks] if health else []
        return "so far " + ", ".join(told) if told else ""
    if rule.metric == "FlowError":
        return status.message
    return status.merge.message if status.merge and rule.metric in ("MergeActive", "FailoverSwitches") else ""
