"""Notices as the cloud would send them: EventBridge's envelope around MediaConnect's events and CloudWatch's alarm state changes."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.api.arns import ACCOUNT, Arn, id_from
from appliance.api.notes import FlowNotes, notes_of
from firmware.alarms.journal import Notice
from firmware.alarms.world import Stamp, copy_of, read_copy, stamp
from firmware.model import FlowError
from firmware.places import Places

REGION = "local"
MOST_KEPT = 500  # flows, those that are gone among them
_DETAIL_TYPES = {
    "flow-status": "MediaConnect Flow Status Change",
    "flow-health": "MediaConnect Flow Health",
    "source-health": "MediaConnect Source Health",
    "output-health": "MediaConnect Output Health",
    "output-status": "MediaConnect Output Status Change",
    "alert": "MediaConnect Alert",
    "alarm": "CloudWatch Alarm State Change",
}


class Names:
    """ARNs of flows and ends, as the API has them; of those that are gone, as it would make them."""

    def __init__(self, places: Places) -> None:
        self._copy = copy_of(places.store)
        self._seen: Stamp | None = None
        self._notes: dict[str, FlowNotes] = {}

    def resources(self, flow: str, kind: str, end: str) -> list[str]:
        """Of the flow and, where it is one, of the end."""
        if not flow:
            return []
        self._look()
        notes = self._notes.get(flow) or FlowNotes(id=id_from("flow", flow), name=flow)
        if kind not in ("source", "output"):
            return [notes.arn]
        known = (notes.sources if kind == "source" else notes.outputs).get(end)
        return [notes.arn, str(Arn(kind, known.id, known.name) if known else Arn(kind, id_from(kind, flow, end), end))]

    def _look(self) -> None:
        """Those of a flow that was deleted are kept: its last events come after it."""
        now = stamp(self._copy)
        if now is None or now == self._seen:
            return
        try:
            found = {kept.flow.name: notes_of(kept) for kept in read_copy(self._copy)}
            self._notes = found if len(self._notes) > MOST_KEPT else self._notes | found
            self._seen = now
        except (sqlite3.Error, FlowError, msgspec.DecodeError):
            return  # between two copies; the next look finds the new one


def envelope(notice: Notice, names: Names) -> dict[str, Any]:
    kind = notice.alarm.kind if notice.alarm else notice.what.partition("-")[0]
    return {
        "version": "0",
        "id": notice.id,
        "detail-type": _DETAIL_TYPES[notice.what],
        "source": "aws.cloudwatch" if notice.alarm else "aws.mediaconnect",
        "account": ACCOUNT,
        "time": written(notice.at),
        "region": REGION,
        "resources": names.resources(notice.flow, kind, notice.end),
        "detail": _alarm_detail(notice) if notice.alarm else notice.detail,
    }


def _alarm_detail(notice: Notice) -> dict[str, Any]:
    alarm = notice.alarm
    assert alarm is not None  # noqa: S101
    name = "/".join(part for part in (alarm.flow or "host", alarm.alarm, alarm.end) if part)
    return {
        "alarmName": name,
        "state": {"value": alarm.state, "reason": alarm.reason, "timestamp": written(alarm.since)},
        "previousState": {"value": notice.before or "INSUFFICIENT_DATA"},
        "configuration": {"description": alarm.advice, "condition": notice.condition},
        "pressbox": {
            "id": alarm.id,
            "alarm": alarm.alarm,
            "severity": alarm.severity,
            "flow": alarm.flow,
            "kind": alarm.kind,
            "end": alarm.end,
            "raisedAt": written(alarm.raised_at),
        },
    }


def written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
