"""The journal: every notice in its order, numbered, in two files of bounded size. Whoever passes notices on reads it at his own pace.

A notice is a line of JSON. When the file is full it becomes the old one, and the one before that is gone: whoever had not read it learns
from the numbers how many he missed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from firmware.alarms.board import Alarm, State
from firmware.private import make_folder, open_private

MAX_BYTES = 2 << 20  # of each of the two files: some 4,000 notices
ALARMS, EVENTS = "notices", "events"

What = Literal["alarm", "flow-status", "flow-health", "source-health", "output-health", "output-status", "alert"]


class Notice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """That something changed. `id` is the same however often it is passed on."""

    what: What
    at: float  # Unix time
    flow: str = ""
    end: str = ""
    number: int = 0
    id: str = ""
    alarm: Alarm | None = None
    before: State | None = None  # of the alarm
    condition: str = ""  # of the alarm's rule
    detail: dict[str, Any] = {}  # of an event, as MediaConnect's EventBridge events have it


class Journal:
    """The writer; there is one."""

    def __init__(self, folder: Path, name: str, max_bytes: int = MAX_BYTES) -> None:
        make_folder(folder)
        self._path, self._old = paths(folder, name)
        self._max_bytes = max_bytes
        self._descriptor = self._open()
        self.number = last_number(folder, name)

    def add(self, notice: Notice) -> Notice:
        """Numbered and written; a kill takes nothing of it, and after `sync` no power cut. OSError says that it is not written."""
        if os.fstat(self._descriptor).st_size >= self._max_bytes:
            os.replace(self._path, self._old)
            os.close(self._descriptor)
            self._descriptor = self._open()
        numbered = msgspec.structs.replace(notice, number=self.number + 1, id=notice.id or str(uuid.uuid4()))
        line = msgspec.json.encode(numbered) + b"\n"
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, line) < len(line):
                raise OSError(28, "no space left")
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise
        self.number = numbered.number
        return numbered

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # whoever wrote it died at it
            os.write(descriptor, b"\n")
        return descriptor


class Follower:
    """A reader that goes on from the notice numbered `after`. `missed` counts those that were gone before it came to them."""

    def __init__(self, folder: Path, name: str, after: int) -> None:
        self._path, self._old = paths(folder, name)
        self.after = after
        self.missed = 0
        self._files: list[BinaryIO] = []
        self._next: Notice | None = None

    def next(self) -> Notice | None:
        """The next one, again and again until it is `passed`; None where there is none yet."""
        if self._next is None:
            self._next = self._read()
        return self._next

    def passed(self) -> None:
        if self._next is not None:
            self.after, self._next = self._next.number, None

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files = []

    def _read(self) -> Notice | None:
        if not self._files:
            self._open()
        while self._files:
            line = self._files[0].readline()
            if line.endswith(b"\n"):
                notice = _parse(line)
                if notice is not None and notice.number > self.after:
                    self.missed += notice.number - self.after - 1
                    self.after = notice.number - 1
                    return notice
                continue
            self._files[0].seek(-len(line), os.SEEK_CUR)
            if len(self._files) == 1 and self._is_current():
                return None
            self._files.pop(0).close()
            if not self._files:
                self._open()
        return None

    def _open(self) -> None:
        """The newer one first: a rotation in between then takes nothing away."""
        for path in (self._path, self._old):
            with suppress(FileNotFoundError):
                self._files.insert(0, path.open("rb"))

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._files[0].fileno()), self._path.stat())
        except FileNotFoundError:
            return True


def paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.jsonl", folder / f"{name}.old.jsonl"


def read(folder: Path, name: str) -> Iterator[Notice]:
    """All that are kept, the oldest first."""
    follower = Follower(folder, name, 0)
    try:
        while (notice := follower.next()) is not None:
            follower.passed()
            yield notice
    finally:
        follower.close()


def last_number(folder: Path, name: str) -> int:
    number = 0
    for notice in read(folder, name):
        number = notice.number
    return number


def _parse(line: bytes) -> Notice | None:
    try:
        return msgspec.json.decode(line, type=Notice)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
