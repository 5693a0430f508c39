"""Files of a recording: written to the end of, made durable each second, and never more than their bound together.

    show-20261121T183000Z.ts   show-20261121T183100Z.ts   show-20261121T183200Z.ts
    the oldest goes first                                 ends wherever the power did, and plays up to there

A name sorts by time. A segment begins with tables and a key picture, so each one plays by itself.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from firmware.recording import MB, Recording
from firmware.secrets import sync_folder

SUFFIX = ".ts"


class Segments:
    """`write` and `sync` raise OSError where the disk takes nothing; `begin` makes room first."""

    def __init__(self, flow: str, folder: Path, settings: Recording) -> None:
        self.folder = folder
        self._prefix = f"{flow}-"
        self._settings = settings
        self._file: int | None = None
        self.path: Path | None = None  # of the segment that is being written
        self.written = 0  # bytes, of all segments since the start
        self.removed = 0  # segments

    def begin(self, now: float) -> None:
        """Another segment; `now` is Unix time."""
        self.end()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.make_room()
        name = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
        for number in range(100):  # a clock that was set back, or two within a second
            path = self.folder / f"{self._prefix}{name}{f'-{number:02d}' if number else ''}Z{SUFFIX}"
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            except FileExistsError:
                continue
            self.path = path
            sync_folder(self.folder)
            return
        raise FileExistsError(17, "a hundred segments of the same second are there", str(self.folder))

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left and self._file is not None:
            count = os.write(self._file, left)
            self.written += count
            left = left[count:]

    def sync(self) -> None:
        if self._file is not None:
            os.fdatasync(self._file)

    def end(self) -> None:
        if self._file is not None:
            try:
                os.fdatasync(self._file)
            finally:
                os.close(self._file)
                self._file = self.path = None

    def there(self) -> list[Path]:
        """All segments of this flow, the oldest first."""
        try:
            return sorted(self.folder.glob(f"{self._prefix}*Z{SUFFIX}"), key=lambda path: path.name.removesuffix(SUFFIX).rstrip("Z"))
        except OSError:
            return []

    def make_room(self) -> None:
        """Take the oldest away until the bound holds and the disk has what it shall keep free. Never the one that is being written."""
        sizes = [(path, _size(path)) for path in self.there() if path != self.path]
        total = sum(size for _, size in sizes) + (_size(self.path) if self.path else 0)
        for path, size in sizes:
            if total <= self._settings.keep_mb * MB and self.free_bytes() >= self._settings.leave_mb * MB:
                return
            path.unlink(missing_ok=True)
            self.removed += 1
            total -= size

    def free_bytes(self) -> int:
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    @property
    def is_cramped(self) -> bool:
        """The disk has less left than it shall keep, and there is nothing old to take away."""
        return self.free_bytes() < self._settings.leave_mb * MB


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
