"""Desired state: which flows there are and which of them should run.

    pressbox.db        SQLite, WAL, synchronous=FULL. Opened for each call and closed again, so that no process
                       ever holds a file that another one has replaced.
    pressbox.db.good   A whole copy, renewed after each change.
    pressbox.db.lock   Held (flock) during each call, by readers too: they may find damage and put things right.

SQLite notices a torn page but not a changed byte inside a value, and takes an empty file for a new database. So the
content carries its own digest, and a database that is behind its copy counts as damaged too: a torn write-ahead log
silently loses changes that were acknowledged.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from firmware.alone import alone
from firmware.model import Flow, FlowError, dump_flow, parse_flow
from firmware.private import open_private
from firmware.secrets import sync_folder

SCHEMA_VERSION = 2
BUSY_S = 5.0

Desired = Literal["ACTIVE", "STANDBY"]

_SCHEMA = """
CREATE TABLE flows (
    name TEXT PRIMARY KEY, flow BLOB NOT NULL, desired TEXT NOT NULL, notes BLOB NOT NULL DEFAULT x''
) WITHOUT ROWID, STRICT;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;
"""
_UPGRADES = {1: "ALTER TABLE flows ADD COLUMN notes BLOB NOT NULL DEFAULT x''"}  # from this version to the next
_ROWS = {1: "SELECT name, flow, desired FROM flows ORDER BY name", 2: "SELECT name, flow, desired, notes FROM flows ORDER BY name"}
_NOT_DAMAGE = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_CANTOPEN",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_READONLY",
    "SQLITE_PERM",
    "SQLITE_NOMEM",
)

_log = logging.getLogger("pressbox.store")


class StoreError(RuntimeError):
    """Desired state that cannot be read or changed. The message says what would be right."""


class UnknownFlow(StoreError):
    """There is no flow of that name."""


class _Damaged(Exception):
    """Why the content cannot be trusted."""


@dataclass(frozen=True, slots=True)
class Kept:
    flow: Flow
    desired: Desired
    notes: bytes = b""
    """What a caller keeps beside the definition; nothing here reads it."""


Make = Callable[[Sequence[Kept]], Kept]
Become = Callable[[Kept, Sequence[Kept]], Kept | None]


class Store:
    """Every call stands alone and may come from any thread or process. `notices` tells, in sentences, what was put right on the way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.good = path.with_name(path.name + ".good")
        self.notices: list[str] = []

    @property
    def revision(self) -> int:
        """Goes up by one with each change."""
        with self._open() as db:
            return _revision(db)

    def list(self) -> list[Kept]:
        with self._open() as db:
            return _all(db)

    def get(self, name: str) -> Kept:
        with self._open() as db:
            row = db.execute("SELECT flow, desired, notes FROM flows WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise _unknown(name)
        return _kept(*row)

    def create(self, flow: Flow, desired: Desired = "STANDBY") -> None:
        _check_desired(desired)
        self.add(lambda _: Kept(flow, desired))

    def add(self, make: Make) -> Kept:
        """What `make` makes, which sees all that there are: nothing changes between its look and the change. What it raises undoes all."""
        with self._change() as db:
            made = make(_all(db))
            try:
                db.execute("INSERT INTO flows VALUES (?, ?, ?, ?)", (made.flow.name, dump_flow(made.flow), made.desired, made.notes))
            except sqlite3.IntegrityError:
                raise StoreError(f"there is a flow `{made.flow.name}` already; choose another name, or delete that one first") from None
        return made

    def change(self, name: str, become: Become) -> Kept | None:
        """What `become` makes of the flow, which is given it and all others; None deletes it. What it raises undoes all."""
        with self._change() as db:
            every = _all(db)
            before = next((one for one in every if one.flow.name == name), None)
            if before is None:
                raise _unknown(name)
            after = become(before, [one for one in every if one is not before])
            if after is None:
                db.execute("DELETE FROM flows WHERE name = ?", (name,))
            else:
                row = dump_flow(after.flow), after.desired, after.notes, name
                db.execute("UPDATE flows SET flow = ?, desired = ?, notes = ? WHERE name = ?", row)
        return after

    def replace(self, flow: Flow) -> None:
        """Another definition for the flow of this name; whether it should run stays."""
        with self._change() as db:
            if not db.execute("UPDATE flows SET flow = ? WHERE name = ?", (dump_flow(flow), flow.name)).rowcount:
                raise _unknown(flow.name)

    def delete(self, name: str) -> None:
        with self._change() as db:
            if not db.execute("DELETE FROM flows WHERE name = ?", (name,)).rowcount:
                raise _unknown(name)

    def set_desired(self, name: str, desired: Desired) -> None:
        _check_desired(desired)
        with self._change() as db:
            if not db.execute("UPDATE flows SET desired = ? WHERE name = ?", (desired, name)).rowcount:
                raise _unknown(name)

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                revision = _revision(db) + 1
                db.execute("UPDATE state SET revision = ?, digest = ?", (revision, _digest(db, revision)))
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
            self._copy(db)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, whole and ours alone; put right first where it must be."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self.path.with_name(self.path.name + ".lock")
            with alone(lock, BUSY_S, lambda why: StoreError(f"the store is busy: {why}")), closing(self._whole()) as db:
                yield db
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.path} cannot be used: {error}") from None
        except OSError as error:
            raise StoreError(f"the store {self.path} cannot be used: {error.strerror}") from None

    def _whole(self) -> sqlite3.Connection:
        good = self._good_revision()
        size = self.path.stat().st_size if self.path.exists() else 0
        if not size and not self.good.exists():
            return self._create()
        try:
            if not size:
                raise _Damaged("it is empty" if self.path.exists() else "it is gone")
            db = _connect(self.path)
            try:
                revision = _check(db)
                if good is not None and good > revision:
                    raise _Damaged(f"it is at change {revision} and its copy at change {good}")
            except BaseException:
                db.close()
                raise
        except _Damaged as why:
            self._recover(str(why), good)
            db = _connect(self.path)
        if self._upgrade(db) or good is None:
            self._copy(db)
        return db

    def _create(self) -> sqlite3.Connection:
        os.close(open_private(self.path, os.O_CREAT | os.O_RDWR))
        db = _connect(self.path)
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";")[:-1]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("INSERT INTO state VALUES (1, 0, ?)", (_digest(db, 0),))
        db.execute("COMMIT")
        self._copy(db)
        return db

    def _upgrade(self, db: sqlite3.Connection) -> bool:
        """From an earlier version's layout. True when there was something to do."""
        version = _version(db)
        for step in range(version, SCHEMA_VERSION):
            db.execute("BEGIN IMMEDIATE")
            db.execute(_UPGRADES[step])
            db.execute(f"PRAGMA user_version = {step + 1}")
            revision = _revision(db)
            db.execute("UPDATE state SET digest = ?", (_digest(db, revision),))
            db.execute("COMMIT")
        return version < SCHEMA_VERSION

    def _good_revision(self) -> int | None:
        """The change that the copy holds, or None where there is no copy that can be trusted."""
        try:
            with closing(sqlite3.connect(f"file:{_quoted(self.good)}?mode=ro&immutable=1", uri=True)) as db:
                return _check(db)
        except (_Damaged, sqlite3.Error, StoreError):
            return None

    def _recover(self, why: str, good: int | None) -> None:
        if good is None:
            raise StoreError(
                f"the store {self.path} is damaged ({why}) and has no copy that is whole; put a backup in its place, "
                f"or move it away to start without flows"
            )
        aside = self.path.with_name(f"{self.path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        for suffix in ("", "-wal"):  # a log left behind would be played into the copy
            with suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
        Path(f"{self.path}-shm").unlink(missing_ok=True)
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.unlink(missing_ok=True)
        os.close(open_private(fresh, os.O_CREAT | os.O_RDWR))
        shutil.copyfile(self.good, fresh)
        _sync(fresh)
        os.replace(fresh, self.path)
        sync_folder(self.path.parent)
        kept = f" and is kept as {aside.name}" if aside.exists() else ""
        self._say(f"the store {self.path} was damaged ({why}){kept}; the copy of its last change, number {good}, took its place")

    def _copy(self, db: sqlite3.Connection) -> None:
        """Renew the good copy. The change itself stands even where this fails."""
        fresh = self.good.with_name(self.good.name + ".new")
        try:
            fresh.unlink(missing_ok=True)
            os.close(open_private(fresh, os.O_CREAT | os.O_RDWR))
            with closing(sqlite3.connect(fresh)) as target:
                db.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")  # so that the copy is one file
            _sync(fresh)
            os.replace(fresh, self.good)
            sync_folder(self.good.parent)
        except (sqlite3.Error, OSError) as error:
            self._say(f"the change is kept, but the copy {self.good} could not be renewed: {error}")

    def _say(self, sentence: str) -> None:
        self.notices.append(sentence)
        _log.warning("%s", sentence)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        db.close()
        raise _as_damage(error) from None
    return db


def _check(db: sqlite3.Connection) -> int:
    """The revision, once file and content have proved whole."""
    try:
        said = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise _Damaged(" ".join(said.split()))
        revision, digest = db.execute("SELECT revision, digest FROM state").fetchone() or (0, b"")
        version = _version(db)
        if digest != _digest(db, revision):
            raise _Damaged("its content does not match its digest")
    except sqlite3.DatabaseError as error:
        raise _as_damage(error) from None
    if version > SCHEMA_VERSION:
        raise StoreError(f"the store is of version {version}, made by a later Pressbox; this one knows up to version {SCHEMA_VERSION}")
    return int(revision)


def _as_damage(error: sqlite3.DatabaseError) -> Exception:
    """A full disk or a missing right is no damage, and is no reason to go back to a copy."""
    name = getattr(error, "sqlite_errorname", "")
    return error if name.startswith(_NOT_DAMAGE) else _Damaged(str(error))


def _digest(db: sqlite3.Connection, revision: int) -> bytes:
    version = _version(db)
    digest = hashlib.sha256(f"{version} {revision}".encode())
    for row in db.execute(_ROWS.get(version, _ROWS[SCHEMA_VERSION])):
        digest.update(repr(row).encode())
    return digest.digest()


def _revision(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT revision FROM state").fetchone()[0])


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _all(db: sqlite3.Connection) -> list[Kept]:
    return [_kept(*row) for row in db.execute("SELECT flow, desired, notes FROM flows ORDER BY name")]


@lru_cache(maxsize=64)
def _parsed(flow: bytes) -> Flow:
    """Whoever polls finds the same text each time. Nobody changes a flow in place."""
    return parse_flow(flow)


def _kept(flow: bytes, desired: Desired, notes: bytes) -> Kept:
    try:
        return Kept(_parsed(flow), desired, notes)
    except FlowError as error:
        raise StoreError(f"a stored flow is not understood by this version of Pressbox: {error}") from None


def _unknown(name: str) -> UnknownFlow:
    return UnknownFlow(f"there is no flow `{name}`; `pressbox flow list` shows those there are")


def _check_desired(desired: str) -> None:
    if desired not in get_args(Desired):
        raise StoreError(f"desired: `{desired}` is not one of {', '.join(get_args(Desired))}")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
