"""Encodes raw pictures in real time with our encoder, and says what it took. `python -m tests.bench.encoding FILE PRESET SECONDS BPS`"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import av

from hw.encoder.x264 import X264
from hw.frame import Frame

WIDTH, HEIGHT, FPS, GOP_MS = 1920, 1080, 30, 1000
SIZE = WIDTH * HEIGHT * 3 // 2
SETTLE_S = 1.0


def pictures(path: Path) -> list[av.VideoFrame]:
    found = []
    with path.open("rb") as file:
        while data := file.read(SIZE):
            picture, at = av.VideoFrame(WIDTH, HEIGHT, "yuv420p"), 0
            for plane in picture.planes:
                rows = memoryview(plane).cast("B")
                wide = plane.width
                for row in range(plane.height):
                    rows[row * plane.line_size : row * plane.line_size + wide] = data[at : at + wide]
                    at += wide
            found.append(picture)
    return found


def main(path: str, preset: str, seconds: str, bitrate_bps: str) -> None:
    film, encoder = pictures(Path(path)), X264(WIDTH, HEIGHT, FPS, int(bitrate_bps), GOP_MS, preset)
    settle, count = int(SETTLE_S * FPS), int(float(seconds) * FPS)
    began_ns, spent_s, size, times_ms = time.monotonic_ns(), 0.0, 0, []
    for number in range(settle + count):
        due_ns = began_ns + number * 1_000_000_000 // FPS
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        if number == settle:
            spent_s = time.process_time()
        began_s = time.perf_counter()
        units = encoder.encode(Frame(number, film[number % len(film)], due_ns))
        if number >= settle:
            times_ms.append((time.perf_counter() - began_s) * 1000)
            size += sum(unit.packet.size for unit in units)
    spent_s, times_ms = time.process_time() - spent_s, sorted(times_ms)
    figures = {
        "share": spent_s / count * FPS,
        "p50_ms": times_ms[count // 2],
        "p99_ms": times_ms[count * 99 // 100],
        "bps": size * 8 / count * FPS,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
