"""What every process of a box weighs and takes, idle and on air: 1080p30 to two encrypted SRT paths, seconds of /proc."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from firmware.status import FlowStatus, read_snapshot
from tests.bench.processes import PRESSBOX, ROOT, BenchError, free_port, running_s
from tests.bench.report import Report, Table

SECONDS = 20.0
WARM_UP_S = 8.0
MOST_MB = 40
NAMES = {  # by the module that runs
    "appliance.cli": "media, their parent",
    "firmware.capture.worker": "capture worker, encoder and all",
    "firmware.flow.worker": "flow worker",
    "firmware.capture.preview": "previews",
    "firmware.metrics.recorder": "metrics",
    "firmware.alarms.watcher": "alarms, and the board's health",
    "appliance.alarmd": "alarm notices",
    "appliance.webd": "web",
    "appliance.paneld": "panel",
}
FILMING = {"firmware.capture.worker", "firmware.flow.worker"}
CAMERA = {"protocol": "camera", "name": "camera", "width": 1920, "height": 1080, "fps": 30, "video_bps": 6_000_000}


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    report, seconds = Report("box"), seconds or SECONDS
    with TemporaryDirectory(prefix="pb-") as name, box(Path(name)) as (engine, tell):
        wait_until(engine, lambda: NAMES.keys() - FILMING <= _processes(engine).keys(), "all that runs on an idle box")
        measure(engine, WARM_UP_S)  # what it takes to start is not what it takes to idle
        idle = measure(engine, seconds)
        on_air(Path(name), tell)
        wait_until(engine, lambda: any((Path(name) / "state/slates").glob("*.ts")), "the slate is made")
        wait_until(engine, lambda: on_the_way(Path(name)), "both paths carry the picture")
        busy = measure(engine, seconds)
    table = Table(f"Each process over {seconds:g} s: percent of one processor, and memory of its own (PSS) in MB", ["process"])
    table.columns += ["idle %", "idle MB", "on air %", "on air MB", ""]
    for module, words in NAMES.items():
        if only in words and (module in idle or module in busy):
            row = [*idle.get(module, (None, None)), *busy.get(module, (None, None))]
            judged = "" if module != "firmware.flow.worker" else "met" if (row[3] or 0) <= MOST_MB else "missed"
            table.rows.append([words, *row, judged])
    total = [round(sum(parts[name][place] for name in NAMES if name in parts), 1) for parts in (idle, busy) for place in (0, 1)]
    table.rows.append(["all of them", *total, ""])
    report.tables = [table]
    report.notes.append(
        "PSS counts what processes share to each of them in part. The pattern camera draws its picture: a real one costs less."
    )
    return report


@contextmanager
def box(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    environment = dict(os.environ, PRESSBOX_STATE=str(folder / "state"), PRESSBOX_RUN=str(folder / "run"))

    def tell(*words: str, said: str = "") -> None:
        done = subprocess.run([*PRESSBOX, *words], input=said, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise BenchError(f"pressbox {words[0]}: {done.stderr.strip()}")

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": ROOT}
    engine = subprocess.Popen([*PRESSBOX, "run", "--port", str(free_port())], **quiet)  # type: ignore[call-overload]
    try:
        yield engine, tell
    finally:
        engine.terminate()
        engine.wait(20)


def on_air(folder: Path, tell: Any) -> None:
    tell("secret", "set", "path", said=secrets.token_hex(16))
    ports = [free_port(), free_port()]
    outputs = [
        {"protocol": "srt-caller", "name": name, "host": "127.0.0.1", "port": port, "secret": "path"}
        for name, port in zip("ab", ports, strict=True)
    ]
    tell("flow", "create", "-", "--start", said=json.dumps({"name": "box", "sources": [CAMERA], "outputs": outputs}))
    listen = [{"protocol": "srt-listener", "name": name, "port": port, "secret": "path"} for name, port in zip("ab", ports, strict=True)]
    tell("flow", "create", "-", "--start", said=json.dumps({"name": "studio", "sources": listen, "outputs": []}))


def on_the_way(folder: Path) -> bool:
    status = read_snapshot(folder / "run/box.flow.json", FlowStatus)
    return status is not None and status.picture == "live" and all(end.confirmed for end in status.outputs)


def wait_until(engine: subprocess.Popen[bytes], happened: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not happened():
        if time.monotonic() > until or engine.poll() is not None:
            raise BenchError(f"{what}: not within a minute")
        time.sleep(0.1)


def _processes(engine: Any) -> dict[str, int]:
    """Pid by module; of several flow workers the first, which is the box's own."""
    found = {"appliance.cli": engine.pid}
    children = subprocess.run(["pgrep", "-P", str(engine.pid)], capture_output=True, text=True, check=False).stdout.split()
    for pid in map(int, children):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "-m" in words:
            found.setdefault(words[words.index("-m") + 1], pid)
    return found


def measure(engine: Any, seconds: float) -> dict[str, tuple[float, float]]:
    """Percent of one processor, and MB of PSS."""
    pids = _processes(engine)
    before = {module: running_s(pid) for module, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    return {module: (round(100 * (running_s(pid) - before[module]) / passed, 1), _pss_mb(pid)) for module, pid in pids.items()}


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)
