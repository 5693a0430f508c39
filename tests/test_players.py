"""The lines are run as printed, by the shell, with ffprobe in ffplay's place: same options, no window."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which

import pytest

from firmware import model
from firmware.players import player_lines
from firmware.secrets import Secrets, generate

SEND = [
    "ffmpeg",
    "-v",
    "error",
    "-re",
    "-f",
    "lavfi",
    "-i",
    "testsrc=size=320x180:rate=25",
    "-c:v",
    "libx264",
    "-g",
    "12",
    "-bf",
    "0",
    "-f",
]


@pytest.fixture
def sender() -> Iterator[Callable[..., None]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> None:
        if not which("ffmpeg"):
            pytest.skip("ffmpeg is missing; apt install ffmpeg")
        running.append(subprocess.Popen([*SEND, *arguments], stdin=subprocess.DEVNULL))

    yield start
    for process in running:
        process.kill()
        process.wait()


def watched(line: str, listen: bool = False) -> str:
    probe = line.replace("ffplay", "ffprobe -v error -show_entries stream=codec_name -of csv=p=0 -analyzeduration 500000")
    again = f"until {probe}; do :; done" if listen else probe  # a caller knocks until the listener is up
    return subprocess.run(["timeout", "20", "bash", "-c", again], capture_output=True, text=True, check=False).stdout


def test_a_listening_srt_output_is_played(sender: Callable[..., None], udp_port: Callable[[], int], tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "my secrets")
    secrets.set("show", generate())
    output = model.SrtListenerOutput(name="studio", port=udp_port(), secret="show", stream_id="#!::r=cam")
    lines = player_lines(output, secrets.path("show"))
    sender("mpegts", f"srt://127.0.0.1:{output.port}?mode=listener&pbkeylen=32&passphrase={secrets.get('show')}")
    assert secrets.get("show") not in "".join(lines.values())
    assert "latency=120000&" in lines["ffplay"]
    assert "latency=120&" in lines["VLC"]
    assert watched(lines["ffplay"], listen=True).startswith("h264")


def test_a_listening_srt_output_is_fetched(sender: Callable[..., None], udp_port: Callable[[], int], tmp_path: Path) -> None:
    if not which("srt-live-transmit"):
        pytest.skip("srt-live-transmit is missing; apt install srt-tools")
    (tmp_path / "phrase").write_text(phrase := generate())
    output = model.SrtListenerOutput(name="studio", port=udp_port(), secret="show")
    line = player_lines(output, tmp_path / "phrase")["srt-live-transmit"]
    sender("mpegts", f"srt://127.0.0.1:{output.port}?mode=listener&pbkeylen=32&passphrase={phrase}")
    fetch = f"cd {tmp_path}; {line} & for i in {{1..150}}; do [ -s studio.ts ] && break; sleep 0.1; done; kill $!"
    subprocess.run(["bash", "-c", fetch], capture_output=True, check=False, timeout=20)
    assert (tmp_path / "studio.ts").read_bytes()[:1] == b"\x47"


@pytest.mark.parametrize(("kind", "container"), [(model.RtpOutput, "rtp_mpegts"), (model.UdpOutput, "mpegts")], ids=["rtp", "udp"])
def test_a_datagram_output_is_played(
    kind: type[model.RtpOutput | model.UdpOutput], container: str, sender: Callable[..., None], udp_port: Callable[[], int]
) -> None:
    output = kind(name="studio", host="127.0.0.1", port=udp_port())
    scheme = "rtp" if kind is model.RtpOutput else "udp"
    sender(container, f"{scheme}://127.0.0.1:{output.port}?pkt_size=1316")
    assert watched(player_lines(output)["ffplay"]).startswith("h264")


def test_a_calling_output_is_listened_for() -> None:
    lines = player_lines(model.SrtCallerOutput(name="a", host="127.0.0.1", port=9000, clear=True))
    assert "mode=listener" in lines["ffplay"]
    assert "VLC" not in lines
