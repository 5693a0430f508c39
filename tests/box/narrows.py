"""The picture's bitrate on real links that become narrow: tbf of the kernel in network namespaces. They need root."""

from __future__ import annotations

import argparse
import time

from tests.lab import networks
from tests.lab.networks import Networks

from .proof import Bench, Figures, health, judged, progress, spread, unharmed

WIDE, NARROW = 10.0, 1.5  # Mb/s
CEILING_BPS = 6_000_000
LATENCY_MS = 400


def narrows(options: argparse.Namespace) -> Figures:
    """real links (needs root): both paths go from 10 to 1.5 Mb/s for 15 s and back, `--times` times (5): down within 1 s, up again"""
    why = networks.missing()
    if why:
        return {"skipped": why}
    camera = {"video_bps": CEILING_BPS, "audio_bps": 64_000, "gop_ms": 1000}
    with Networks() as network, Bench(options, times=5, network=network, camera=camera, latency_ms=LATENCY_MS) as bench:
        lab = bench.lab
        down: list[float] = []
        up: list[float] = []
        lowest: list[float] = []
        for turn in range(bench.times):
            progress(turn, bench.times)
            rate(network, WIDE)
            lab.wait(lambda: (c := lab.capture()) and c.bitrate_bps == CEILING_BPS, what="the ceiling", timeout_s=120)
            bench.pause(5)
            began = time.monotonic()
            rate(network, NARROW)
            lab.wait(lambda: (c := lab.capture()) and c.bitrate_bps < NARROW * 1e6, what="it falls")
            down.append(time.monotonic() - began)
            bench.pause(15)
            capture = lab.capture()
            lowest.append(capture.bitrate_bps / 1e6 if capture else 0.0)
            began = time.monotonic()
            rate(network, WIDE)
            lab.wait(lambda: (c := lab.capture()) and c.bitrate_bps == CEILING_BPS, what="it is at the ceiling again", timeout_s=120)
            up.append(time.monotonic() - began)
        lab.flows_on(600)
        figures: Figures = {"times": bench.times, "told_down_s": spread(down), "while_narrow_mbps": spread(lowest), "up_s": spread(up)}
        figures |= bench.loss() | health(lab)
    claims = {
        "down within 1 s, and half a second to the snapshot": max(down) < 1.6,
        "at the ceiling again within 30 s": max(up) < 30,
        "it uses half of the narrow link or more": min(lowest) > NARROW / 3,
    }
    return judged(figures, claims | {"something was compared": unharmed(figures)["something was compared"]})


def rate(network: Networks, mbps: float) -> None:
    network.rate("a", mbps)
    network.rate("b", mbps)
