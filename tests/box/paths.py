"""Proofs of two paths through relays: cut, flapping, lossy, late, swallowed."""

from __future__ import annotations

import argparse
import math
import time
from typing import Literal

import msgspec

from .lab import Lab
from .ledger import Ledger
from .proof import Bench, Figures, judged, progress, unharmed

TEN_MBIT, FOUR_MBIT = 10e6, 4e6
SKEWS_MS = (0, 50, 150, 300, 450)
RTT_MS, TIMES_RTT = 30, 4
RESIDUE = 0.005  # what FEC of 10 x 10 may leave of 5 % on one path; it is 0.0008 (`fec-pair-simulated`)


def cuts(options: argparse.Namespace, protocol: Literal["srt", "rtp"] = "srt") -> Figures:
    """either path is cut for 5 s at a random moment, again and again"""
    with Bench(options, protocol=protocol) as bench:
        for turn in range(bench.times):
            progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.5, 3))
            relay = bench.lab.relays[bench.chance.randrange(2)]
            relay.say("cut")
            bench.pause(5)
            relay.say("restore")
            bench.lab.wait(bench.lab.merged, what="merged again")
        figures = bench.loss()
        return judged(figures | {"cuts": bench.times}, unharmed(figures))


def cuts_rtp(options: argparse.Namespace) -> Figures:
    """the same with an RTP pair"""
    return cuts(options, "rtp")


def loss(options: argparse.Namespace) -> Figures:
    """20 % random loss on one path for `--seconds`"""
    with Bench(options) as bench:
        bench.lab.relays[0].say("loss 0.2")
        bench.pause(bench.seconds)
        bench.lab.relays[0].say("loss 0")
        figures = bench.loss()
        return judged(figures | {"dropped_by_relay": bench.lab.relays[0].counts()[1]}, unharmed(figures))


def flap(options: argparse.Namespace) -> Figures:
    """path A flaps 1 s in every 5, `--times` times (100): zero continuity errors, and path B's counters stay as they are"""
    with Bench(options, times=100, feed_bps=FOUR_MBIT) as bench:
        lab, ledger = bench.lab, Ledger(bench.lab)
        before = lab.harm("b")
        back = 0
        for turn in range(bench.times):
            progress(turn, bench.times)
            lab.relays[0].say("cut")
            bench.pause(1)
            lab.relays[0].say("restore")
            bench.pause(4)
            back += lab.merged()
            ledger.settle()
        figures = ledger.close() | {"flaps": bench.times, "merged_before_the_next": back, "path_b": lab.harm("b")}
        return judged(figures, unharmed(figures) | {"path B's counters stay as they are": lab.harm("b") == before})


def srt_pair(options: argparse.Namespace) -> Figures:
    """an SRT pair at 10 Mb/s, 5 % loss each way on either path, RTT 30 ms, latency 4 x RTT, for `--seconds` (600): nothing lost"""
    delays_ms = (RTT_MS / 2, RTT_MS / 2)
    with Bench(options, seconds=600, feed_bps=TEN_MBIT, delays_ms=delays_ms, latency_ms=RTT_MS * TIMES_RTT) as bench:
        figures = lossy_pair(bench, options.seed)
        return judged(figures, unharmed(figures))


def fec_pair(options: argparse.Namespace) -> Figures:
    """an RTP pair with FEC 10 x 10 at 10 Mb/s, 5 % loss on either path, for `--seconds` (600): no more lost than both paths by chance"""
    with Bench(options, seconds=600, feed_bps=TEN_MBIT, protocol="rtp-fec", window_ms=400) as bench:
        figures = lossy_pair(bench, options.seed)
    residues = [path["residue"] for path in figures["paths"].values()]
    predicted = residues[0] * residues[1] * figures["account"]["carried"]
    most = quantile(predicted)
    claims = {claim: true for claim, true in unharmed(figures).items() if "lost" not in claim and "error" not in claim}
    claims[f"at most {most} lost, as independence predicts"] = figures["lost"] <= most
    claims["either path alone loses what FEC of 10 x 10 leaves"] = max(residues) < RESIDUE
    return judged(figures | {"predicted_lost": round(predicted, 2)}, claims)


