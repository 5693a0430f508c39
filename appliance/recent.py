"""The flows as they were last read, for as long as the store's files are the same: who polls does not have the whole store read again.

What is read is proved whole, as ever; what was proved once and is held in memory needs no second proof. Changes do not come this way.
"""

from __future__ import annotations

import os
from pathlib import Path

from firmware.store import Kept, Store

Identity = tuple[tuple[int, ...], ...]


class Recent:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._files = [store.path, store.path.with_name(store.path.name + "-wal"), store.good]
        self._known: tuple[Identity, list[Kept]] | None = None

    def list(self) -> list[Kept]:
        identity = tuple(map(_identity, self._files))
        known = self._known
        if known is not None and known[0] == identity and identity[0]:
            return [*known[1]]
        every = self._store.list()
        self._known = identity, every  # of before it was read: a change meanwhile makes it another one
        return [*every]


def _identity(path: Path) -> tuple[int, ...]:
    """Every change replaces the store's copy and writes the store itself. A log that is empty is as none: readers leave it for a moment."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    if not found.st_size:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
