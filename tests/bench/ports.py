"""The compiled ends of a measurement (`ports.c`): what paces, counts and records, and what it wrote."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.processes import BenchError, Lab, is_bound

RECORD = struct.Struct("=QHHI")
LEAST_DATA = 1000  # bytes: SRT's and RIST's control packets are smaller, and so are RTP's reports
END_S = 5.0


def compiled(folder: Path, name: str) -> Path:
    """`name`.c of this folder as a program."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("there is no C compiler (cc) here; apt-get install gcc libc6-dev brings one")
    binary, source = folder / name, Path(__file__).with_name(f"{name}.c")
    made = subprocess.run([compiler, "-O2", "-o", binary, source], capture_output=True, text=True, check=False)
    if made.returncode:
        raise BenchError(f"{name}.c does not compile: {made.stderr.strip()}")
    return binary


@dataclass(frozen=True)
class Packet:
    at_ns: int  # Unix time of its arrival, by the kernel
    place: int  # of the port, in the order in which they were given
    size: int


class Ports:
    """Starts them in a `Lab`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._binary = compiled(folder, "ports")

    def pace(
        self, lab: Lab, stream: Path | str, rate_bps: float, seconds: float, ports: Sequence[int], burst_ms: float = 0
    ) -> subprocess.Popen[bytes]:
        return self._start(lab, "pace", stream, rate_bps, burst_ms, seconds, *ports)

    def sink(self, lab: Lab, file: Path, ports: Sequence[int], recorded: int = 1) -> subprocess.Popen[bytes]:
        return self._listening(lab, ports, "sink", file, recorded, *ports)

    def collect(self, lab: Lab, file: Path, kind: str, port: int) -> subprocess.Popen[bytes]:
        return self._listening(lab, [port], "collect", file, kind, port)

    def tap(self, lab: Lab, file: Path, port: int, target_port: int) -> subprocess.Popen[bytes]:
        return self._listening(lab, [port], "tap", file, port, target_port)

    def _start(self, lab: Lab, *words: object) -> subprocess.Popen[bytes]:
        return lab.start([str(self._binary), *map(str, words)], stdout=subprocess.PIPE)

    def _listening(self, lab: Lab, ports: Sequence[int], *words: object) -> subprocess.Popen[bytes]:
        process = self._start(lab, *words)
        lab.wait(lambda: all(map(is_bound, ports)), f"ports {words[0]} listens")
        return process


def finish(process: subprocess.Popen[bytes]) -> Any:
    """Interrupt it; what it printed."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return json.loads(process.communicate(timeout=END_S)[0])
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        raise BenchError(f"{process.args!r} gave no figures") from None


def records(file: Path) -> list[Packet]:
    """The packets with data, in the order of their arrival at each port."""
    data = file.read_bytes()
    whole = memoryview(data)[: len(data) // RECORD.size * RECORD.size]
    return [Packet(at_ns, place, size) for at_ns, place, size, _ in RECORD.iter_unpack(whole) if size >= LEAST_DATA]
