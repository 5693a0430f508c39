"""Change control: a flow can be locked for a show. What would change how it runs is refused then, with who locked it, until when and why.

A lock ends by itself. Names, descriptions and tags may change all the while. Who must change a locked flow says why, and that is recorded.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from firmware.store import Kept


class Lock(msgspec.Struct, frozen=True):
    by: str
    until: datetime
    why: str

    @property
    def holds(self) -> bool:
        return datetime.now(UTC) < self.until

    def __str__(self) -> str:
        return f"locked by {self.by} until {self.until:%Y-%m-%d %H:%M} UTC: {self.why}"


class Beside(msgspec.Struct, omit_defaults=True):
    """What is kept beside a definition, in parts that know nothing of each other."""

    api: msgspec.Raw = msgspec.Raw(b"")
    lock: Lock | None = None


class Locked(RuntimeError):
    """A change of a locked flow."""

    def __init__(self, name: str, lock: Lock) -> None:
        super().__init__(f"flow {name} is {lock}")


def beside(kept: Kept) -> Beside:
    return msgspec.json.decode(kept.notes, type=Beside) if kept.notes else Beside()


def lock_of(kept: Kept) -> Lock | None:
    """The lock that holds now."""
    lock = beside(kept).lock
    return lock if lock is not None and lock.holds else None


def with_lock(kept: Kept, lock: Lock | None) -> Kept:
    parts = beside(kept)
    parts.lock = lock
    return Kept(kept.flow, kept.desired, msgspec.json.encode(parts))


def check(kept: Kept, after: Kept | None) -> None:
    """Locked, where the change would change how a locked flow runs."""
    lock = lock_of(kept)
    if lock is not None and (after is None or (kept.flow, kept.desired) != (after.flow, after.desired)):
        raise Locked(kept.flow.name, lock)


def told(lock: Lock | None) -> dict[str, Any] | None:
    """For the record."""
    return None if lock is None else {"by": lock.by, "until": f"{lock.until:%Y-%m-%dT%H:%M:%SZ}", "why": lock.why}
