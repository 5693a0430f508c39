"""The relays of the cpu bench: one 10 Mb/s stream in, some outputs of the same."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.ports import compiled
from tests.bench.processes import Lab

LATENCY_MS = 120


@dataclass(frozen=True)
class Wiring:
    """Ports of one measurement, and a folder to leave things in."""

    port: int  # the stream comes here
    first_port: int  # the sink's, or for SRT the listener's
    outputs: int
    folder: Path
    passphrase: str = ""
    stream: Path = Path()  # the same stream as a file, for those that read one
    rate_bps: int = 10_000_000

    @property
    def ports(self) -> range:
        return range(self.first_port, self.first_port + self.outputs)


Start = Callable[[Lab, Wiring], subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Relay:
    name: str
    start: Start
    outputs: tuple[int, ...] = (1, 4)
    srt: bool = False
    ours: bool = False
    remuxes: bool = False  # its output is not its input, so what it delivers cannot be counted against it


def worker(
    lab: Lab, wiring: Wiring, outputs: list[dict[str, object]], source: dict[str, object] | None = None, secret: str = "", **more: str
) -> subprocess.Popen[bytes]:
    """Our flow worker; the secret of its ends is called `key`. Its source is bare UDP unless another one is given."""
    source = source or {"protocol": "udp", "port": wiring.port}
    flow = {"name": "bench", "sources": [{"name": "in", **source}], "outputs": outputs}
    job = {"flow": flow, "secrets": {"key": secret or wiring.passphrase}, **more}
    process = lab.start([sys.executable, "-m", "firmware.flow.worker"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    return process


def udp_outputs(wiring: Wiring, gather_ms: int = 0) -> list[dict[str, object]]:
    outputs: list[dict[str, object]] = [
        {"protocol": "udp", "name": f"out-{port}", "host": "127.0.0.1", "port": port} for port in wiring.ports
    ]
    return [output | gathered(gather_ms) for output in outputs]


def gathered(gather_ms: int) -> dict[str, object]:
    return {"gather_ms": gather_ms} if gather_ms else {}


def ours(lab: Lab, wiring: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    return worker(lab, wiring, udp_outputs(wiring, gather_ms))


def ours_as_in_a_box(lab: Lab, wiring: Wiring) -> subprocess.Popen[bytes]:
    """With its snapshot twice a second and a key picture for the preview, as the engine has it."""
    return worker(
        lab, wiring, udp_outputs(wiring), snapshot=str(wiring.folder / "flow.json"), key_picture=str(wiring.folder / "flow.key.ts")
    )


def ours_srt(lab: Lab, wiring: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    callers: list[dict[str, object]] = [
        {
            "protocol": "srt-caller",
            "name": f"out-{port}",
            "host": "127.0.0.1",
            "port": port,
            "secret": "key",
            "key_bits": 256,
            "latency_ms": LATENCY_MS,
        }
        for port in wiring.ports
    ]
    return worker(lab, wiring, [caller | gathered(gather_ms) for caller in callers])


def ffmpeg_tee(lab: Lab, wiring: Wiring) -> subprocess.Popen[bytes]:
    source = f"udp://127.0.0.1:{wiring.port}?fifo_size=50000&overrun_nonfatal=1"
    outputs = "|".join(f"[f=mpegts]udp://127.0.0.1:{port}?pkt_size=1316" for port in wiring.ports)
    quiet = shlex.split("ffmpeg -hide_banner -loglevel error -nostdin -f mpegts -i")
    return lab.start([*quiet, source, *shlex.split("-map 0 -c copy -f tee"), outputs])


def gst_multiudpsink(lab: Lab, wiring: Wiring) -> subprocess.Popen[bytes]:
    clients = ",".join(f"127.0.0.1:{port}" for port in wiring.ports)
    source = f"udpsrc address=127.0.0.1 port={wiring.port} buffer-size=4000000"
    return lab.start(f"gst-launch-1.0 -q {source} ! multiudpsink sync=false async=false clients={clients}".split())


def python_floor(lab: Lab, wiring: Wiring) -> subprocess.Popen[bytes]:
    words = ["relay", str(wiring.port), str(wiring.first_port), str(wiring.outputs)]
    return lab.start([sys.executable, "-m", "tests.bench.datagrams", *words])


def srt_live_transmit(lab: Lab, wiring: Wiring) -> subprocess.Popen[bytes]:
    target = f"srt://127.0.0.1:{wiring.first_port}?mode=caller&latency={LATENCY_MS}&passphrase={wiring.passphrase}&pbkeylen=32"
    return lab.start(["srt-live-transmit", "-q", f"udp://127.0.0.1:{wiring.port}", target])


def c_floor(folder: Path, gather: int = 1) -> Relay | None:
    """The bare loop, compiled now; None where there is no C compiler. With `gather`, so many datagrams leave in one call."""
    if shutil.which("cc") is None:
        return None
    binary = compiled(folder, "relay")

    def start(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
        return lab.start([str(word) for word in (binary, to.port, to.first_port, to.outputs, gather)])

    return Relay("C recv/sendto" if gather == 1 else f"C, {gather} datagrams segmented", start)


RELAYS = [
    Relay("ours", ours, ours=True),
    Relay("ours, with status and preview", ours_as_in_a_box, ours=True),
    Relay("ffmpeg tee", ffmpeg_tee, remuxes=True),
    Relay("gst multiudpsink", gst_multiudpsink),
    Relay("Python recv/sendto", python_floor),
    Relay("ours, SRT AES-256", ours_srt, (1,), srt=True, ours=True),
    Relay("srt-live-transmit, AES-256", srt_live_transmit, (1,), srt=True),
]
