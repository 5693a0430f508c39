"""The long proofs, one a name: many cuts, heavy loss, kills at random moments, ten minutes on air. Figures as JSON lines.

scripts/prove --list
scripts/prove cuts kills --times 50
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from firmware.places import Places
from tests.box.apart import Apart
from tests.box.lab import Lab, page_answers
from tests.box.ledger import Ledger
from tests.lab import networks
from tests.lab.analyse import Analyser
from tests.lab.networks import Networks

Figures = dict[str, Any]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Bench:
    """A lab for one proof, and what it says while it goes."""

    def __init__(
        self, options: argparse.Namespace, *, times: int = 50, seconds: float = 60, network: Networks | None = None, **lab: Any
    ) -> None:
        self.times: int = options.times or times
        self.seconds: float = options.seconds or seconds
        self.chance = random.Random(options.seed)
        self.root = Path(tempfile.mkdtemp(prefix="pb-"))
        places = Places(self.root / "state", self.root / "run")
        places.create()
        self.lab: Lab = Apart(places, network, **lab) if network else Lab(places, free_port, **lab)

    def __enter__(self) -> Bench:
        self.lab.wait(self.lab.merged, what="both paths merged")
        return self

    def __exit__(self, *_: object) -> None:
        self.lab.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.05)

    def progress(self, done: float, of: float) -> None:
        print(f"  {done:g}/{of:g}", end="\r", file=sys.stderr, flush=True)

    def loss(self) -> Figures:
        self.lab.flows_on(600)
        return asdict(self.lab.difference())


def cuts(options: argparse.Namespace, protocol: str = "srt") -> Figures:
    """either path is cut for 5 s at a random moment, again and again"""
    with Bench(options, protocol=protocol) as bench:
        for turn in range(bench.times):
            bench.progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.5, 3))
            relay = bench.lab.relays[bench.chance.randrange(2)]
            relay.say("cut")
            bench.pause(5)
            relay.say("restore")
            bench.lab.wait(bench.lab.merged, what="merged again")
        return bench.loss() | {"cuts": bench.times}


def cuts_rtp(options: argparse.Namespace) -> Figures:
    """the same with an RTP pair"""
    return cuts(options, "rtp")


def loss(options: argparse.Namespace) -> Figures:
    """20 % random loss on one path for `--seconds`"""
    with Bench(options) as bench:
        bench.lab.relays[0].say("loss 0.2")
        bench.pause(bench.seconds)
        bench.lab.relays[0].say("loss 0")
        return bench.loss() | {"dropped_by_relay": bench.lab.relays[0].counts()[1]}


def skew(options: argparse.Namespace) -> Figures:
    """an RTP pair with skew 0 to 450 ms, 5 s cuts and 20 % loss"""
    figures: Figures = {}
    for skew_ms in (0, 10, 50, 150, 300, 450):
        with Bench(options, protocol="rtp", delays_ms=(0, skew_ms), window_ms=700) as bench:
            bench.lab.relays[0].say("loss 0.2")
            bench.pause(10)
            bench.lab.relays[0].say("loss 0")
            bench.pause(2)
            for relay in bench.lab.relays:
                relay.say("cut")
                bench.pause(5)
                relay.say("restore")
                bench.pause(2)
            figures[f"skew_{skew_ms}_ms"] = bench.loss()
    return figures


def flap(options: argparse.Namespace) -> Figures:
    """path A flaps 1 s in every 5, `--times` times (100): zero continuity errors"""
    with Bench(options, times=100) as bench:
        ledger = Ledger(bench.lab)
        back = 0
        for turn in range(bench.times):
            bench.progress(turn, bench.times)
            bench.lab.relays[0].say("cut")
            bench.pause(1)
            bench.lab.relays[0].say("restore")
            bench.pause(4)
            back += bench.lab.merged()
            ledger.settle()
        return {"flaps": bench.times, "merged_before_the_next": back} | ledger.close()


def loss_pair(options: argparse.Namespace) -> Figures:
    """an SRT pair at 10 Mb/s, 5 % loss each way on either path, RTT 30 ms, latency 4 x RTT, for `--seconds` (600): nothing lost"""
    camera = {"video_bps": 9_000_000}
    with Bench(options, seconds=600, camera=camera, delays_ms=(15, 15), latency_ms=120) as bench:
        lab, ledger = bench.lab, Ledger(bench.lab)
        for number, relay in enumerate(lab.relays):
            relay.say(f"seed {options.seed * 2 + number}")  # one seed for both would lose the same ones
            relay.say("loss 0.05")
        began = time.monotonic()
        while (gone := time.monotonic() - began) < bench.seconds:
            bench.progress(round(gone), bench.seconds)
            bench.pause(min(5, bench.seconds - gone))
            ledger.settle()
        for relay in lab.relays:
            relay.say("loss 0")
        figures = ledger.close()
        studio = lab.status("studio")
        assert studio
        paths = {
            end.name: {"repaired": end.repaired, "lost": end.lost, "rtt_ms": end.rtt_ms, "dropped_by_relay": relay.counts()[1]}
            for end, relay in zip(studio.sources, lab.relays, strict=True)
        }
        return figures | {"rate_bps": round(studio.rate_bps), "saved_by": studio.merge and studio.merge.saved_by, "paths": paths}


def cables(options: argparse.Namespace) -> Figures:
    """real links (needs root): path A's cable is out for 1 s in every 5, `--times` times (100): back within 2 s, nothing lost"""
    return in_networks(options, lambda network: network.link("a", up=False), lambda network: network.link("a", up=True))


