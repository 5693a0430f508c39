"""A flow worker process under attack, while its right sender goes on and the far end of its output keeps a book."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from firmware.status import EndStatus, FlowStatus
from tests.hostile.ports import HOST, Kind
from tests.hostile.stream import Ledger, RightSender
from tests.lab.ports import free_ports
from tests.lab.recorder import Recorder
from tests.lab.relay import Relay

RECORDED = 3000  # datagrams towards the port, kept to be spoilt
SETTLE = 2000  # datagrams before memory is looked at
PATIENCE_S = 60.0
QUEUED_BYTES = 160 << 10  # of what the kernel holds for one port: a paced attack waits while there is more


class SiegeError(AssertionError):
    """Something that does not hold, or does not start."""


class Worker:
    """`python -m firmware.flow.worker` with one flow."""

    def __init__(self, folder: Path, flow: dict[str, Any], secrets: dict[str, str]) -> None:
        self._snapshot = folder / f"{flow['name']}.json"
        self._said = (folder / f"{flow['name']}.log").open("wb")
        job = {"flow": flow, "secrets": secrets, "snapshot": str(self._snapshot)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "firmware.flow.worker"], stdin=subprocess.PIPE, stdout=self._said, stderr=self._said
        )
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def status(self) -> FlowStatus | None:
        try:
            return msgspec.json.decode(self._snapshot.read_bytes(), type=FlowStatus)
        except FileNotFoundError:
            return None

    def last_words(self) -> str:
        said = Path(self._said.name).read_text(errors="replace").strip().splitlines()
        return said[-1] if said else "nothing said"

    def resident_bytes(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")) * 1024

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()  # the end of its orders
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._said.close()


@dataclass(frozen=True)
class Attack:
    """`per_second` 0: as fast as it goes. Not `paced`: whatever the kernel drops."""

    source: str
    count: int
    paced: bool
    seed: int = 1
    per_second: int = 0


@dataclass(frozen=True)
class Outcome:
    sent: int
    seconds: float
    overflowed: int  # datagrams that the kernel dropped at the ports of the flow
    right: int  # datagrams of the right sender that came meanwhile
    missing: int
    again: int
    strange: int
    counted: int  # refused and dropped by the flow
    grown_bytes: int
    held_up_s: float  # how long the right sender's datagrams stayed away, at most, on their way to the port: this machine's doing


class Siege:
    def __init__(self, kind: Kind, folder: Path, spray: Path, settle: int = SETTLE) -> None:
        self.kind = kind
        self._settle = settle
        self.ledger = Ledger()
        self._folder = folder
        self._spray = spray
        self._recording: list[bytes] = []
        self._passed = time.monotonic()
        self._longest_gap_s = 0.0
        self._stack = ExitStack()
        self.port = _even_port(kind.beyond)

    def __enter__(self) -> Self:
        try:
            self._build()
            self.wait(lambda: self.ledger.came >= self._settle, "the right sender's stream")
            self.wait(lambda: self.end().state == "connected", "a status that says so")
        except BaseException:
            self._stack.close()
            raise
        self._keep_recording()
        self._settled = self.victim.resident_bytes()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self) -> None:
        """RightSender -> near (-> relay ->) far -> recorder; one of the two is the victim, and the relay lies on the way to its port."""
        kind, stack = self.kind, self._stack
        secrets = {"key": kind.secret()}
        recorder = stack.enter_context(Recorder(see=self._take))
        (into,) = free_ports(1)
        entry = (HOST, _even_port(kind.beyond))
        stack.enter_context(Relay((HOST, self.port), listen=entry, beyond=kind.beyond, drop=self._record))
        own = kind.own | {"name": "own", "port": self.port}
        far = kind.far | {"name": "far", "host": HOST, "port": entry[1]}
        begin = {"protocol": "udp", "name": "in", "port": into}
        end = {"protocol": "udp", "name": "out", "host": HOST, "port": recorder.port}
        near_end, far_end = (own, far) if kind.sends else (far, own)
        near = {"name": "near", "sources": [begin], "outputs": [near_end]}
        other = {"name": "other", "sources": [far_end], "outputs": [end]}
        workers = []
        for flow in (near, other) if kind.sends else (other, near):
            workers.append(Worker(self._folder, flow, secrets))
            stack.callback(workers[-1].close)
            self.wait(workers[-1].status, "a flow that runs")
        self.victim = workers[0]
        stack.callback(RightSender(into).close)

    def _take(self, datagram: bytes) -> None:
        self.ledger.take(datagram)

    def _record(self, datagram: bytes, towards_target: bool) -> bool:
        if towards_target:
            now = time.monotonic()
            self._longest_gap_s = max(self._longest_gap_s, now - self._passed)
            self._passed = now
        if towards_target and len(self._recording) < RECORDED:
            self._recording.append(datagram)
        return False

    def _keep_recording(self) -> None:
        with (self._folder / "recording").open("wb") as out:
            for datagram in self._recording:
                out.write(struct.pack("=H", len(datagram)) + datagram)

    def wait(self, happened: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            if time.monotonic() > deadline:
                raise SiegeError(f"{self.kind.name}: {what}: not within {PATIENCE_S:g} s")
            time.sleep(0.02)

    def end(self) -> EndStatus:
        """The attacked end, as the flow tells of it."""
        status = self.victim.status()
        if status is None or status.stale:
            raise SiegeError(f"{self.kind.name}: the flow says nothing any more")
        return (status.outputs if self.kind.sends else status.sources)[0]

    def suffer(self, attack: Attack) -> Outcome:
        ledger, before, end = self.ledger, self.ledger.came, self.end()
        harm, overflowed, self._longest_gap_s = ledger.harm(), self._overflowed(), 0.0
        port = self.port + self.kind.attacked
        queued = QUEUED_BYTES if attack.paced else 0
        words = [self._folder / "recording", attack.count, attack.seed, attack.source, port, queued, attack.per_second]
        ended = subprocess.run([self._spray, *map(str, words)], capture_output=True, text=True, check=False)
        if not self.victim.alive:
            raise SiegeError(f"{self.kind.name}: the flow ended with {self.victim.process.returncode}: {self.victim.last_words()}")
        if ended.returncode:
            raise SiegeError(f"{self.kind.name}: {ended.stderr.strip()}")
        sprayed = json.loads(ended.stdout)
        self._go_on()
        missing, again, strange = (now - then for now, then in zip(ledger.harm(), harm, strict=True))
        after = self.end()
        return Outcome(
            sent=sprayed["sent"],
            seconds=sprayed["seconds"],
            overflowed=self._overflowed() - overflowed,
            right=ledger.came - before,
            missing=missing,
            again=again,
            strange=strange,
            counted=after.refused + after.dropped - end.refused - end.dropped,
            grown_bytes=self.victim.resident_bytes() - self._settled,
            held_up_s=self._longest_gap_s,
        )

    def _go_on(self) -> None:
        """The stream goes on, and the next snapshot is there."""
        came = self.ledger.came
        self.wait(lambda: self.ledger.came > came + 200, "the stream goes on after the attack")
        at = self.end().packets
        self.wait(lambda: self.end().packets != at, "the flow's next snapshot")

    def _overflowed(self) -> int:
        """Datagrams that the kernel dropped at the flow's sockets, by RIST's filter or because nobody read in time."""
        ports = {self.port + beyond for beyond in (0, *self.kind.beyond)}
        drops: dict[int, int] = {}

        def all_are_there() -> bool:  # the table is not read in one piece: a line may slip while sockets come and go
            for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
                words = line.split()
                port = int(words[1].rpartition(":")[2], 16)
                if port in ports and words[2].startswith("00000000:"):
                    drops[port] = int(words[-1])
            return drops.keys() == ports

        self.wait(all_are_there, "the flow's sockets in /proc/net/udp")
        return sum(drops.values())


def compiled_spray(folder: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        raise SiegeError("there is no C compiler (cc) here; apt-get install gcc libc6-dev brings one")
    binary, source = folder / "spray", Path(__file__).with_name("spray.c")
    made = subprocess.run([compiler, "-O2", "-o", binary, source], capture_output=True, text=True, check=False)
    if made.returncode:
        raise SiegeError(f"spray.c does not compile: {made.stderr.strip()}")
    return binary


def _even_port(beyond: tuple[int, ...]) -> int:
    """RIST's simple profile takes an even one."""
    while True:
        (port,) = free_ports(1, beyond)
        if port % 2 == 0:
            return port
