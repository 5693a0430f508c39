"""Processor time of a relay: 10 Mb/s of UDP in, one and four outputs, in a steady window."""

from __future__ import annotations

import json
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from firmware.wire.ts import DATAGRAM
from tests.bench.processes import Lab, cpu_s, free_port, is_bound, load
from tests.bench.relays import LATENCY_MS, RELAYS, Relay, Wiring, c_floor
from tests.bench.report import Bar, Report, Table
from tests.bench.streams import make_stream

RATE_BPS = 10_000_000
SETTLE_S = 3.0
SECONDS, REPEATS = 15.0, 3
PYTHON = [sys.executable, "-m", "tests.bench.datagrams"]


@dataclass
class Spent:
    """CPU seconds per minute of stream, and the share of datagrams that the worst output got."""

    cpu_s_a_minute: float
    delivered: float
    command: str
    load: float


Key = tuple[Relay, int]


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    report, seconds = Report("cpu"), seconds or SECONDS
    results: dict[Key, list[Spent]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stream = make_stream(folder, seconds + SETTLE_S + 3)
        floor = c_floor(folder)
        if floor is None:
            report.notes.append("No C compiler (cc) here: the bare C loop is left out. apt-get install gcc libc6-dev brings one.")
        relays = [relay for relay in [*RELAYS, *([floor] if floor else [])] if only in relay.name]
        for _ in range(repeats or REPEATS):
            for relay in relays:
                for outputs in relay.outputs:
                    results[relay, outputs].append(measure(relay, outputs, stream, seconds, folder))
    spent = {key: statistics.median(run.cpu_s_a_minute for run in runs) for key, runs in results.items()}
    report.tables = [_table(results, spent), *_ratios(spent, report.bars)]
    report.notes += [
        "User and system time of the relay and its threads from /proc, start-up excluded. Datagrams come evenly spaced; sinks look every",
        "2 ms, so that no send() pays for waking them. ffmpeg takes the stream apart and makes a new one; the others pass datagrams on.",
    ]
    report.commands = {f"{relay.name} x{outputs}": runs[0].command for (relay, outputs), runs in results.items()}
    return report


def measure(relay: Relay, outputs: int, stream: Path, seconds: float, folder: Path) -> Spent:
    with Lab() as lab:
        port, first_port = free_port(), free_port(outputs)
        wiring = Wiring(port, first_port, outputs, folder, secrets.token_hex(16))
        sink_port = free_port() if relay.srt else first_port
        sink = lab.start([*PYTHON, "sink", str(sink_port), str(outputs)], stdout=subprocess.PIPE)
        lab.wait(lambda: is_bound(sink_port + outputs - 1), "the sink listens")
        if relay.srt:
            listener = f"srt://127.0.0.1:{first_port}?mode=listener&latency={LATENCY_MS}&passphrase={wiring.passphrase}&pbkeylen=32"
            lab.start(["srt-live-transmit", "-q", listener, f"udp://127.0.0.1:{sink_port}"])
            lab.wait(lambda: is_bound(first_port), "srt-live-transmit listens")
        process = relay.start(lab, wiring)
        lab.wait(lambda: is_bound(port) and process.poll() is None, f"{relay.name} listens")
        time.sleep(1.0 if relay.srt else 0.3)  # its connection, and its other outputs
        sender = lab.start([*PYTHON, "pace", str(stream), str(RATE_BPS), str(seconds + SETTLE_S + 1), str(port)], stdout=subprocess.PIPE)
        time.sleep(SETTLE_S)
        before, began = cpu_s(process), time.monotonic()
        time.sleep(seconds)
        after, busy, passed = cpu_s(process), load(), time.monotonic() - began
        sent = int(json.loads(sender.communicate()[0])["datagrams"])
        time.sleep(0.5)  # what is on its way
        sink.send_signal(signal.SIGINT)
        got = json.loads(sink.communicate()[0])["datagrams"]
    command = str(process.args).replace(wiring.passphrase, "…")
    return Spent((after - before) / passed * 60, min(got) / sent, command, busy)


def _table(results: dict[Key, list[Spent]], spent: dict[Key, float]) -> Table:
    columns = ["relay", "outputs", "CPU s a minute", "of runs", "us a datagram in", "delivered", "load"]
    table = Table(f"Relay of {RATE_BPS / 1e6:g} Mb/s in datagrams of {DATAGRAM} bytes: CPU seconds a minute, median", columns)
    for (relay, outputs), runs in results.items():
        each = ", ".join(f"{run.cpu_s_a_minute:.2f}" for run in runs)
        us = spent[relay, outputs] / 60 / (RATE_BPS / 8 / DATAGRAM) * 1e6
        delivered = "remuxed" if relay.remuxes else f"{min(run.delivered for run in runs):.4f}"
        table.rows.append([relay.name, outputs, spent[relay, outputs], each, us, delivered, max(run.load for run in runs)])
    return table


def _ratios(spent: dict[Key, float], bars: list[Bar]) -> list[Table]:
    """Ours against each other one with as many outputs and the same protocol."""
    table = Table("Ratios, CPU time; below 1 ours is ahead", ["ours", "against", "outputs", "ratio"])
    for (relay, outputs), cost in spent.items():
        protocol = "SRT AES-256" if relay.srt else "UDP"
        bars.append(Bar(f"Processor, 10 Mb/s of UDP to {outputs} x {protocol}", relay.name, cost, "CPU s a minute", relay.ours))
        for (peer, as_many), peer_cost in spent.items():
            if relay.ours and not peer.ours and as_many == outputs and peer.srt == relay.srt and peer_cost:
                table.rows.append([relay.name, peer.name, outputs, cost / peer_cost])
    bars.sort(key=lambda bar: (bar.group, not bar.ours, bar.value))
    return [table] if table.rows else []
