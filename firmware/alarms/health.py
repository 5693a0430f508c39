"""What happened to a flow, from snapshot to snapshot, as MediaConnect's EventBridge events say it. No clock and no file.

Of the health of each thing one event in 10 seconds at most is told, and what it is like when those are over: an end that flaps fills no
journal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from firmware.alarms.journal import Notice, What
from firmware.metrics.measure import Dimension, Values
from firmware.status import EndStatus, FlowStatus

AT_MOST_EVERY_S = 10.0
FAULT_LASTS_S = 10.0
_TR_101 = {
    "ts_sync_loss": "TSSyncLoss",
    "continuity_count_error": "ContinuityCounter",
    "transport_error": "TransportError",
    "pcr_error": "PCRError",
}
_Thing = tuple[What, str]


class Health:
    """Of one flow."""

    def __init__(self) -> None:
        self._told: dict[_Thing, dict[str, Any]] = {}
        self._at_s: dict[_Thing, float] = {}
        self._faults_s: dict[tuple[str, str], float] = {}
        self._settled: tuple[object, ...] | None = None  # what all looked like when everything about it was told

    @property
    def state(self) -> str:
        """Of the flow, as it was told last."""
        return str(self._told.get(("flow-status", ""), {}).get("status", "STANDBY"))

    def look(
        self, now_s: float, state: str, status: FlowStatus | None, found: list[tuple[Dimension, Values]], outputs: dict[str, bool]
    ) -> list[Notice]:
        """`state` of the flow as MediaConnect has it; `outputs`: those defined, and whether they are enabled."""
        if status is not None and status.pid:
            self._note_faults(now_s, found)
        looks = (state, outputs, status and (status.state, [end.state for end in (*status.sources, *status.outputs)]))
        if looks == self._settled and not self._faults_s:
            return []
        things: dict[_Thing, dict[str, Any]] = {("flow-status", ""): {"status": state}}
        if status is not None and status.state == "ERROR":
            things["alert", ""] = {"errored": True, "error-code": "FlowError", "error-message": status.message}
        elif ("alert", "") in self._told:
            things["alert", ""] = {"errored": False}
        if status is not None and status.pid and state == "ACTIVE":
            things |= self._of_ends(now_s, status)
        things |= {("output-status", name): {"status": "ENABLED" if on else "DISABLED"} for name, on in outputs.items()}
        notices = list(self._changed(now_s, status, things))
        self._settled = looks if all(self._told[thing] == now for thing, now in things.items()) else None
        return notices

    def _changed(self, now_s: float, status: FlowStatus | None, things: dict[_Thing, dict[str, Any]]) -> Iterator[Notice]:
        for thing in self._told.keys() - things.keys():
            if thing[0] in ("output-status", "source-health", "output-health") and status is not None:
                del self._told[thing]
        for thing, now in things.items():
            before = self._told.get(thing)
            soon = thing[0].endswith("-health") and now_s - self._at_s.get(thing, float("-inf")) < AT_MOST_EVERY_S
            if now == before or (before is not None and soon):
                continue
            self._told[thing] = now
            if before is None and thing[0] != "alert":  # how it is when we come is nothing that happened
                continue
            self._at_s[thing] = now_s
            yield _notice(thing, before or {}, now)

    def _of_ends(self, now_s: float, status: FlowStatus) -> dict[_Thing, dict[str, Any]]:
        things: dict[_Thing, dict[str, Any]] = {}
        for end in status.sources:
            things["source-health", end.name] = {"source_state": _state(end), "tr101": self._tr101(now_s, "Source", end.name)}
        for end in status.outputs:
            things["output-health", end.name] = {"state": _state(end)}
        connected = any(end.state == "connected" for end in status.sources)
        things["flow-health", ""] = {
            "failover_switch": self._faulty(now_s, "", "FailoverSwitches"),
            "source_state": "CONNECTED" if connected else "DISCONNECTED",
            "tr101": self._tr101(now_s, "", ""),
        }
        return things

    def _note_faults(self, now_s: float, found: list[tuple[Dimension, Values]]) -> None:
        over = [fault for fault, at_s in self._faults_s.items() if now_s - at_s >= 2 * FAULT_LASTS_S]
        for fault in over:
            del self._faults_s[fault]
        for (kind, name), values in found:
            if kind == "output":
                continue
            prefix = "Source" if kind == "source" else ""
            for metric in (*(prefix + one for one in _TR_101.values()), *(() if prefix else ("FailoverSwitches",))):
                if values.get(metric):
                    self._faults_s[name, metric] = now_s

    def _faulty(self, now_s: float, name: str, metric: str) -> bool:
        return now_s - self._faults_s.get((name, metric), float("-inf")) < FAULT_LASTS_S

    def _tr101(self, now_s: float, prefix: str, name: str) -> dict[str, bool]:
        return {word: self._faulty(now_s, name, prefix + metric) for word, metric in _TR_101.items()}


def _state(end: EndStatus) -> str:
    return "CONNECTED" if end.state == "connected" else "IDLE" if end.state in ("waiting", "off") else "DISCONNECTED"


def _notice(thing: _Thing, before: dict[str, Any], now: dict[str, Any]) -> Notice:
    what, end = thing
    if what in ("flow-status", "output-status"):
        detail: dict[str, Any] = {"currentStatus": now["status"], "previousStatus": before["status"]}
    elif what == "alert":
        detail = now
    else:
        detail = {"current": now, "previous": before}
        if what != "output-health":
            detail = {"unhealthy": _unhealthy(now), **detail}
    return Notice(what=what, at=0.0, end=end, detail=detail)


def _unhealthy(now: dict[str, Any]) -> bool:
    return now["source_state"] != "CONNECTED" or any(now["tr101"].values())
