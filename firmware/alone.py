"""One process at a time: a lock file, held for the length of a `with` or of a life."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from firmware.private import open_private

LOOK_S = 0.002


def hold(path: Path) -> int | None:
    """The lock file, held as long as this process lives, however it ends; None while another one has it."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def alone(path: Path, within_s: float, busy: Callable[[str], Exception]) -> Iterator[None]:
    """Raises `busy(why)` where somebody else holds the file for so long; OSError where it cannot be opened."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        deadline = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise busy(f"another process has held {path} for {within_s:.0f} s") from None
                time.sleep(LOOK_S)
        yield
    finally:
        os.close(descriptor)
