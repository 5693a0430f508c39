"""Programs that a test runs: `pressbox` itself, and peers that are not ours."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from firmware.places import Places

TOOLS = Path(__file__).parent
PRESSBOX = [sys.executable, "-m", "appliance.cli"]


def environment(places: Places, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return os.environ | {"PRESSBOX_STATE": str(places.state), "PRESSBOX_RUN": str(places.run)} | dict(more or {})


def pressbox(
    places: Places, *arguments: str, stdin: str | bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`pressbox …` to its end."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    ended = subprocess.run([*PRESSBOX, *arguments], input=given, capture_output=True, env=environment(places, env), timeout=30, check=False)
    return subprocess.CompletedProcess(ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


class Program:
    """A process that runs beside the test, and what it has said so far. Ended at the end of the `with`."""

    def __init__(self, command: Iterable[str], env: Mapping[str, str] | None = None) -> None:
        self.command = [*command]
        self.process = subprocess.Popen(
            self.command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.out: list[str] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._listen, args=(pipe, lines), daemon=True)
            for pipe, lines in ((self.process.stdout, self.out), (self.process.stderr, self.errors))
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def pressbox(cls, places: Places, *arguments: str, env: Mapping[str, str] | None = None) -> Self:
        return cls([*PRESSBOX, *arguments], environment(places, env))

    def _listen(self, pipe: Iterable[str], lines: list[str]) -> None:
        for line in pipe:
            lines.append(line.rstrip("\n"))

    def said(self, text: str) -> bool:
        return any(text in line for line in (*self.errors, *self.out))

    def wait(self, timeout_s: float = 20.0) -> int:
        code = self.process.wait(timeout_s)
        for thread in self._threads:
            thread.join()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"{' '.join(self.command)}\n" + "\n".join([*self.errors, *self.out][-20:])


class RelayProcess:
    """`tests/lab/relay.py` as a process of its own, so that it takes nothing from what is measured."""

    def __init__(self, target: tuple[str, int], *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(TOOLS / "relay.py"), f"{target[0]}:{target[1]}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        host, port = self.process.stdout.readline().split()
        self.address = (host, int(port))

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def counts(self) -> list[int]:
        return [int(number) for number in self._ask("counts").split()]

    def lateness_ms(self) -> int:
        return int(self._ask("lateness"))

    def _ask(self, order: str) -> str:
        self.say(order)
        assert self.process.stdout
        return self.process.stdout.readline()

    def close(self) -> None:
        self.process.communicate()


def wait_until(happened, timeout_s: float = 15.0, what: str = "", among: Iterable[Program] = ()):  # type: ignore[no-untyped-def]
    """The first truthy value of `happened()`; says what the programs said when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not (value := happened()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what or happened}: not within {timeout_s:g} s; the last value was {value!r}\n" + "\n".join(map(str, among))
            )
        time.sleep(0.01)
    return value
