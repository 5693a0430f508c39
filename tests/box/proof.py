"""What the long proofs share: a lab, the pace at which they go, and how they are judged."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from firmware.places import Places
from tests.lab.analyse import Analyser
from tests.lab.networks import Networks
from tests.lab.ports import free_ports
from tests.lab.stalls import Stalls

from .apart import Apart
from .lab import Lab
from .ledger import Ledger

Figures = dict[str, Any]
STEP_S = 5.0  # how often a long proof reckons up


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
        self.lab: Lab = Apart(places, network, **lab) if network else Lab(places, lambda: free_ports(1)[0], **lab)

    def __enter__(self) -> Bench:
        self.lab.wait(self.lab.merged, what="both paths merged")
        self._stalls = Stalls()
        return self

    def __exit__(self, *_: object) -> None:
        self._stalls.close()
        self.lab.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.05)

    def go_on(self, ledger: Ledger) -> None:
        """For as long as wished, reckoning up now and then."""
        began = time.monotonic()
        while (gone := time.monotonic() - began) < self.seconds:
            progress(round(gone), self.seconds)
            self.pause(min(STEP_S, self.seconds - gone))
            ledger.settle()

    def loss(self) -> Figures:
        self.lab.flows_on(600)
        stalls = {
            "longest_stall_ms": round(self._stalls.longest_s(0) * 1000),
            "relays_late_ms": max((relay.lateness_ms() for relay in self.lab.relays), default=0),
        }
        return asdict(self.lab.difference()) | stalls


def progress(done: float, of: float) -> None:
    print(f"  {done:g}/{of:g}", end="\r", file=sys.stderr, flush=True)


def judged(figures: Figures, claims: dict[str, bool]) -> Figures:
    """With a verdict: `holds`, and in words what does not."""
    broken = [claim for claim, true in claims.items() if not true]
    return {"holds": not broken} | ({"broken": broken} if broken else {}) | figures


def unharmed(figures: Figures) -> dict[str, bool]:
    """What must be true of a stream that took no harm."""
    claims = {f"no datagram {what}": not figures[what] for what in ("lost", "duplicated", "disordered")}
    claims["something was compared"] = figures["compared"] > 500
    if "continuity_errors" in figures:
        claims["no continuity error"] = not figures["continuity_errors"]
        claims["no error of the first priority"] = not figures["priority_1"]
    return claims


def health(lab: Lab) -> Figures:
    analyser = Analyser()
    for datagram in lab.got.datagrams:
        analyser.feed(datagram)
    report = analyser.finish()
    return asdict(report) | {"pids": {hex(pid): count for pid, count in report.pids.items()}, "priority_1": report.priority_1}


def spread(values: list[float]) -> Figures:
    ordered = sorted(values)
    return {"median": round(median(ordered), 3), "max": round(ordered[-1], 3), "n": len(ordered)} if ordered else {}
