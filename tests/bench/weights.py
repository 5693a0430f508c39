"""What a flow worker weighs: its memory with each kind of end, and what it imports on the way to its first packet."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench import ours
from tests.bench.costs import CONNECTING_S, MBIT, attempt, say
from tests.bench.farends import far_end
from tests.bench.ports import Ports
from tests.bench.processes import ROOT, BenchError, Lab, Memory, free_port, is_bound, memory
from tests.bench.relays import Start, Wiring, ours_srt
from tests.bench.relays import ours as ours_udp
from tests.bench.report import Table

MOST_MB = 40
SECONDS = 3.0
RATE_BPS = 10 * MBIT
MOST_IMPORT_MS = 50.0
IMPORTS_SHOWN = 4
IMPORT_REPEATS = 3

FLOWS: dict[str, tuple[Start, str, int]] = {  # start, protocol of what it sends, outputs
    "UDP to UDP": (ours_udp, "udp", 1),
    "UDP to 50 x UDP": (ours_udp, "udp", 50),
    "UDP to RTP with FEC": (ours.fec, "fec", 1),
    "UDP to SRTP with FEC": (ours.fec_encrypted, "fec", 1),
    "UDP to SRT": (ours_srt, "srt", 1),
    "UDP to 8 x SRT": (ours_srt, "srt", 8),
    "UDP to RIST": (ours.rist, "rist", 1),
    "SRT to UDP": (ours.srt_receiver, "udp", 1),
    "RIST to UDP": (ours.rist_receiver, "udp", 1),
}


def weights_table(ports: Ports, stream: Path, only: str, failures: dict[str, str]) -> Table:
    title = f"Memory of a flow worker after {SECONDS:g} s of {RATE_BPS / MBIT:g} Mb/s; goal: {MOST_MB} MB at most"
    table = Table(title, ["flow", "MB most", "MB now", ""])
    for name, (start, protocol, outputs) in FLOWS.items():
        if only in f"memory, {name}":
            say(f"memory, {name}")
            try:
                weight = attempt(partial(weigh, ports, start, protocol, outputs, stream))
            except BenchError as error:
                failures[f"memory, {name}"] = str(error)
                continue
            table.rows.append([name, weight.most, weight.now, "met" if weight.most <= MOST_MB else "missed"])
    say("")
    return table


def weigh(ports: Ports, start: Start, protocol: str, outputs: int, stream: Path) -> Memory:
    with Lab() as lab:
        wiring = Wiring(free_port(), free_port(max(outputs, 5)), outputs, ports.folder, secrets.token_hex(16), stream, RATE_BPS)
        far_end(lab, ports, protocol, wiring)
        process = start(lab, wiring)
        lab.wait(lambda: is_bound(wiring.port) and process.poll() is None, "the flow listens")
        time.sleep(CONNECTING_S.get(protocol, 0.3))
        ports.pace(lab, stream, RATE_BPS, SECONDS + 1, [wiring.port])
        time.sleep(SECONDS)
        return memory(process)


def imports_table() -> Table:
    """`python -X importtime`, the quickest of some runs: their own time, without what they import in turn."""
    title = f"Imports of a flow worker, ms of their own; goal: none of {MOST_IMPORT_MS:g} ms or more"
    table = Table(title, ["import", "ms", ""])
    with tempfile.TemporaryDirectory() as compiled:
        runs = [_import_times(compiled) for _ in range(IMPORT_REPEATS + 1)][1:]  # the first compiles
    quickest = {name: min(run[name] for run in runs if name in run) for name in runs[0]}
    for name in sorted(quickest, key=lambda name: -quickest[name])[:IMPORTS_SHOWN]:
        table.rows.append([name, quickest[name], "met" if quickest[name] < MOST_IMPORT_MS else "missed"])
    table.rows.append(["all of them", min(sum(run.values()) for run in runs), ""])
    return table


def _import_times(compiled: str) -> dict[str, float]:
    places = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPYCACHEPREFIX": compiled}
    command = [sys.executable, "-X", "importtime", "-c", "import firmware.flow.worker"]
    said = subprocess.run(command, cwd=ROOT, env=places, capture_output=True, text=True, check=True, timeout=60).stderr
    lines = [line.removeprefix("import time:").split("|") for line in said.splitlines() if line.startswith("import time:")]
    return {name.strip(): int(own) / 1000 for own, _, name in lines if own.strip().isdecimal()}
