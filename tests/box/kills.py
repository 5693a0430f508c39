"""Proofs in which processes are killed, or hang."""

from __future__ import annotations

import argparse
import os
import signal
import time

from tests.lab.ports import free_ports

from .lab import Lab, page_answers
from .proof import Bench, Figures, health, judged, progress, spread, unharmed

SNAPSHOT_S = 0.6  # how old what is read may be


def kill_web(options: argparse.Namespace) -> Figures:
    """kill -9 of the web process"""
    port = free_ports(1)[0]
    with Bench(options, web_port=port) as bench:
        back: list[float] = []
        bench.lab.wait(lambda: page_answers(port), what="the page")
        for turn in range(bench.times):
            progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.2, 2))
            os.kill(bench.lab.child("appliance.webd"), signal.SIGKILL)
            began = time.monotonic()
            bench.lab.wait(lambda: not page_answers(port), what="the page is gone")
            bench.lab.wait(lambda: page_answers(port), what="the page is back")
            back.append(time.monotonic() - began)
        figures = bench.loss()
        return judged(figures | {"kills": bench.times, "back_s": spread(back)}, unharmed(figures))


def kill_capture(options: argparse.Namespace) -> Figures:
    """kill -9 of the capture worker: slate within 1 s, picture within 3 s, same PIDs, unbroken counters"""
    with Bench(options) as bench:
        lab = bench.lab
        lab.wait(lambda: any(lab.places.slates.glob("*.ts")), what="the slate")
        back: list[float] = []
        for turn in range(bench.times):
            progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.5, 3))
            pid = lab.child("firmware.capture.worker")
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            lab.wait(lambda: (c := lab.capture()) and c.pid not in (0, pid) and c.frames > 2, what="the picture returns")  # noqa: B023
            back.append(time.monotonic() - began)
        figures = bench.loss() | {"kills": bench.times, "silence_ms": silence(lab), "back_s": spread(back)} | health(lab)
        return judged(figures, unharmed(figures) | {"the picture is back within 3 s": max(back) < 3 + SNAPSHOT_S})


def hang_capture(options: argparse.Namespace) -> Figures:
    """SIGSTOP of the capture worker: the slate plays within 1 s and the picture returns by itself"""
    with Bench(options) as bench:
        lab = bench.lab
        lab.wait(lambda: any(lab.places.slates.glob("*.ts")), what="the slate")
        slate: list[float] = []
        back: list[float] = []
        for turn in range(bench.times):
            progress(turn, bench.times)
            bench.pause(bench.chance.uniform(1, 2))
            pid = lab.child("firmware.capture.worker")
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            lab.wait(lambda: (s := lab.status("box")) and s.picture == "slate", what="the slate plays")
            slate.append(time.monotonic() - began)
            lab.wait(lambda: (s := lab.status("box")) and s.picture == "live", what="the picture returns")
            back.append(time.monotonic() - began)
        figures = bench.loss() | {"hangs": bench.times, "slate_reported_s": spread(slate), "back_s": spread(back)} | health(lab)
        return judged(figures, unharmed(figures) | {"the slate plays within 1 s": max(slate) < 1 + SNAPSHOT_S})


def kill_flow(options: argparse.Namespace) -> Figures:
    """kill -9 of either flow worker: datagrams again within 3 s"""
    with Bench(options) as bench:
        lab = bench.lab
        back: dict[str, list[float]] = {"box": [], "studio": []}
        for turn in range(bench.times):
            progress(turn, bench.times)
            bench.pause(bench.chance.uniform(1, 3))
            flow = ("studio", "box")[turn % 2]
            before = lab.wait(lambda: lab.status(flow))  # noqa: B023
            began = time.monotonic()
            os.kill(before.pid, signal.SIGKILL)
            lab.wait(lambda: (s := lab.status(flow)) and s.pid != before.pid, what=f"{flow} back")  # noqa: B023
            lab.wait(lambda: lab.got.times[-1] > began + 1, what="the stream goes on")  # noqa: B023
            lab.wait(lab.merged, what="both paths merged again")
            back[flow].append(lab.got.longest_silence_s(since=began - 0.5))
        figures: Figures = {"kills": bench.times} | {f"{flow}_gap_s": spread(gaps) for flow, gaps in back.items()}
        return judged(figures, {f"{flow} is back within 3 s": max(gaps, default=0) < 3 for flow, gaps in back.items()})


def silence(lab: Lab) -> float:
    return round(lab.got.longest_silence_s() * 1000, 1)
