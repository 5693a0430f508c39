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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
PRESSBOX = [sys.executable, "-m", "appliance.cli"]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
GRACE_S = 3.0
CPU_CLOCK = 2  # of a process, as clock_getcpuclockid(3) makes its number


class BenchError(RuntimeError):
    """A measurement that cannot be had, in one sentence."""


class Lab(ExitStack):
    """The programs of one measurement; leaving it ends them, the newest first."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, IO[bytes]] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def __exit__(self, *why: Any) -> bool:
        for process in self._started:  # all of them at once, so that they end meanwhile
            _interrupt(process)
        return bool(super().__exit__(*why))

    def start(
        self, command: Sequence[str], *, stdin: Any = subprocess.DEVNULL, stdout: Any = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        log = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self._said[" ".join(command[:4])] = log
        try:
            process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=log, cwd=ROOT)
        except FileNotFoundError:
            raise BenchError(f"{command[0]} is not installed") from None
        self._started.append(process)
        self.callback(_reap, process)
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
    _interrupt(process)
    _reap(process)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)


def _reap(process: subprocess.Popen[bytes]) -> None:
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
    """User and system time that it, its threads and its children have spent."""
    pids = [process.pid, *map(int, _children(str(process.pid)))]
    spent = sum(map(running_s, pids)) + sum(map(_waited_for_s, pids))
    if process.poll() is not None:
        raise BenchError(f"{process.args!r} ended by itself")
    return spent


def running_s(pid: int) -> float:
    """To the nanosecond, unlike /proc/PID/stat, whose ticks are too coarse for a few seconds."""
    try:
        return time.clock_gettime(~pid << 3 | CPU_CLOCK)
    except OSError:  # it is gone
        return 0.0


def _waited_for_s(pid: int) -> float:
    """Fields 16 and 17 of proc(5): of children that it has waited for."""
    return sum(map(int, _stat(str(pid))[13:15])) / TICKS_A_SECOND


def _stat(pid: str) -> list[str]:
    """From the third field on; nothing of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _children(pid: str) -> list[str]:
    parents = {entry.name: _stat(entry.name)[1:2] for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
    found = [child for child, parent in parents.items() if parent == [pid]]
    return found + [grandchild for child in found for grandchild in _children(child)]


@dataclass(frozen=True)
class Memory:
    """Of one process, in MB: the most so far, and now."""

    most: float
    now: float


def memory(process: subprocess.Popen[bytes]) -> Memory:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    if "VmHWM" not in lines:
        raise BenchError(f"{process.args!r} ended by itself")
    return Memory(*(int(lines[key].split()[0]) / 1024 for key in ("VmHWM", "VmRSS")))


def load() -> float:
    return round(os.getloadavg()[0], 2)