def leases(options: argparse.Namespace) -> Figures:
    """real addresses (needs root): path A gets another one every 5 s, `--times` times (100): back within 2 s, nothing lost"""
    return in_networks(options, lambda network: None, lambda network: network.move_address("a"))


def in_networks(options: argparse.Namespace, harm: Callable[[Networks], object], mend: Callable[[Networks], object]) -> Figures:
    why = networks.missing()
    if why:
        return {"skipped": why}
    with Networks() as network, Bench(options, times=100, network=network) as bench:
        lab, ledger = bench.lab, Ledger(bench.lab)
        assert isinstance(lab, Apart)
        back: list[float] = []
        for turn in range(bench.times):
            bench.progress(turn, bench.times)
            before = lab.harm("b")
            harm(network)
            bench.pause(1)
            mend(network)
            began = time.monotonic()
            lab.wait(lambda: lab.comes_from("a", network.address["a"], since=began), what="path A carries the stream again")  # noqa: B023
            back.append(time.monotonic() - began)
            bench.pause(max(0, 4 - back[-1]))
            lab.wait(lab.merged, what="merged again")
            ledger.settle()
            if lab.harm("b") != before:
                raise AssertionError(f"path B suffered with A: {before} became {lab.harm('b')}")
        return {"times": bench.times, "back_s": spread(back)} | ledger.close()


def kill_web(options: argparse.Namespace) -> Figures:
    """kill -9 of the web process"""
    port = free_port()
    with Bench(options, web_port=port) as bench:
        back: list[float] = []
        bench.lab.wait(lambda: page_answers(port), what="the page")
        for turn in range(bench.times):
            bench.progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.2, 2))
            os.kill(bench.lab.child("appliance.webd"), signal.SIGKILL)
            began = time.monotonic()
            bench.lab.wait(lambda: not page_answers(port), what="the page is gone")
            bench.lab.wait(lambda: page_answers(port), what="the page is back")
            back.append(time.monotonic() - began)
        return bench.loss() | {"kills": bench.times, "back_s": spread(back)}


def kill_capture(options: argparse.Namespace) -> Figures:
    """kill -9 of the capture worker: slate within 1 s, picture within 3 s, same PIDs, unbroken counters"""
    with Bench(options) as bench:
        lab = bench.lab
        lab.wait(lambda: any(lab.places.slates.glob("*.ts")), what="the slate")
        back: list[float] = []
        for turn in range(bench.times):
            bench.progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.5, 3))
            pid = lab.child("firmware.capture.worker")
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            lab.wait(lambda: (c := lab.capture()) and c.pid not in (0, pid) and c.frames > 2, what="the picture returns")  # noqa: B023
            back.append(time.monotonic() - began)
        figures = bench.loss()
        return figures | {"kills": bench.times, "silence_ms": silence(lab), "back_s": spread(back)} | health(lab)


