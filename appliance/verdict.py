"""What a flow's figures amount to: one state in words, how loud to say it, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from appliance.account import IN_THE_CLEAR
from appliance.capturewords import worries
from firmware.status import CaptureStatus, EndStatus, FlowStatus

Tone = Literal["good", "warn", "bad", "idle"]
SKEW_OF_WINDOW = 0.5  # beyond this a little more delay on the slower path costs packets
SINCE_S = 10  # how long a loss keeps a flow at risk


@dataclass(frozen=True, slots=True)
class Verdict:
    word: str
    tone: Tone
    reasons: tuple[str, ...] = ()


def judge(status: FlowStatus | None, desired: str, age_s: float, just_lost: int, capture: CaptureStatus | None = None) -> Verdict:
    """`just_lost` counts packets that the picture lost within the last `SINCE_S` seconds."""
    if status is None:
        if desired == "ACTIVE":
            return Verdict("NOT RUNNING", "bad", ("it should run, and no worker reports",))
        return Verdict("STANDBY", "idle")
    if status.stale:
        if desired == "STANDBY":
            return Verdict("STANDBY", "idle")
        return Verdict("NO NEWS", "bad", (f"the last news is {age_s:.0f} s old: its worker hangs or is gone",))
    if status.state != "ACTIVE":
        tone: Tone = "bad" if status.state == "ERROR" else "idle"
        return Verdict(status.state, tone, (status.message,) if status.message else ())
    verdict = _on_air(status, worries(capture) if capture else ()) if status.picture is not None else _received(status, just_lost)
    return _alarmed(verdict, status.alarms)


def _alarmed(verdict: Verdict, alarms: Iterable[str]) -> Verdict:
    """With what the flow itself says somebody should know. Sending in the clear on purpose puts no picture at risk."""
    fresh = [alarm for alarm in alarms if not any(alarm in reason or reason in alarm for reason in verdict.reasons)]
    if verdict.tone == "bad":
        fresh = [alarm for alarm in fresh if not alarm.startswith("the stream:")]  # of which there is none
    if verdict.word == "LIVE" and any(IN_THE_CLEAR not in alarm for alarm in fresh):
        verdict = replace(verdict, word="AT RISK", tone="warn")
    return replace(verdict, reasons=(*verdict.reasons, *fresh))


def _on_air(status: FlowStatus, camera_says: tuple[str, ...]) -> Verdict:
    """A flow with a camera. That it arrives is what its paths hear from the far end, not that they send."""
    used = [end for end in status.outputs if end.state != "off"]
    trouble = tuple(why(end) for end in used if end.state in ("connecting", "failed"))
    trouble = (*camera_says, *trouble)
    if status.picture == "none":
        return Verdict("NO PICTURE", "bad", ("the camera gives nothing and there is no slate to send", *trouble))
    if not any(end.state == "connected" for end in used):
        return Verdict("NOT ARRIVING", "bad", trouble or ("nobody has called for it yet",))
    if status.picture == "slate":
        return Verdict("SLATE", "warn", ("the camera gives no picture; the slate is sent instead", *trouble))
    return Verdict("AT RISK", "warn", trouble) if trouble else Verdict("LIVE", "good")


def _received(status: FlowStatus, just_lost: int) -> Verdict:
    merge = status.merge
    silent = tuple(why(end) for end in status.sources if end.state != "connected")
    if len(silent) == len(status.sources):
        return Verdict("NOT ARRIVING", "bad", silent)
    if status.rate_bps <= 0:
        return Verdict("NOT ARRIVING", "bad", ("connected, but nothing comes", *silent))
    reasons = [*silent, *(why(end) for end in status.outputs if end.state in ("connecting", "failed"))]
    if merge and merge.state == "one leg" and not silent:
        reasons.insert(0, merge.message or "only one of the two copies is used")
    if merge and merge.skew_ms is not None and merge.window_ms and abs(merge.skew_ms) > merge.window_ms * SKEW_OF_WINDOW:
        reasons.append(f"the copies are {abs(merge.skew_ms):.0f} ms apart; the merge waits at most {merge.window_ms} ms")
    if just_lost:
        reasons.insert(0, f"{just_lost} packet{'s' * (just_lost != 1)} lost within the last {SINCE_S} s")
    return Verdict("AT RISK", "warn", tuple(reasons)) if reasons else Verdict("LIVE", "good")


def why(end: EndStatus) -> str:
    return f"{end.name}: {end.message or end.state}"


def worst(tones: Iterable[Tone]) -> Tone:
    order: list[Tone] = ["idle", "good", "warn", "bad"]
    return max(tones, key=order.index, default="idle")
