"""Proofs in which processes are killed, or hang."""

from __future__ import annotations

import argparse
import os
import signal
import time
from pathlib import Path

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


def block_capture(options: argparse.Namespace) -> Figures:
    """the camera's driver never returns: the slate plays, the worker is started anew, the picture returns"""
    return _faulty(options, "block")


def fail_capture(options: argparse.Namespace) -> Figures:
    """the camera reports errors for a while: the slate plays, and the picture is back within 3 s of the camera"""
    return _faulty(options, "fail")


def unplug_capture(options: argparse.Namespace) -> Figures:
    """the camera is unplugged for a while: the slate plays, and the picture is back within 3 s of the camera"""
    return _faulty(options, "")


def _faulty(options: argparse.Namespace, fault: str) -> Figures:
    with Bench(options, faulty=True) as bench:
        lab, camera = bench.lab, bench.lab.camera_file
        lab.wait(lambda: any(lab.places.slates.glob("*.ts")), what="the slate")
        slate: list[float] = []
        back: list[float] = []
        for turn in range(bench.times):
            progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.5, 2))
            began = time.monotonic()
            write(camera, fault)
            lab.wait(lambda: (s := lab.status("box")) and s.picture == "slate", what="the slate plays")
            slate.append(time.monotonic() - began)
            bench.pause(0.1 if fault == "block" else bench.chance.uniform(0.1, 4))
            began = time.monotonic()
            write(camera, "picture")
            lab.wait(lambda: (s := lab.status("box")) and s.picture == "live", what="the picture returns")
            back.append(time.monotonic() - began)
        figures = bench.loss() | {"faults": bench.times, "slate_reported_s": spread(slate), "back_s": spread(back)} | health(lab)
    held = {"the slate plays within 1 s": max(slate) < 1 + SNAPSHOT_S}
    if fault != "block":
        held["the picture is back within 3 s"] = max(back) < 3 + SNAPSHOT_S
    else:
        held["the picture is back within 5 s, 2 of which it takes to notice"] = max(back) < 5 + SNAPSHOT_S
    return judged(figures, unharmed(figures) | held)


def change_camera(options: argparse.Namespace) -> Figures:
    """the camera changes its size and rate on air: same PIDs, no fault in the stream, a picture all the time"""
    modes = ["320x240@15", "1280x720@25", "640x360@30", "1920x1080@10"]
    with Bench(options, faulty=True) as bench:
        lab = bench.lab
        back: list[float] = []
        for turn in range(bench.times):
            progress(turn, bench.times)
            bench.pause(bench.chance.uniform(0.5, 2))
            mode = modes[turn % len(modes)]
            size, _, rate = mode.partition("@")
            words = size.replace("x", " x ") + f", {rate}/s"
            began = time.monotonic()
            write(lab.camera_file, mode)
            lab.wait(lambda: (c := lab.capture()) and words in c.camera, what=f"the camera at {mode}")  # noqa: B023
            lab.wait(lambda: (s := lab.status("box")) and s.picture == "live", what="a picture")
            back.append(time.monotonic() - began)
        figures = bench.loss() | {"changes": bench.times, "silence_ms": silence(lab), "reported_s": spread(back)} | health(lab)
    return judged(figures, unharmed(figures) | {"a picture within 2 s": max(back) < 2 + SNAPSHOT_S})


def write(camera: Path, does: str) -> None:
    """What a bench camera does from now on; nothing: it is unplugged."""
    if not does:
        camera.unlink()
        return
    fresh = camera.with_suffix(".new")
    fresh.write_text(does)
    os.replace(fresh, camera)