def lossy_pair(bench: Bench, seed: int) -> Figures:
    """5 % of either path is lost, each by draws of its own; what came of it, and what saved it."""
    lab, ledger = bench.lab, Ledger(bench.lab)
    before = accounted(lab)
    for number, relay in enumerate(lab.relays):
        relay.say(f"seed {seed * 2 + number}")  # one seed for both would lose the same ones
        relay.say("loss 0.05")
    bench.go_on(ledger)
    for relay in lab.relays:
        relay.say("loss 0")
    figures = ledger.close()
    calm = time.time() + 1
    lab.wait(lambda: (studio := lab.status("studio")) and studio.at > calm, what="the last of it is counted")
    studio, account = lab.status("studio"), accounted(lab)
    assert studio
    counted = {name: account[name] - before[name] for name in account}
    paths = {
        end.name: {
            "repaired": end.repaired + end.fec_repaired,
            "residue": round(counted[f"alone_{end.name}"] / counted["carried"], 7),
            "rtt_ms": end.rtt_ms,
            "dropped_by_relay": relay.counts()[1],
        }
        for end, relay in zip(studio.sources, lab.relays, strict=True)
    }
    return figures | {"rate_bps": round(studio.rate_bps), "account": counted, "paths": paths}


def accounted(lab: Lab) -> dict[str, int]:
    """The studio's account, flat."""
    studio = lab.status("studio")
    assert studio
    assert studio.account
    told = msgspec.structs.asdict(studio.account)
    alone = told.pop("alone")
    return {name: count or 0 for name, count in told.items()} | {f"alone_{name}": count for name, count in alone.items()}


def quantile(mean: float, share: float = 0.999) -> int:
    """So many or fewer come in this share of all runs, when so many come on average, each for itself (Poisson)."""
    count, term = 0, math.exp(-mean)
    below = term
    while below < share:
        count += 1
        term *= mean / count
        below += term
    return count


def skew(options: argparse.Namespace) -> Figures:
    """an RTP pair, one path 0 to 450 ms behind, window 500 ms, 20 % loss and 5 s cuts; then the skew changes: nothing lost"""
    figures: Figures = {}
    claims: dict[str, bool] = {}

    def note(name: str, bench: Bench) -> None:
        figures[name] = bench.loss()
        claims.update({f"{name}: {claim}": true for claim, true in unharmed(figures[name]).items()})

    for number, skew_ms in enumerate(SKEWS_MS):
        progress(number, len(SKEWS_MS) + 1)
        with Bench(options, protocol="rtp", feed_bps=FOUR_MBIT, delays_ms=(0, skew_ms), window_ms=500) as bench:
            for relay in bench.lab.relays:
                relay.say("loss 0.2")
                bench.pause(5)
                relay.say("loss 0")
                bench.pause(1)
                relay.say("cut")
                bench.pause(5)
                relay.say("restore")
                bench.pause(2)
            note(f"skew_{skew_ms}_ms", bench)
    with Bench(options, protocol="rtp", feed_bps=FOUR_MBIT, window_ms=500) as bench:
        change_skew(bench)
        note("skew_that_changes", bench)
    return judged(figures, claims)


def change_skew(bench: Bench) -> None:
    """Either path comes to lag, at once and slowly, and back, while the other one and then it itself loses packets."""
    for late in bench.lab.relays:
        for lossy in bench.lab.relays:
            lossy.say("loss 0.2")
            for skew_ms in (150, 450, 0, 300, *range(290, -1, -10)):
                late.say(f"delay {skew_ms}")
                bench.pause(1 if skew_ms % 50 == 0 else 0.05)
            lossy.say("loss 0")
            bench.pause(1)
