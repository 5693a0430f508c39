"""What is lost on the way, and what of it is still lost at the far end: SRT, RIST and FEC, ours and the peers', on the same seeds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.arrivals import Arrivals
from tests.bench.lossplot import Curve, loss_plot
from tests.bench.lossyways import CHAINS, LATENCY_MS, RTT_MS, Chain, Places, connect
from tests.bench.processes import BenchError, Lab, free_port
from tests.bench.report import Cell, Report, Table
from tests.bench.streams import make_stream
from tests.lab.programs import TOOLS, RelayProcess

RATE_BPS = 10_000_000
SECONDS, REPEATS = 8.0, 3
CALM_S = 1.2  # after each loss, until all of it is over
FILM_S = 20
SEED = 7
ORDERS = {
    "0.1 %": "loss 0.001",
    "1 %": "loss 0.01",
    "5 %": "loss 0.05",
    "10 %": "loss 0.1",
    "2 %, bursts of 5": "burst 0.02 5",
    "2 %, bursts of 20": "burst 0.02 20",
}


@dataclass(frozen=True)
class Outcome:
    """Datagrams of the stream. `on_the_way` counts all that the relay saw towards the receiver: FEC and control packets too."""

    sent: int
    lost: int
    on_the_way: float

    @property
    def share(self) -> float:
        return self.lost / self.sent


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    report = Report("recovery")
    seconds, repeats = seconds or SECONDS, repeats or REPEATS
    curves: list[Curve] = []
    rows: list[list[Cell]] = []
    every: list[list[Cell]] = []
    on_the_way: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        chains = [chain for chain in CHAINS if only in f"{chain.protocol}, {chain.name}"]
        remuxed = any(chain.name.startswith("ffmpeg") for chain in chains)
        film = make_stream(Path(folder), FILM_S, RATE_BPS) if remuxed else Path()
        for chain in chains:
            row = f"{chain.protocol}, {chain.name}"
            try:
                outcomes = measure(chain, film, seconds, repeats, report)
            except BenchError as error:
                report.failures[row] = str(error)
                continue
            rows.append([row, *map(_shown, outcomes.values())])
            every.append([row, *(", ".join(str(outcome.lost) for outcome in runs) for runs in outcomes.values())])
            middle = [median_low(runs, "share") for runs in outcomes.values()]
            curves.append(Curve(chain.protocol, chain.name, middle, chain.ours))
            on_the_way[chain.protocol] = [median_low(runs, "on_the_way") for runs in outcomes.values()]
    what = f"Lost at the far end, median of {repeats} runs, at 10 Mb/s; RTT {RTT_MS} ms, latency of SRT and RIST {LATENCY_MS} ms"
    report.tables.append(Table(what, ["chain", *ORDERS], rows))
    report.tables.append(Table("Datagrams lost in each run", ["chain", *ORDERS], every))
    report.picture = loss_plot(curves, list(ORDERS), on_the_way)
    report.notes += [
        f"One relay, the same seeds for all, {seconds:g} s of each loss, there and back; bursts by Gilbert and Elliott.",
        "A run that lost hundreds where others lost few met a stall of the machine: the median leaves it out.",
        "FEC waits as long as its matrix takes, ours 230 ms at this rate. What ffmpeg sends is paced by itself.",
    ]
    return report


def _shown(runs: list[Outcome]) -> str:
    middle = sorted(runs, key=lambda run: run.share)[(len(runs) - 1) // 2]
    return f"{middle.lost} of {middle.sent} ({middle.share * 100:.2g} %)"


def median_low(runs: list[Outcome], figure: str) -> float:
    return statistics.median_low(getattr(run, figure) for run in runs)


def measure(chain: Chain, film: Path, seconds: float, repeats: int, report: Report) -> dict[str, list[Outcome]]:
    """Every loss once, then every loss again: what the machine does meanwhile hits all of them."""
    arrivals = Arrivals(chain.numbers)
    with Lab() as lab:
        lab.callback(arrivals.close)
        far = free_port(5)
        beyond = ["--beyond", *map(str, chain.ports)] if chain.ports else []
        relay = RelayProcess(("127.0.0.1", far), "--delay-ms", str(RTT_MS / 2), "--seed", str(SEED), *beyond)
        lab.callback(relay.close)
        at = Places(free_port(), relay.address[1], far, arrivals.port, film)
        report.commands[f"{chain.protocol}, {chain.name}"] = connect(lab, chain, at)
        feed = [sys.executable, str(TOOLS / "feed.py"), f"127.0.0.1:{at.feed}", str(RATE_BPS)]
        feeding = lab.start(feed, stdin=subprocess.PIPE)
        lab.wait(lambda: len(arrivals) > 2000, f"the stream of {chain.protocol}, {chain.name}", 40)
        outcomes: dict[str, list[Outcome]] = {name: [] for name in ORDERS}
        for repeat in range(repeats):
            for name, order in ORDERS.items():
                outcomes[name].append(_lose(arrivals, relay, order, seconds, SEED + repeat))
        if feeding.poll() is not None:
            raise BenchError("the feed ended by itself")
    return outcomes


def _lose(arrivals: Arrivals, relay: RelayProcess, order: str, seconds: float, seed: int) -> Outcome:
    before, first = relay.counts(), arrivals.newest + 1
    relay.say(f"seed {seed}")
    relay.say(order)
    time.sleep(seconds)
    after = relay.counts()
    relay.say("loss 0")
    time.sleep(CALM_S / 2)
    sent = range(first, arrivals.newest + 1)
    time.sleep(CALM_S / 2)  # what is late, and not lost
    passed, lost = after[0] - before[0], after[1] - before[1]
    if not sent or not passed:
        raise BenchError("nothing comes any more")
    return Outcome(len(sent), arrivals.missing(sent), lost / (passed + lost))
