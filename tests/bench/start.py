"""From the command to the first datagram on the wire: a test picture, encoded, as MPEG-TS in UDP."""

from __future__ import annotations

import shlex
import socket
import statistics
import sys
import time

from tests.bench.chains import FPS, HEIGHT, WIDTH
from tests.bench.processes import PRESSBOX, BenchError, Lab, load
from tests.bench.report import Bar, Report, Table

REPEATS = 5
PATIENCE_S = 15.0
OURS = "pressbox send pattern"
FLOOR = "Python alone, one sendto"


def commands(port: int) -> dict[str, list[str]]:
    source = f"testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS}"
    x264 = "-c:v libx264 -preset veryfast -tune zerolatency -b:v 4M -g 30 -muxdelay 0 -muxpreload 0 -f mpegts -flush_packets 1"
    picture = f"videotestsrc is-live=true ! video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1"
    encode = "x264enc speed-preset=veryfast tune=zerolatency bitrate=4000 key-int-max=30 ! h264parse config-interval=1"
    one = f"import socket; socket.socket(2, 2).sendto(bytes(1316), ('127.0.0.1', {port}))"
    url = f"udp://127.0.0.1:{port}"
    return {
        OURS: [*PRESSBOX, "send", f"pattern?size={WIDTH}x{HEIGHT}&fps={FPS}&bitrate=4M&preset=veryfast", url],
        "ffmpeg testsrc2": [
            *shlex.split("ffmpeg -hide_banner -loglevel error -re -f lavfi -i"),
            source,
            *x264.split(),
            f"{url}?pkt_size=1316",
        ],
        "gst videotestsrc": f"gst-launch-1.0 -q {picture} ! {encode} ! mpegtsmux alignment=7 ! udpsink host=127.0.0.1 port={port}".split(),
        FLOOR: [sys.executable, "-c", one],
    }


def run(seconds: float | None, repeats: int | None, only: str) -> Report:
    del seconds  # nothing here has a window
    report = Report("start")
    times: dict[str, list[float]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(PATIENCE_S)
        chosen = {name: command for name, command in commands(udp.getsockname()[1]).items() if only in name}
        for lap in range((repeats or REPEATS) + 1):  # the first warms the page cache
            for name, command in chosen.items():
                taken_ms = first_datagram_ms(command, udp)
                if lap:
                    times.setdefault(name, []).append(taken_ms)
    table = Table(
        "Command to first datagram: 720p30 test picture, x264 veryfast, MPEG-TS in UDP; ms, median",
        ["command", "ms", "of runs", "ours / it"],
    )
    middle = {name: statistics.median(each) for name, each in times.items()}
    for name, each in times.items():
        ratio = middle[OURS] / middle[name] if OURS in middle and name != OURS else None
        table.rows.append([name, middle[name], ", ".join(f"{taken:.0f}" for taken in each), ratio])
        report.bars.append(Bar("Command to first datagram", name, middle[name], "ms", name == OURS))
    report.tables = [table]
    report.notes = [f"Load average {load()}. Every command ran once before, so that its files are in the page cache."]
    report.commands = {name: shlex.join(command) for name, command in chosen.items()}
    return report


def first_datagram_ms(command: list[str], udp: socket.socket) -> float:
    _drain(udp)
    with Lab() as lab:
        began = time.monotonic()
        lab.start(command)
        try:
            udp.recv(2048)
        except TimeoutError:
            raise BenchError(f"{shlex.join(command)}: no datagram within {PATIENCE_S:g} s. {lab.said()}") from None
        return (time.monotonic() - began) * 1000


def _drain(udp: socket.socket) -> None:
    udp.setblocking(False)
    try:
        while udp.recv(2048):
            pass
    except BlockingIOError:
        udp.settimeout(PATIENCE_S)
