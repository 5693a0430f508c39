"""The files of the audit log. Whoever calls anything here holds its lock.

    audit.jsonl                 The newest entries, one JSON object a line.
    audit-<first>-<last>.jsonl  Older ones: a file that has grown to `max_bytes` is renamed. `keep` of them stay.
    audit.head                  Where the chain ends and begins (`Head`). Replaced as a whole after each append.
    audit.torn                  Only for a moment: what a writer that died had left of a line.

A writer may die at any byte. It leaves the head behind the log (the next writer takes over the entries that fit), a torn line (taken
out, and told in an entry of its own), or a rotation half done (finished). Lines that are gone or changed cannot be put right: that
is told in an entry too, and the chain goes on from where the head was, so that the gap stays to be seen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from firmware.audit.chain import Entry, Head, Line, parse, seal
from firmware.private import open_private
from firmware.secrets import sync_folder, write_private


class Old(NamedTuple):
    first: int
    last: int
    path: Path


class Told(NamedTuple):
    """What the log has to say of itself."""

    why: str
    found: Any = None


class Opened(NamedTuple):
    """A file as it was at one moment: what is added later is not read."""

    name: str
    stream: BinaryIO
    size: int

    def lines(self) -> Iterator[Line]:
        self.stream.seek(0)
        left = self.size
        for row, content in enumerate(self.stream, 1):
            if left <= 0:
                return
            yield Line(self.name, row, content[:left])
            left -= len(content)


class Trail:
    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self.path, self.max_bytes, self.keep = path, max_bytes, keep
        self.head, self.torn = path.with_suffix(".head"), path.with_suffix(".torn")

    def append(self, head: Head, entry: Entry) -> tuple[Head, Entry]:
        """Seal and add. What takes room comes before the head is replaced, so that a full disk leaves the log as it was."""
        if head.size >= self.max_bytes:
            head = self._rotated(head)
        entry, line = seal(msgspec.structs.replace(entry, number=head.number + 1, previous=head.hash))
        head = msgspec.structs.replace(head, number=entry.number, hash=entry.hash, size=head.size + len(line))
        fresh = self._fresh(head)
        _add(self.path, line)
        self._take(fresh)
        return head, entry

    def settled(self) -> tuple[Head, list[Told]]:
        """Where the log ends, and what is to be told of what a dead writer, or a stranger, left there."""
        head, told, size, old = self.read_head(), list[Told](), self._size(), self.old()
        if head is None and not size and not old:
            head = Head()
            self._take(self._fresh(head))
        if head and not size and old and old[-1].last == head.number:  # a rotation that was cut short
            head = msgspec.structs.replace(head, size=0)
        if head is None or head.size != size:
            head, told = self._caught_up(head)
        if self.torn.exists():
            left = self.torn.read_bytes()
            why = f"whoever wrote an entry died at it, and the {len(left)} bytes that were there of it were taken out"
            told.append(Told(why, left.decode(errors="backslashreplace")))
        return head, told

    def old(self) -> list[Old]:
        name = re.compile(re.escape(self.path.stem) + r"-(\d+)-(\d+)\.jsonl")
        found = ((name.fullmatch(path.name), path) for path in self.path.parent.iterdir())
        return sorted(Old(int(match[1]), int(match[2]), path) for match, path in found if match)

    def read_head(self) -> Head | None:
        with suppress(FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            data = self.head.read_bytes()
            head = msgspec.json.decode(data, type=Head)
            return head if msgspec.json.encode(head) == data else None
        return None

    def opened(self, stack: ExitStack) -> list[Opened]:
        head = self.read_head() or Head()
        paths = [old.path for old in self.old() if old.last >= head.first]
        paths += [self.path] if self._size() else []
        streams = [stack.enter_context(path.open("rb")) for path in paths]
        return [Opened(path.name, stream, os.fstat(stream.fileno()).st_size) for path, stream in zip(paths, streams, strict=True)]

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _caught_up(self, head: Head | None) -> tuple[Head, list[Told]]:
        data = self.path.read_bytes() if self._size() else b""
        whole = data.rfind(b"\n") + 1
        if data[whole:]:
            self._take_out(data[whole:], whole)
        if head is None:
            head = self._guessed(data[:whole])
            why = f"{self.head.name} was gone or changed; whether entries after number {head.number} were cut off cannot be told"
            return head, [Told(why)]
        for line in data[head.size : whole].splitlines(keepends=True):
            entry = parse(line)
            if entry and entry.number == head.number + 1 and entry.previous == head.hash:
                head = msgspec.structs.replace(head, number=entry.number, hash=entry.hash, size=head.size + len(line))
        if head.size == whole:
            return head, []
        why = f"{self.path.name} did not end with entry {head.number}, as it should; it stays as it is, and the chain goes on after that"
        return msgspec.structs.replace(head, size=whole), [Told(why)]

    def _guessed(self, newest: bytes) -> Head:
        """A head from nothing but the entries."""
        lines = [line for old in self.old() for line in old.path.read_bytes().splitlines(keepends=True)]
        entries = [entry for entry in map(parse, [*lines, *newest.splitlines(keepends=True)]) if entry]
        if not entries:
            return Head(size=len(newest))
        return Head(number=entries[-1].number, hash=entries[-1].hash, size=len(newest), first=entries[0].number, anchor=entries[0].previous)

    def _take_out(self, torn: bytes, at: int) -> None:
        """Set aside before it is cut: dying here may tell the bytes twice, but loses none."""
        _add(self.torn, torn)
        sync_folder(self.path.parent)
        os.truncate(self.path, at)

    def _rotated(self, head: Head) -> Head:
        """A new file. The head knows of the new beginning before the oldest file is dropped."""
        old = self.old()
        first = old[-1].last + 1 if old else head.first
        old.append(Old(first, head.number, self.path.with_name(f"{self.path.stem}-{first}-{head.number}.jsonl")))
        self.path.rename(old[-1].path)
        head = msgspec.structs.replace(head, size=0)
        with old[-self.keep :][0].path.open("rb") as file:
            beginning = parse(file.readline())
        if beginning and beginning.number > head.first:
            head = msgspec.structs.replace(head, first=beginning.number, anchor=beginning.previous)
        self._take(self._fresh(head))
        for dropped in old[: -self.keep]:
            dropped.path.unlink()
        return head

    def _fresh(self, head: Head) -> Path:
        fresh = self.head.with_name(self.head.name + ".new")
        fresh.unlink(missing_ok=True)
        write_private(fresh, msgspec.json.encode(head))
        return fresh

    def _take(self, fresh: Path) -> None:
        os.replace(fresh, self.head)
        sync_folder(self.head.parent)


def _add(path: Path, data: bytes) -> None:
    """Append, and on the disk when this returns; where that fails the file is as it was."""
    descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
