"""Proofs on real links, addresses and losses of the kernel, in network namespaces. They need root."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from tests.lab import networks
from tests.lab.cable import Cable
from tests.lab.networks import Networks

from .apart import Apart
from .ledger import Ledger
from .proof import Bench, Figures, judged, progress, spread, unharmed

FEED_BPS = 4e6
BACK_S = 2.0


def cables(options: argparse.Namespace) -> Figures:
    """real links (needs root): path A's cable is out for 1 s in every 5, `--times` times (100): back within 2 s, nothing lost"""
    return in_networks(options, lambda network: network.link("a", up=False), lambda network: network.link("a", up=True))


def leases(options: argparse.Namespace) -> Figures:
    """real addresses (needs root): path A gets another one every 5 s, `--times` times (100): back within 2 s, nothing lost"""
    return in_networks(options, lambda network: None, lambda network: network.move_address("a"))


def blackhole(options: argparse.Namespace) -> Figures:
    """real ones (needs root): path A is swallowed for 8 s, `--times` times (20), then loses 90 %: back within 2 s, path B untouched"""
    figures = in_networks(
        options, lambda network: network.black_hole("a", "out", "back"), lambda network: network.black_hole("a"), times=20, away_s=8
    )
    if "skipped" in figures or not figures["holds"]:
        return figures
    heavy = in_networks(options, lambda network: network.loss("a", 0.9), lambda network: network.loss("a", 0), times=2, away_s=20)
    return figures | {"holds": heavy["holds"], "nine_of_ten_lost": heavy}


def in_networks(
    options: argparse.Namespace,
    harm: Callable[[Networks], object],
    mend: Callable[[Networks], object],
    *,
    times: int = 100,
    away_s: float = 1,
) -> Figures:
    why = networks.missing()
    if why:
        return {"skipped": why}
    with Networks() as network, Bench(options, times=times, network=network, feed_bps=FEED_BPS) as bench, cable_of(network) as cable:
        lab, ledger = bench.lab, Ledger(bench.lab)
        assert isinstance(lab, Apart)
        back: list[float] = []
        suffered: list[str] = []
        for turn in range(bench.times):
            progress(turn, bench.times)
            before = lab.harm("b")
            harm(network)
            bench.pause(away_s)
            cable.forget()
            mend(network)
            began = time.monotonic()
            lab.wait(lambda: lab.comes_from("a", network.address["a"], since=began), what="path A carries the stream again")  # noqa: B023
            back.append(max(0.0, first_s(lab, cable) - began))
            bench.pause(max(0.0, began + 4 - time.monotonic()))
            lab.wait(lab.merged, what="merged again")
            ledger.settle()
            if lab.harm("b") != before:
                suffered.append(f"turn {turn}: {before} became {lab.harm('b')}")
        figures = ledger.close() | {"times": bench.times, "back_s": spread(back)} | ({"suffered": suffered} if suffered else {})
        claims = unharmed(figures) | {"path A is back within 2 s": max(back) < BACK_S, "path B is untouched": not suffered}
        return judged(figures, claims)


def cable_of(network: Networks) -> Cable:
    with network.inside("studio"):
        return Cable("path-a")


def first_s(lab: Apart, cable: Cable) -> float:
    """When the first packet came of those that path A carries now."""
    source = lab.source("a")
    assert source
    host, _, port = source.peer.rpartition(":")
    first = cable.first_s((host, int(port)))
    assert first is not None
    return first
