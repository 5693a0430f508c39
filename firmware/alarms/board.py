"""The board: every alarm that is raised now, and those that were cleared lately. One small file, replaced as a whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec

from firmware.alone import alone
from firmware.places import Places
from firmware.secrets import write_private
from firmware.status import read_snapshot

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]  # CloudWatch's words
Severity = Literal["critical", "warning"]
Kind = Literal["host", "flow", "source", "output"]

STALE_S = 15.0
ACKNOWLEDGEMENTS_KEPT = 5000
BUSY_S = 5.0


class Acknowledged(msgspec.Struct, kw_only=True):
    by: str
    at: float  # Unix time


class Alarm(msgspec.Struct, kw_only=True):
    """One alarm at one place, from when it was raised to when it is forgotten."""

    id: str  # of this time that it was raised; another one the next time
    alarm: str  # name of the rule
    flow: str = ""  # empty: of the host
    kind: Kind
    end: str = ""  # name of the source or output; of the host: which disk
    severity: Severity
    state: State
    since: float  # Unix time at which it came into this state
    raised_at: float
    reason: str  # a sentence with the figure and the threshold
    advice: str  # what to do, a sentence
    acknowledged: Acknowledged | None = None
    flaps: int = 0  # how often it was raised again soon after it had been cleared

    @property
    def active(self) -> bool:
        return self.state == "ALARM"

    @property
    def place(self) -> str:
        """In words: `source path-a of flow studio`."""
        if self.kind == "host":
            return f"the disk of the {self.end} folder" if self.end else "this box"
        return f"flow {self.flow}" if self.kind == "flow" else f"{self.kind} {self.end} of flow {self.flow}"


class Board(msgspec.Struct, kw_only=True):
    at: float = 0.0  # Unix time of the last look; 0: nobody watches
    alarms: list[Alarm] = []  # raised ones first, the critical before the others, the newest first
    number: int = 0  # of the newest notice in the journal that this board knows
    audited: int | None = None  # number of the newest unlocking in the audit log that was looked at

    @property
    def active(self) -> list[Alarm]:
        return [alarm for alarm in self.alarms if alarm.active]

    @property
    def cleared(self) -> list[Alarm]:
        return [alarm for alarm in self.alarms if not alarm.active]

    @property
    def stale(self) -> bool:
        """True while nobody watches."""
        return abs(time.time() - self.at) > STALE_S

    def of_flow(self, name: str) -> list[Alarm]:
        """Those that are raised for this flow and its ends."""
        return [alarm for alarm in self.active if alarm.flow == name]


def board_path(run: Path) -> Path:
    return run / "alarms.json"


def read_alarms(places: Places) -> Board:
    """The board; an empty one where nobody has written one."""
    return read_snapshot(board_path(places.run), Board) or Board()


def acknowledgements_path(run: Path) -> Path:
    return run / "alarms.acknowledged.json"


def read_acknowledgements(run: Path) -> dict[str, Acknowledged]:
    """By the id of the alarm."""
    try:
        return msgspec.json.decode(acknowledgements_path(run).read_bytes(), type=dict[str, Acknowledged])
    except (OSError, msgspec.DecodeError):
        return {}


def acknowledge(places: Places, alarm_id: str, by: str) -> Alarm | None:
    """Somebody has seen it. The board shows that within a second; None where no raised alarm has this id."""
    found = next((alarm for alarm in read_alarms(places).active if alarm.id == alarm_id), None)
    if found is None:
        return None
    path = acknowledgements_path(places.run)
    with alone(path.with_suffix(".lock"), BUSY_S, RuntimeError):
        known = read_acknowledgements(places.run)
        known.setdefault(found.id, Acknowledged(by=by, at=time.time()))
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        write_private(fresh, msgspec.json.encode(dict(list(known.items())[-ACKNOWLEDGEMENTS_KEPT:])))
        fresh.replace(path)
    return found
