"""What is wanted, and who overrode a lock: looked at without a lock of the store or the audit log, for nobody shall wait for an alarm."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from firmware.alarms.points import open_to_all
from firmware.audit.chain import parse
from firmware.model import FlowError, parse_flow
from firmware.store import Kept

_UNLOCK = b'"UnlockFlow"'

Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """Changes with the file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Wanted(NamedTuple):
    runs: bool
    open_sources: list[str]
    outputs: dict[str, bool]  # and whether they are enabled


class Definitions:
    """Of every flow, from the copy that the store renews after each change."""

    def __init__(self, store: Path) -> None:
        self._good = copy_of(store)
        self._seen: Stamp | None = None
        self.flows: dict[str, Wanted] = {}

    def look(self) -> None:
        now = stamp(self._good)
        if now == self._seen:
            return
        try:
            self.flows = self._read() if now else {}
            self._seen = now
        except (sqlite3.Error, FlowError, ValueError):
            return  # between two copies; the next look finds the new one

    def _read(self) -> dict[str, Wanted]:
        return {
            kept.flow.name: Wanted(kept.desired == "ACTIVE", open_to_all(kept.flow), {end.name: end.enabled for end in kept.flow.outputs})
            for kept in read_copy(self._good)
        }


def copy_of(store: Path) -> Path:
    return store.with_name(store.name + ".good")


def read_copy(copy: Path) -> list[Kept]:
    """The flows in the store's copy, which is replaced as a whole and never written to."""
    quoted = str(copy).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    with closing(sqlite3.connect(f"file:{quoted}?mode=ro&immutable=1", uri=True)) as db:
        return [Kept(parse_flow(flow), desired, notes) for flow, desired, notes in db.execute("SELECT flow, desired, notes FROM flows")]


class Override(NamedTuple):
    flow: str
    words: str


class Overrides:
    """Follows the audit log: who unlocked what another had locked. It begins after the entry `number`; None: at the end."""

    def __init__(self, audit: Path, number: int | None) -> None:
        self._path = audit
        self._file: BinaryIO | None = None
        self.number = number

    def look(self) -> list[Override]:
        found: list[Override] = []
        if self._file is None:
            self._open()
            if self.number is None:
                self._to_the_end()
        if self._file is not None:
            self._follow(found)
            if not self._is_current():  # it was renamed; this one has been read to its end
                self._file.close()
                self._open()
                self._follow(found)
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self._file = None
        with suppress(OSError):
            self._file = self._path.open("rb")

    def _to_the_end(self) -> None:
        self.number = 0
        self._follow([])

    def _follow(self, found: list[Override]) -> None:
        while self._file is not None and (line := self._file.readline()):
            if not line.endswith(b"\n"):
                self._file.seek(-len(line), os.SEEK_CUR)
                return
            entry = parse(line) if _UNLOCK in line else None
            if entry is None or entry.number <= (self.number or 0):
                continue
            self.number = entry.number
            if entry.what == "UnlockFlow" and entry.outcome == "done" and (words := _overrode(entry.who, entry.before, entry.after)):
                found.append(Override(entry.target, words))

    def _is_current(self) -> bool:
        try:
            return self._file is not None and os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except OSError:
            return True


def _overrode(who: str, before: Any, after: Any) -> str:
    """In words; nothing where he unlocked his own, or what was not locked."""
    if not isinstance(before, dict) or before.get("by") in (None, who):
        return ""
    why = after.get("why", "") if isinstance(after, dict) else ""
    return f"{who} unlocked what {before['by']} had locked until {before.get('until', '')}: {why}"
