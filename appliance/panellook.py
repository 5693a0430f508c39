"""What there is to know, from the files in which it lies: snapshots, definitions, the board of alarms, /sys. It only reads."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from appliance.boxstate import JUST_NOW_S, Known, Told, faults
from appliance.lights import Doing, Fault
from firmware.alarms.board import Board, board_path
from firmware.alarms.world import Stamp, copy_of, read_copy, stamp
from firmware.boxwatch import BoxStatus
from firmware.model import Camera, Flow, FlowError
from firmware.places import Places
from firmware.status import STALE_S, CaptureStatus, FlowStatus, read_snapshot
from hw.network import Network, read_network
from hw.strain import Finding

T = TypeVar("T", bound=msgspec.Struct)

FORGOTTEN_S = 60.0  # a flow that nobody wants and that tells nothing
ENGINE_SILENT_S = 5.0  # it writes something every second
STARTING_S = 60.0
BOX_HOLDS_S = 20.0
FOLDER_EVERY_S = 1.0
DOING_HOLDS_S = 15.0


class Doings(msgspec.Struct, kw_only=True):
    """`doing.json`, written every few seconds by whatever sets the box up or updates it."""

    doing: Doing


class File(Generic[T]):
    """One snapshot. It is news when it was replaced, by a clock that nobody sets: the box's own may jump when it finds the time."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self.path, self.kind = path, kind
        self.value: T | None = None
        self.changed_s = float("-inf")
        self._stamp: Stamp | None = None
        self._first = True

    def look(self, now_s: float) -> None:
        first, self._first = self._first, False
        found = stamp(self.path)
        if found == self._stamp:
            return
        self._stamp = found
        self.value = read_snapshot(self.path, self.kind) if found else None
        if self.value is None:
            self.changed_s = float("-inf")
        elif first:  # it may lie there since long ago
            self.changed_s = now_s - max(0.0, time.time() - found[1] / 1e9) if found else float("-inf")
        else:
            self.changed_s = now_s

    def age_s(self, now_s: float) -> float:
        return now_s - self.changed_s

    def fresh(self, now_s: float, within_s: float = STALE_S) -> T | None:
        return self.value if self.age_s(now_s) <= within_s else None


