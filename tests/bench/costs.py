"""What a sender costs, and how its packets leave, measured in one window: the common part of the fec, srt, fanout and wire benches."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from firmware.wire.ts import DATAGRAM
from tests.bench.farends import far_end
from tests.bench.ports import Packet, Ports, finish
from tests.bench.processes import BenchError, Lab, Memory, cpu_s, free_port, is_bound, load, memory
from tests.bench.relays import Start, Wiring
from tests.bench.shape import Shape, shape_of
from tests.bench.streams import FRAME_MS

MBIT = 1_000_000
SETTLE_S = 1.5
PROBING_S = 3.0  # ffmpeg looks at a network's stream for a while, then sends all of it at once
CONNECTING_S = {"srt": 1.0, "srt-listener": 2.5, "rist": 1.0}
MARGIN_S = 4.0  # of a stream, for what is slow to begin
LEAST_RATE = 0.9  # of the stream's: who sends less is not measured sending it
SAMPLE_NS = 120_000_000  # of its packets, for the drawing


Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Case:
    """One row. `feed`: evenly spaced datagrams, all datagrams of a picture at once, or the file itself, which the sender paces."""

    name: str
    start: Start
    rate_bps: int = 10 * MBIT
    outputs: int = 1
    protocol: Literal["udp", "rtp", "fec", "srt", "srt-listener", "rist"] = "udp"
    feed: Literal["even", "pictures", "file"] = "even"
    ours: bool = False
    remuxes: bool = False  # its output is not its input, so what it delivers cannot be counted against it
    settle_s: float = SETTLE_S
    connecting_s: float = 0  # before the stream comes; 0: as long as its protocol needs
    kind: str = ""  # of those that are compared; empty: all with this protocol

    @property
    def group(self) -> str:
        return f"{self.rate_bps / MBIT:g} Mb/s x {self.outputs}"

    @property
    def compared_by(self) -> tuple[str, str]:
        return self.group, self.kind or self.protocol

    def __str__(self) -> str:
        return f"{self.name}, {self.group}"


@dataclass(frozen=True)
class Run:
    cpu_s_a_minute: float
    memory: Memory
    shape: Shape
    sample: list[Packet]
    delivered: float | None
    overflowed: int  # at the sinks: no fault of the sender
    load: float
    command: str


@dataclass
class Results:
    runs: dict[Case, list[Run]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)  # why, by row


def measure_all(ports: Ports, cases: Sequence[Case], streams: dict[int, Path], seconds: float, repeats: int) -> Results:
    """Every case once, then every case again: what the machine does meanwhile hits all of them."""
    results, failed, last = Results(), Counter[Case](), dict[Case, str]()
    for lap in range(repeats):
        for number, case in enumerate(cases, 1):
            say(f"{lap + 1} of {repeats}, {number} of {len(cases)}: {case}")
            try:
                results.runs[case].append(attempt(lambda case=case: measure(ports, case, streams[case.rate_bps], seconds)))
            except BenchError as error:
                failed[case], last[case] = failed[case] + 1, str(error)
    say("")
    results.runs = {case: runs for case, runs in results.runs.items() if runs}
    results.failures = {str(case): f"{count} of {repeats} times: {last[case]}" for case, count in failed.items()}
    return results


def attempt(measurement: Callable[[], Measured]) -> Measured:
    """BenchError, whatever went wrong with a program or a port."""
    try:
        return measurement()
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"{type(error).__name__}: {error}") from None


def say(text: str) -> None:
    """Where a person looks on, what is being measured."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def stream_s(seconds: float) -> float:
    """How long a stream must be for a window of so long."""
    return seconds + PROBING_S + MARGIN_S


def measure(ports: Ports, case: Case, stream: Path, seconds: float) -> Run:
    with Lab() as lab:
        first_port = free_port(max(case.outputs, 5))
        wiring = Wiring(free_port(), first_port, case.outputs, ports.folder, secrets.token_hex(16), stream, case.rate_bps)
        far = far_end(lab, ports, case.protocol, wiring)
        process = case.start(lab, wiring)
        feeding_s = case.settle_s + seconds + 0.5
        pacer: subprocess.Popen[bytes] | None = None
        if case.feed != "file":
            lab.wait(lambda: is_bound(wiring.port) and process.poll() is None, f"{case.name} listens")
            time.sleep(case.connecting_s or CONNECTING_S.get(case.protocol, 0.3))
            pacer = ports.pace(lab, stream, case.rate_bps, feeding_s, [wiring.port], FRAME_MS if case.feed == "pictures" else 0)
        time.sleep(case.settle_s)
        before, began_ns = cpu_s(process), time.time_ns()
        time.sleep(seconds)
        after, ended_ns, busy, used = cpu_s(process), time.time_ns(), load(), memory(process)
        sent = pacer and int(finish_when_done(pacer, feeding_s)["datagrams"])
        time.sleep(0.5)  # what is on its way
        counted = far.finish()
        arrived = far.arrivals(began_ns, ended_ns)
        shape = shape_of(arrived)
        if shape is None or shape.rate < LEAST_RATE * case.rate_bps / 8 / DATAGRAM:
            rate = f"{shape.rate * 8 * DATAGRAM / MBIT:.1f} Mb/s" if shape else "(almost) nothing"
            raise BenchError(f"{rate} arrived of {case.rate_bps / MBIT:g} Mb/s. {lab.said()}".rstrip())
    middle_ns = (began_ns + ended_ns) // 2
    return Run(
        cpu_s_a_minute=(after - before) / (ended_ns - began_ns) * 60e9,
        memory=used,
        shape=shape,
        sample=[packet for packet in arrived if 0 <= packet.at_ns - middle_ns < SAMPLE_NS],
        delivered=far.least(counted) / sent if sent and not case.remuxes else None,
        overflowed=sum(counted["overflowed"]),
        load=busy,
        command=" ".join(map(str, process.args if isinstance(process.args, list) else [process.args])).replace(wiring.passphrase, "…"),
    )


def finish_when_done(pacer: subprocess.Popen[bytes], seconds: float) -> dict[str, int]:
    pacer.wait(seconds + 10)
    return finish(pacer)  # type: ignore[no-any-return]


def chosen(cases: Sequence[Case], only: str) -> list[Case]:
    return [case for case in cases if only in str(case)]
