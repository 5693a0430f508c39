"""What takes long says so: one line a step, with the seconds that it lasts."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, STDOUT, run


class SetupError(Exception):
    """Something that the person at the keyboard has to put right."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Counts seconds while the block runs, where somebody watches."""
    began_s, ended = time.monotonic(), threading.Event()

    def elapsed() -> str:
        return f"{time.monotonic() - began_s:.0f} s"

    def count() -> None:
        while not ended.wait(1):
            say(f"\r{what} … {elapsed()} ")

    say(f"{what} … ")
    counting = threading.Thread(target=count, daemon=True)
    if sys.stderr.isatty():
        counting.start()
    outcome = "failed after"
    try:
        yield
        outcome = "done in"
    finally:
        ended.set()
        if counting.ident:
            counting.join()
            say(f"\r{what} … ")
        say(f"{outcome} {elapsed()}\n")


def command(what: str, arguments: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
    """A step that is one program; its output is shown only if it fails."""
    with tempfile.TemporaryFile("w+") as log, step(what):
        ended = run(arguments, stdin=DEVNULL, stdout=log, stderr=STDOUT, env=env, check=False)
        if ended.returncode:
            log.seek(0)
            said = "".join(f"    {line}" for line in log.readlines()[-60:])
            raise SetupError(f"`{arguments[0]}` ended with {ended.returncode}:\n{said}")


def say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
