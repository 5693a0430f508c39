"""A flow as its snapshots tell it, second by second, and the watcher that looks at it: the clock is the test's own."""

from __future__ import annotations

from typing import Any

import msgspec

from firmware.alarms.board import Alarm, read_alarms
from firmware.alarms.journal import ALARMS, EVENTS, Notice, read
from firmware.alarms.settings import FOLDER
from firmware.alarms.watcher import Config, Watcher
from firmware.places import Places
from firmware.status import Account, EndStatus, FaultStatus, FlowStatus, HealthStatus, MergeStatus, write_snapshot

NOON = 1_800_000_000.0


def end(name: str, state: str = "connected", protocol: str = "srt-caller", rate_bps: float = 1e7, **more: Any) -> EndStatus:
    return EndStatus(name=name, protocol=protocol, state=state, rate_bps=rate_bps if state == "connected" else 0.0, **more)


class Scene:
    """`tick(5, …)`: five seconds in which flow studio is as the arguments say."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.at = NOON
        self.carried = 0
        self.watcher = Watcher(Config(run=str(places.run), state=str(places.state)))

    def new_watcher(self) -> None:
        """One that comes after another, which was killed: nothing of it is left but its files."""
        self.watcher.close()
        self.watcher = Watcher(Config(run=str(self.places.run), state=str(self.places.state)))

    def tick(self, seconds: int = 1, *, lost: int = 0, faults: int = 0, switches: int = 0, silent: bool = False, **more: Any) -> None:
        for _ in range(seconds):
            self.at += 1
            self.carried += 1000
            if not silent:
                write_snapshot(self.places.snapshot("studio"), self.flow(lost, faults, switches, **more))
            self.watcher.look(self.at, self.at - NOON)

    def flow(self, lost: int, faults: int, switches: int, **more: Any) -> FlowStatus:
        told: dict[str, Any] = {
            "sources": [end("path-a", packets=self.carried), end("path-b", packets=self.carried)],
            "outputs": [end("wall", packets=self.carried)],
            "merge": MergeStatus(state="merged", window_ms=200, switches=switches),
            "account": Account(carried=self.carried, lost=lost),
            "started_at": NOON - 3600,
            "pid": 7,
            "state": "ACTIVE",
        } | more
        if faults:
            fault = FaultStatus(name="continuity_count", clause="1.4", count=faults, first_at=NOON, last_at=self.at)
        for one in told["outputs"]:
            one.health = HealthStatus(faults=[fault] if faults else [])
        return FlowStatus(name="studio", at=self.at, rate_bps=1e7, **told)

    @property
    def raised(self) -> dict[str, Alarm]:
        """By name, and by name and end."""
        active = read_alarms(self.places).active
        ours = [alarm for alarm in active if alarm.kind != "host"]
        return {f"{alarm.alarm}/{alarm.end}" if alarm.end else alarm.alarm: alarm for alarm in ours}

    def notices(self) -> list[tuple[str, str]]:
        told = [notice.alarm for notice in read(self.places.state / FOLDER, ALARMS) if notice.alarm]
        return [(alarm.alarm, alarm.state) for alarm in told if alarm.kind != "host"]

    def events(self) -> list[Notice]:
        return [msgspec.structs.replace(notice) for notice in read(self.places.state / FOLDER, EVENTS)]
