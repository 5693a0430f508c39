"""Programs that a bench starts, what they spend, and the ports between them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
PRESSBOX = [sys.executable, "-m", "appliance.cli"]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
GRACE_S = 3.0


class BenchError(RuntimeError):
    """A measurement that cannot be had, in one sentence."""


class Lab(ExitStack):
    """The programs of one measurement; leaving it ends them, the newest first."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, IO[bytes]] = {}

    def start(
        self, command: Sequence[str], *, stdin: Any = subprocess.DEVNULL, stdout: Any = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        log = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._said[" ".join(command[:4])] = log
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=log, cwd=ROOT)
        self.callback(end, process)
        return process

    def said(self) -> str:
        """The last that each program said on standard error."""
        lines = []
        for name, log in self._said.items():
            log.seek(0)
            text = log.read().decode(errors="replace").strip()
            if text:
                lines.append(f"{name}: {text.splitlines()[-1]}")
        return "; ".join(lines)

    def wait(self, happened: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        until = time.monotonic() + timeout_s
        while not happened():
            if time.monotonic() > until:
                raise BenchError(f"{what}: not within {timeout_s:g} s. {self.said()}")
            time.sleep(0.01)


def end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does, then by force."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def free_port(count: int = 1) -> int:
    """The first of `count` UDP ports in a row that nobody has."""
    while True:
        with ExitStack() as probes:
            first = probes.enter_context(_bound(0))
            number = int(first.getsockname()[1])
            try:
                for offset in range(1, count):
                    probes.enter_context(_bound(number + offset))
            except (OSError, OverflowError):
                continue
            return number


def _bound(port: int) -> socket.socket:
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.bind(("127.0.0.1", port))
    return probe


def is_bound(port: int) -> bool:
    wanted = f":{port:04X}"
    tables = (Path("/proc/net/udp"), Path("/proc/net/udp6"))
    return any(line.split()[1].endswith(wanted) for table in tables if table.exists() for line in table.read_text().splitlines()[1:])


def cpu_s(process: subprocess.Popen[bytes]) -> float:
    """User and system time that it and its threads have spent."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        raise BenchError(f"{process.args!r} ended by itself") from None
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def load() -> float:
    return round(os.getloadavg()[0], 2)
