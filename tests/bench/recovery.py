"""What is lost on the way, and what of it is still lost at the far end: SRT, RIST and FEC, ours and the peers', on the same seeds."""

from __future__ import annotations

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
SECONDS = 20.0
CALM_S = 2.0  # after each loss, until all of it is over
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
    curves: list[Curve] = []
    rows: list[list[Cell]] = []
    on_the_way: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        chains = [chain for chain in CHAINS if only in f"{chain.protocol}, {chain.name}"]
        remuxed = any(chain.name.startswith("ffmpeg") for chain in chains)
        film = make_stream(Path(folder), FILM_S, RATE_BPS) if remuxed else Path()
        for chain in chains:
            row = f"{chain.protocol}, {chain.name}"
            try:
                outcomes = measure(chain, film, seconds or SECONDS, report)
            except BenchError as error:
                report.failures[row] = str(error)
                continue
            rows.append([row, *(_shown(outcome) for outcome in outcomes.values())])
            curves.append(Curve(chain.protocol, chain.name, [outcome.share for outcome in outcomes.values()], chain.ours))
            on_the_way[chain.protocol] = [outcome.on_the_way for outcome in outcomes.values()]
    what = f"Lost at the far end, datagrams of those sent, at 10 Mb/s; RTT {RTT_MS} ms, latency of SRT and RIST {LATENCY_MS} ms"
    report.tables.append(Table(what, ["chain", *ORDERS], rows))
    report.picture = loss_plot(curves, list(ORDERS), on_the_way)
    report.notes += [
        f"One relay, one seed, {seconds or SECONDS:g} s of each loss, in the forward and the way back; bursts by Gilbert and Elliott.",
        "FEC waits as long as its matrix takes, ours 230 ms at this rate. What ffmpeg sends is paced by itself.",
    ]
    return report


def _shown(outcome: Outcome) -> str:
    return f"{outcome.lost} of {outcome.sent} ({outcome.share * 100:.2g} %)"


def measure(chain: Chain, film: Path, seconds: float, report: Report) -> dict[str, Outcome]:
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
        outcomes = {name: _lose(arrivals, relay, order, seconds) for name, order in ORDERS.items()}
        if feeding.poll() is not None:
            raise BenchError("the feed ended by itself")
    return outcomes


def _lose(arrivals: Arrivals, relay: RelayProcess, order: str, seconds: float) -> Outcome:
    before, first = relay.counts(), arrivals.newest + 1
    relay.say(f"seed {SEED}")
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
