"""A ring of files: blocks are added to the newest, and the oldest goes when there are too many.

One folder a flow, and in it `<number>-<span>-<id>.seconds`, one file an hour, and `….minutes`, one a day. Numbers only grow, and it is
they that say which is oldest, not the clock: a clock that jumps a year ahead and comes back costs no history. A file is only ever added to,
so what was written once is never written over; a second that the clock shows twice is there twice.
"""

from __future__ import annotations

import os
import secrets
from array import array
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from firmware.metrics.blocks import Block, Part, Table, blocks, pack, whole
from firmware.metrics.measure import NAMES, Kind
from firmware.private import make_folder, open_private

FOLDER = "metrics"  # in the state folder
HOUR_S, DAY_S = 3600, 86_400
KEPT_HOURS = 25  # 24 and the one that is being written
KEPT_DAYS = 31
LONGEST_SEGMENT = 64 << 20  # a flow of 52 ends fills 7 MB an hour where nothing can be compressed
NAMES_ID = 0  # of the first block of a file: the names of its columns

Suffix = Literal["seconds", "minutes"]
SPAN_S: dict[Suffix, int] = {"seconds": HOUR_S, "minutes": DAY_S}
KEPT: dict[Suffix, int] = {"seconds": KEPT_HOURS, "minutes": KEPT_DAYS}


class Segment(NamedTuple):
    number: int
    span: int  # Unix time / SPAN_S
    id: int
    path: Path

    @property
    def size(self) -> int:
        with suppress(FileNotFoundError):
            return self.path.stat().st_size
        return 0


def segments(folder: Path, suffix: Suffix) -> list[Segment]:
    """Oldest first."""
    found = []
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            stem, _, end = name.rpartition(".")
            parts = stem.split("-")
            if end == suffix and len(parts) == 3:
                with suppress(ValueError):
                    found.append(Segment(int(parts[0]), int(parts[1]), int(parts[2], 16), folder / name))
    return sorted(found)


@dataclass(slots=True)
class Opened:
    """A file as it is read. `columns`: where each metric stands in the parts of its kind."""

    blocks: Iterator[Block]
    columns: dict[str, dict[str, int]]


def opened(segment: Segment) -> Opened | None:
    """None where it is gone, or its beginning was torn."""
    try:
        found = blocks(segment.path.read_bytes())
    except FileNotFoundError:
        return None
    first = next(found, None)
    if first is None or first.id != NAMES_ID:
        return None
    columns: dict[str, dict[str, int]] = {}
    for part in first.table.parts:
        of_kind = columns.setdefault(part.kind, {})
        of_kind[part.name] = len(of_kind)
    return Opened(found, columns)


class Ring:
    """The writer of one folder and suffix. There is one process that writes."""

    def __init__(self, folder: Path, suffix: Suffix) -> None:
        self.folder = folder
        self.suffix: Suffix = suffix
        self._segment: Segment | None = None
        self._checked: set[Path] = set()

    def add(self, block: bytes, start: int) -> None:
        """To the file of its time; on the disk when this returns. OSError: nothing was added."""
        span = start // SPAN_S[self.suffix]
        segment = self._segment
        if segment is None or segment.span != span or segment.size + len(block) > LONGEST_SEGMENT or not segment.path.exists():
            segment = self._segment = self._choose(span, len(block))
        _append(segment.path, block)

    def has(self, id_: int, start: int) -> bool:
        there = [segment for segment in segments(self.folder, self.suffix) if segment.span == start // SPAN_S[self.suffix]]
        return any(block.id == id_ for segment in there if (file := opened(segment)) for block in file.blocks)

    def _choose(self, span: int, length: int) -> Segment:
        there = segments(self.folder, self.suffix)
        for segment in reversed(there):
            if segment.span == span and self._sound(segment) and segment.size + length <= LONGEST_SEGMENT:
                return segment
        make_folder(self.folder)
        number, id_ = (there[-1].number + 1 if there else 1), secrets.randbits(32) or 1
        made = Segment(number, span, id_, self.folder / f"{number:08}-{span}-{id_:08x}.{self.suffix}")
        _append(made.path, _names_block())
        _sync_folder(self.folder)
        self._checked.add(made.path)
        for old in there[: max(0, len(there) + 1 - KEPT[self.suffix])]:
            old.path.unlink(missing_ok=True)
        return made

    def _sound(self, segment: Segment) -> bool:
        """Cut off what was torn at the end; False where it belongs to another version, whose columns are others."""
        if segment.path in self._checked:
            return True
        data = segment.path.read_bytes()
        first = next(blocks(data), None)
        if first is None or first.id != NAMES_ID or [(part.kind, part.name) for part in first.table.parts] != _names():
            return False
        end = whole(data)
        if end < len(data):
            os.truncate(segment.path, end)
        self._checked.add(segment.path)
        return True


def _names() -> list[tuple[Kind, str]]:
    return [(kind, name) for kind, names in NAMES.items() for name in names]


def _names_block() -> bytes:
    parts = [Part(kind, name, 0) for kind, name in _names()]
    return pack(NAMES_ID, 0, Table([], parts, "f"), [[array("f")]] * len(parts))


def _append(path: Path, block: bytes) -> None:
    file = open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        size = os.fstat(file).st_size
        try:
            if os.write(file, block) < len(block):
                raise OSError(28, "No space left on device")
            os.fdatasync(file)
        except OSError:
            os.ftruncate(file, size)
            raise
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def keep_within(root: Path, largest_bytes: int) -> int:
    """Remove the oldest file of the flow that has most, until all fit; how many bytes there are then."""
    sizes = {folder: _size_of(folder) for folder in root.iterdir() if folder.is_dir()} if root.is_dir() else {}
    total = sum(sizes.values())
    while total > largest_bytes:
        folder = max(sizes, key=lambda one: sizes[one])
        seconds, minutes = segments(folder, "seconds"), segments(folder, "minutes")
        oldest = seconds[0] if len(seconds) > 1 else minutes[0] if len(minutes) > 1 else None
        if oldest is None:
            break
        size = oldest.size
        oldest.path.unlink(missing_ok=True)
        total -= size
        sizes[folder] -= size
    return total


def _size_of(folder: Path) -> int:
    return sum(segment.size for suffix in SPAN_S for segment in segments(folder, suffix))


def allowed_bytes(root: Path, largest_bytes: int) -> int:
    """Never more than half of what the disk has for it."""
    disk = os.statvfs(root)
    return min(largest_bytes, (disk.f_bavail * disk.f_frsize + sum(_size_of(folder) for folder in root.iterdir() if folder.is_dir())) // 2)


def forget_oldest_flows(root: Path, most: int, running: Collection[str]) -> None:
    """Flows that are deleted leave their history; it is that of the last `most` that were written."""
    gone = (folder for folder in root.iterdir() if folder.is_dir() and folder.name not in running)
    folders = sorted(gone, key=lambda folder: folder.stat().st_mtime_ns)
    for folder in folders[: max(0, len(folders) - most)]:
        for file in folder.iterdir():
            file.unlink(missing_ok=True)
        folder.rmdir()
