from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from shutil import which

import pytest

from firmware.secrets import generate
from tests.lab.programs import PRESSBOX, Program, environment

PACKAGES = {"srt-live-transmit": "srt-tools", "ffmpeg": "ffmpeg", "ffprobe": "ffmpeg", "gst-launch-1.0": "gstreamer1.0-tools"}
ELEMENTS = {
    "srtsrc": "plugins-bad",
    "tsdemux": "plugins-bad",
    "rtpmp2tpay": "plugins-good",
    "aacparse": "plugins-good",
    "avdec_h264": "libav",
}


@pytest.fixture(scope="session")
def need() -> Callable[[str], None]:
    """`need("ffmpeg")`: skips the test, with the package to install, where the peer is missing."""

    def check(program: str) -> None:
        if not which(program):
            pytest.skip(f"{program} is missing; apt install {PACKAGES[program]}")
        for element, package in ELEMENTS.items() if program.startswith("gst") else ():
            if not has_element(element):
                pytest.skip(f"GStreamer's {element} is missing; apt install gstreamer1.0-{package}")

    return check


@cache
def has_element(name: str) -> bool:
    return subprocess.run(["gst-inspect-1.0", "--exists", name], capture_output=True, check=False).returncode == 0


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """`start("ffmpeg", …)` runs a program until the end of the test."""
    with ExitStack() as running:
        yield lambda *command, **options: running.enter_context(Program([str(word) for word in command], **options))


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, str]:
    """A passphrase, and how a URL of ours refers to it."""
    phrase = generate()
    file = tmp_path / "key"
    file.write_text(phrase)
    return phrase, f"@file:{file}"


@pytest.fixture
def ours(places, start) -> Callable[..., Program]:
    """`ours("send", …)`: `pressbox send …` until the end of the test."""
    return lambda *arguments: start(*PRESSBOX, *arguments, env=environment(places))


@pytest.fixture(scope="session")
def film_of_a_stranger(tmp_path_factory, need) -> bytes:
    """Thirty seconds of constant-rate MPEG-TS by FFmpeg, every datagram of it different."""
    need("ffmpeg")
    file = tmp_path_factory.mktemp("films") / "stranger.ts"
    picture = "testsrc2=size=320x180:rate=25:duration=30"
    encode = shlex.split("-c:v libx264 -preset ultrafast -g 25 -bf 0 -b:v 600k -c:a aac -b:a 64k -muxrate 1000k -f mpegts")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=duration=30", *encode, str(file)], check=True
    )
    return file.read_bytes()
