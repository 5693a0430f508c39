"""The streams that the benches send."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from tests.bench.processes import BenchError

FPS = 25
FRAME_MS = 1000 / FPS


def make_stream(folder: Path, seconds: float, rate_bps: int = 10_000_000) -> Path:
    """Noise that really is about 95 % H.264, at a constant rate: remuxing drops null packets, so there must be few."""
    path = folder / f"stream-{rate_bps}.ts"
    video_bps = rate_bps * 94 // 100
    size, noise = ("640x360", 80) if rate_bps <= 10_000_000 else ("960x540", 100)
    source = f"testsrc2=size={size}:rate={FPS}:duration={seconds},noise=alls={noise}:allf=t"
    command = shlex.split(
        f"ffmpeg -hide_banner -loglevel error -y -f lavfi -i {source} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g {FPS} -bf 0 "
        f"-b:v {video_bps} -minrate {video_bps} -maxrate {video_bps} -bufsize {video_bps // 5} -x264-params nal-hrd=cbr "
        f"-muxrate {rate_bps} -f mpegts {path}"
    )
    made = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if made.returncode:
        raise BenchError(f"ffmpeg cannot make the test stream: {made.stderr.strip()}")
    return path