def hang_capture(options: argparse.Namespace) -> Figures:
    """SIGSTOP of the capture worker: the slate plays within 1 s and the picture returns by itself"""
    with Bench(options) as bench:
        lab = bench.lab
        lab.wait(lambda: any(lab.places.slates.glob("*.ts")), what="the slate")
        slate: list[float] = []
        back: list[float] = []
        for turn in range(bench.times):
            bench.progress(turn, bench.times)
            bench.pause(bench.chance.uniform(1, 2))
            pid = lab.child("firmware.capture.worker")
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            lab.wait(lambda: (s := lab.status("box")) and s.picture == "slate", what="the slate plays")
            slate.append(time.monotonic() - began)
            lab.wait(lambda: (s := lab.status("box")) and s.picture == "live", what="the picture returns")
            back.append(time.monotonic() - began)
        figures = bench.loss()
        return figures | {"hangs": bench.times, "slate_reported_s": spread(slate), "back_s": spread(back)} | health(lab)


def kill_flow(options: argparse.Namespace) -> Figures:
    """kill -9 of either flow worker: datagrams again within 3 s"""
    with Bench(options) as bench:
        lab = bench.lab
        back: dict[str, list[float]] = {"box": [], "studio": []}
        for turn in range(bench.times):
            bench.progress(turn, bench.times)
            bench.pause(bench.chance.uniform(1, 3))
            flow = ("studio", "box")[turn % 2]
            before = lab.wait(lambda: lab.status(flow))  # noqa: B023
            began = time.monotonic()
            os.kill(before.pid, signal.SIGKILL)
            lab.wait(lambda: (s := lab.status(flow)) and s.pid != before.pid, what=f"{flow} back")  # noqa: B023
            lab.wait(lambda: lab.got.times[-1] > began + 1, what="the stream goes on")  # noqa: B023
            lab.wait(lab.merged, what="both paths merged again")
            back[flow].append(lab.got.longest_silence_s(since=began - 0.5))
        return {"kills": bench.times} | {f"{flow}_gap_s": spread(gaps) for flow, gaps in back.items()}


def air(options: argparse.Namespace) -> Figures:
    """`--seconds` of 1080p30 on air, every packet looked at"""
    camera = {"camera": options.camera, "width": 1920, "height": 1080, "video_bps": 6_000_000, "preset": "ultrafast"}
    with Bench(options, camera=camera) as bench:
        bench.pause(bench.seconds)
        figures = bench.loss()
        return figures | health(bench.lab)


def health(lab: Lab) -> Figures:
    analyser = Analyser()
    for datagram in lab.got.datagrams:
        analyser.feed(datagram)
    report = analyser.finish()
    return asdict(report) | {"pids": {hex(pid): count for pid, count in report.pids.items()}, "priority_1": report.priority_1}


def silence(lab: Lab) -> float:
    return round(lab.got.longest_silence_s() * 1000, 1)


def spread(values: list[float]) -> Figures:
    ordered = sorted(values)
    return {"median": round(median(ordered), 3), "max": round(ordered[-1], 3), "n": len(ordered)} if ordered else {}


PROOFS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "cuts": cuts,
    "cuts-rtp": cuts_rtp,
    "loss": loss,
    "loss-pair": loss_pair,
    "skew": skew,
    "flap": flap,
    "cables": cables,
    "leases": leases,
    "kill-web": kill_web,
    "kill-capture": kill_capture,
    "hang-capture": hang_capture,
    "kill-flow": kill_flow,
    "air": air,
}


def main() -> int:
    told = "\n".join(f"  {name:14} {(proof.__doc__ or '').strip()}" for name, proof in PROOFS.items())
    parser = argparse.ArgumentParser(
        description=f"{(__doc__ or '').strip()}\n\n{told}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("proofs", nargs="*", choices=[*PROOFS, []], metavar="PROOF", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="the names alone")
    parser.add_argument("--times", type=int, help="cuts, flaps or kills (default: 50, or what the proof says)")
    parser.add_argument("--seconds", type=float, help="length of the loss and air proofs (default: 60, or what the proof says)")
    parser.add_argument("--camera", default="pattern", help="camera of the air proof: pattern or clip:FILE")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    options = parser.parse_args()
    if options.list:
        print("\n".join(PROOFS))
        return 0
    for name in options.proofs or PROOFS:
        began = time.monotonic()
        print(f"{name}: {(PROOFS[name].__doc__ or '').strip()}", file=sys.stderr)
        figures = PROOFS[name](options)
        print(json.dumps({"proof": name, "took_s": round(time.monotonic() - began)} | figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
