"""The senders and receivers of the latency bench: the same pictures, encoder settings and transport for each of them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.player import CORNER_HEIGHT, CORNER_WIDTH
from tests.bench.processes import PRESSBOX, Lab, free_port, is_bound

WIDTH, HEIGHT, FPS = 1280, 720, 30
SRT_LATENCY_MS = 120
OURS = {"ours": "constant", "ours, frames": "frames"}  # the shape on the wire, by sender
SENDERS = (*OURS, "ffmpeg", "gst")
RECEIVERS = ("ours", "ffmpeg", "gst")
TRANSPORTS = ("udp", "srt")

FFMPEG = ["ffmpeg", "-hide_banner", "-loglevel", "error"]
X264_OF_FFMPEG = shlex.split(
    "-c:v libx264 -preset veryfast -tune zerolatency -b:v 4M -maxrate 4M -bufsize 400k -g 30 -bf 0 -threads 2 -x264-params sliced-threads=1"
)
X264_OF_GST = (
    "x264enc speed-preset=veryfast tune=zerolatency bitrate=4000 "
    "vbv-buf-capacity=100 key-int-max=30 bframes=0 threads=2 sliced-threads=true"
)
CAMERA = f"pattern?size={WIDTH}x{HEIGHT}&fps={FPS}&bitrate=4M&preset=veryfast&gop=1000"


@dataclass(frozen=True)
class Chain:
    transport: str
    sender: str
    receiver: str

    def __str__(self) -> str:
        return f"{self.transport} {self.sender} -> {self.receiver}"


def all_chains() -> Iterator[Chain]:
    for transport in TRANSPORTS:
        for receiver in RECEIVERS:
            for sender in SENDERS:
                yield Chain(transport, sender, receiver)


def start_receiver(lab: Lab, chain: Chain, port: int, log: Path) -> tuple[subprocess.Popen[bytes], list[list[str]]]:
    """The process whose standard output is pictures' corners, and all commands, once they listen."""
    commands = []
    if chain.receiver == "ours":
        inner = port if chain.transport == "udp" else free_port()
        commands.append([sys.executable, "-m", "tests.bench.player", str(inner), str(log)])
        if chain.transport == "srt":
            url = f"srt://127.0.0.1:{port}?mode=listener&latency={SRT_LATENCY_MS}"
            commands.append([*PRESSBOX, "recv", url, f"udp://127.0.0.1:{inner}"])
    else:
        commands.append(ffmpeg_receiver(chain.transport, port) if chain.receiver == "ffmpeg" else gst_receiver(chain.transport, port))
    screen, *_ = [lab.start(command, stdout=subprocess.PIPE) for command in commands]
    lab.wait(lambda: is_bound(port), f"{chain}: the receiver listens")
    return screen, commands


def ffmpeg_receiver(transport: str, port: int) -> list[str]:
    udp, srt = f"udp://127.0.0.1:{port}?fifo_size=50000", f"srt://127.0.0.1:{port}?mode=listener&latency={SRT_LATENCY_MS * 1000}"
    hasty = shlex.split("-fflags nobuffer -flags low_delay -probesize 32768 -analyzeduration 0")
    corner = f"-an -vf crop={CORNER_WIDTH}:{CORNER_HEIGHT}:0:0 -f rawvideo -pix_fmt gray -flush_packets 1 -".split()
    return [*FFMPEG, *hasty, "-i", udp if transport == "udp" else srt, *corner]


def gst_receiver(transport: str, port: int) -> list[str]:
    udp = f"udpsrc address=127.0.0.1 port={port} caps=video/mpegts,systemstream=true,packetsize=188"
    srt = f"srtsrc uri=srt://127.0.0.1:{port}?mode=listener&latency={SRT_LATENCY_MS}"
    corner = f"videocrop right={WIDTH - CORNER_WIDTH} bottom={HEIGHT - CORNER_HEIGHT}"
    decoder = f"tsdemux latency=0 ! h264parse ! avdec_h264 max-threads=1 ! videoconvert ! video/x-raw,format=GRAY8 ! {corner}"
    return f"gst-launch-1.0 -q {udp if transport == 'udp' else srt} ! {decoder} ! fdsink fd=1 sync=false".split()


def start_sender(lab: Lab, chain: Chain, port: int, tap_port: int, clock: Path) -> list[list[str]]:
    """Ours also sends to the tap, which reads capture times; a peer is fed the same pictures, and `clock` gets their times."""
    srt = f"srt://127.0.0.1:{port}?mode=caller&latency={SRT_LATENCY_MS}"
    if chain.sender in OURS:
        camera_url = f"{CAMERA}&shape={OURS[chain.sender]}"
        command = [
            *PRESSBOX,
            "send",
            camera_url,
            f"udp://127.0.0.1:{port}" if chain.transport == "udp" else srt,
            f"udp://127.0.0.1:{tap_port}",
        ]
        lab.start(command)
        return [command]
    encoder = ffmpeg_sender(chain.transport, port) if chain.sender == "ffmpeg" else gst_sender(chain.transport, port)
    feed = [sys.executable, "-m", "tests.bench.feed", str(WIDTH), str(HEIGHT), str(FPS), str(clock)]
    camera = lab.start(feed, stdout=subprocess.PIPE)
    lab.start(encoder, stdin=camera.stdout)
    return [feed, encoder]


def ffmpeg_sender(transport: str, port: int) -> list[str]:
    raw = f"-fflags nobuffer -f rawvideo -pix_fmt yuv420p -s {WIDTH}x{HEIGHT} -r {FPS} -i - -an".split()
    mux = shlex.split("-pix_fmt yuv420p -flush_packets 1 -muxdelay 0 -muxpreload 0 -f mpegts")
    udp = f"udp://127.0.0.1:{port}?pkt_size=1316"
    srt = f"srt://127.0.0.1:{port}?mode=caller&latency={SRT_LATENCY_MS * 1000}&pkt_size=1316"
    return [*FFMPEG, *raw, *X264_OF_FFMPEG, *mux, udp if transport == "udp" else srt]


def gst_sender(transport: str, port: int) -> list[str]:
    raw = f"fdsrc fd=0 blocksize={WIDTH * HEIGHT * 3 // 2} ! rawvideoparse width={WIDTH} height={HEIGHT} format=i420 framerate={FPS}/1"
    mux = "video/x-h264,profile=main ! h264parse config-interval=1 ! mpegtsmux alignment=7"
    udp = f"udpsink host=127.0.0.1 port={port} sync=false"
    srt = f"srtsink sync=false uri=srt://127.0.0.1:{port}?mode=caller&latency={SRT_LATENCY_MS}"
    return f"gst-launch-1.0 -q {raw} ! {X264_OF_GST} ! {mux} ! {udp if transport == 'udp' else srt}".split()