class Look:
    """`known` as often as one likes; what costs something is asked for now and then."""

    def __init__(
        self,
        places: Places,
        *,
        flow: str = "",
        root: Path = Path("/"),
        began_s: float,  # all times are of one clock, which only runs forward
        patience_s: float = STARTING_S,  # for the engine's first word
    ) -> None:
        self.places, self.wanted_flow, self.root = places, flow, root
        self._patience_s = patience_s
        self._began_s = began_s - (STARTING_S - patience_s)
        self._board = File(board_path(places.run), Board)
        self._box = File(places.box, BoxStatus)
        self._doing = File(places.run / "doing.json", Doings)
        self._flows: dict[str, File[FlowStatus]] = {}
        self._captures: dict[str, File[CaptureStatus]] = {}
        self._definitions: dict[str, tuple[Flow, bool]] = {}
        self._store_stamp: Stamp | None = None
        self._folder_s = float("-inf")
        self._network = Network()
        self._findings: tuple[Finding, ...] = ()
        self._heard_s = float("-inf")
        self._live: tuple[str, float] | None = None  # name and start of the flow whose camera was seen
        self._losses: dict[str, deque[tuple[float, int]]] = {}
        self.seen: dict[Fault, float] = {}  # acknowledged, and when they were there last

    def known(self, now_s: float) -> Known:
        self._look_around(now_s)
        told = self._told(now_s)
        silent_s = now_s - max(self._heard_s, self._began_s)
        board = self._board.fresh(now_s, 15.0)
        return Known(
            told=told,
            doing=self._what_it_does(now_s),
            engine_silent_s=max(0.0, silent_s - ENGINE_SILENT_S),
            network=self._network,
            findings=self._findings,
            alarms=tuple(f"{alarm.alarm}, {alarm.place}" for alarm in board.active) if board else (),
            seen=frozenset(self.seen),
        )

    def note(self, known: Known, now_s: float) -> None:
        """An acknowledged fault that is gone for a minute is a new one when it comes back."""
        for fault in faults(known):
            if fault in self.seen:
                self.seen[fault] = now_s
        self.seen = {fault: at for fault, at in self.seen.items() if now_s - at < FORGOTTEN_S}

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self._findings

    def _look_around(self, now_s: float) -> None:
        if now_s - self._folder_s >= FOLDER_EVERY_S:
            self._folder_s = now_s
            self._read_definitions()
            self._find_flows()
            self._doing.look(now_s)
            self._board.look(now_s)
            self._box.look(now_s)
            box = self._box.fresh(now_s, BOX_HOLDS_S)
            self._findings = tuple(box.findings) if box else ()
            self._network = box.network if box and box.network else read_network(self.root)
        for name, file in self._flows.items():
            file.look(now_s)
            self._captures[name].look(now_s)
        news = [self._board.changed_s, self._box.changed_s, *(file.changed_s for file in self._flows.values())]
        self._heard_s = max(self._heard_s, *news)

    def _what_it_does(self, now_s: float) -> Doing:
        doing = self._doing.fresh(now_s, DOING_HOLDS_S)
        if doing is not None:
            return doing.doing
        never = self._heard_s == float("-inf") or self._heard_s < self._began_s - ENGINE_SILENT_S
        return "starting" if never and now_s - self._began_s < self._patience_s else "running"

    def _read_definitions(self) -> None:
        copy = copy_of(self.places.store)
        now = stamp(copy)
        if now == self._store_stamp:
            return
        with suppress(sqlite3.Error, FlowError, ValueError, OSError):  # between two copies; the next look finds the new one
            found = read_copy(copy) if now else []
            self._definitions = {kept.flow.name: (kept.flow, kept.desired == "ACTIVE") for kept in found}
            self._store_stamp = now

    def _find_flows(self) -> None:
        with suppress(OSError):
            names = {path.name.removesuffix(".flow.json") for path in self.places.run.glob("*.flow.json")}
            for name in names - set(self._flows):
                self._flows[name] = File(self.places.snapshot(name), FlowStatus)
                self._captures[name] = File(self.places.capture_snapshot(name), CaptureStatus)
            for name in set(self._flows) - names:
                del self._flows[name], self._captures[name]

    def _chosen(self, now_s: float) -> str:
        """The flow that is named; else of those with a camera one that should run, else the first."""
        if self.wanted_flow:
            return self.wanted_flow
        defined = {
            name: wanted for name, (flow, wanted) in self._definitions.items() if any(isinstance(one, Camera) for one in flow.sources)
        }
        passing = {
            name: True
            for name, file in self._flows.items()
            if name not in self._definitions and file.value and file.value.picture is not None and file.age_s(now_s) < FORGOTTEN_S
        }
        return min(defined | passing, key=lambda name: (not (defined | passing)[name], name), default="")

    def _told(self, now_s: float) -> Told:
        name = self._chosen(now_s)
        if not name:
            return Told()
        flow, wanted = self._definitions.get(name, (None, False))
        file, capture = self._flows.get(name), self._captures.get(name)
        status = file.fresh(now_s) if file else None
        gone = status is not None and not _lives(status.pid)
        if gone:
            status = None  # at once, not when it is old
        if flow is None and file is not None and status is None and file.value is not None:
            wanted = file.value.state == "ACTIVE" and file.age_s(now_s) < FORGOTTEN_S
        if status is not None:
            self._follow(status, now_s)
        return Told(
            name=name,
            flow=flow,
            wanted=wanted,
            status=status,
            silent_s=0.0 if status else now_s - max(self._began_s, file.changed_s if file else self._began_s),
            gone=gone,
            capture=capture.fresh(now_s) if capture else None,
            was_live=status is not None and self._live == (status.name, status.started_at),
            strained=frozenset(end for end, losses in self._losses.items() if losses and losses[-1][1] > losses[0][1]),
        )

    def _follow(self, status: FlowStatus, now_s: float) -> None:
        if status.picture == "live" or any(end.protocol == "camera" and end.packets for end in status.sources):
            self._live = (status.name, status.started_at)
        self._losses = {end.name: self._losses.get(end.name, deque()) for end in status.outputs}
        for end in status.outputs:
            losses, troubles = self._losses[end.name], end.repaired + end.lost + end.dropped
            if losses and troubles < losses[-1][1]:  # another worker counts from 0
                losses.clear()
            losses.append((now_s, troubles))
            while now_s - losses[0][0] > JUST_NOW_S:
                losses.popleft()


def _lives(pid: int) -> bool:
    """Whether the writer of a snapshot is there; 0 is the engine, which tells for flows that have no worker."""
    try:
        if pid > 0:
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
