"""Proof that a secret of both paths is replaced on air, and that whoever has only the former value is out in the end."""

from __future__ import annotations

import argparse
import time

from firmware.flow.passphrases import BY_FORMER
from firmware.secrets import generate

from .lab import Lab
from .proof import Bench, Figures, judged, progress, spread, unharmed

OVERLAP_S = 120.0


def rotate(options: argparse.Namespace) -> Figures:
    """the passphrase of both paths is replaced on air, again and again (10), each time until both are connected by the new one"""
    with Bench(options, times=10) as bench:
        lab = bench.lab
        took: list[float] = []
        for turn in range(bench.times):
            progress(turn, bench.times)
            began = time.monotonic()
            lab.service.secrets.replace("path", generate(), former_for_s=OVERLAP_S)
            lab.wait(lambda: _by_former(lab), what="the new passphrase is known")
            lab.wait(lambda: not _by_former(lab) and lab.merged(), what="both paths by the new passphrase")
            took.append(time.monotonic() - began)
            lab.service.secrets.replace("path", lab.service.secrets.get("path"))  # from now on the former one is over
            bench.pause(1)
        figures = bench.loss() | {"rotations": bench.times, "took_s": spread(took)}
        return judged(figures, unharmed(figures))


def _by_former(lab: Lab) -> bool:
    ends = [*(lab.output(path) for path in "ab"), *(lab.source(path) for path in "ab")]
    return any(end is None or end.state != "connected" or end.message == BY_FORMER for end in ends)
