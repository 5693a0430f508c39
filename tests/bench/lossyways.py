"""The chains of the recovery bench: a sender, a lossy relay, a receiver, all with the same latency."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.processes import Lab, is_bound
from tests.bench.senders import FFMPEG

RTT_MS = 30
LATENCY_MS = 4 * RTT_MS
FEC = (0, 2, 4)  # media, columns, rows
KEY = "of-this-bench-alone"


@dataclass(frozen=True)
class Places:
    """Ports of 127.0.0.1."""

    feed: int  # the stream comes here
    relay: int  # the sender sends there
    far: int  # the receiver listens there
    out: int  # what the receiver has goes there
    film: Path  # the same rate as a file, for senders that remux


End = Callable[[Lab, Places], subprocess.Popen[bytes]]


@dataclass(frozen=True)
class Chain:
    """`numbers`: how what comes out is told apart, by the feed's own numbers or by those of RTP."""

    protocol: Literal["SRT", "RIST", "FEC 10 x 10"]
    name: str
    receive: End
    send: End
    numbers: Literal["feed", "rtp"] = "feed"
    ours: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """How far above the first port there are others."""
        return FEC[1:] if self.protocol.startswith("FEC") else ()


def worker(lab: Lab, source: dict[str, object], output: dict[str, object]) -> subprocess.Popen[bytes]:
    flow = {"name": "bench", "sources": [{"name": "in"} | source], "outputs": [{"name": "out"} | output]}
    process = lab.start([sys.executable, "-m", "firmware.flow.worker"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"flow": flow, "secrets": {"key": KEY}}).encode() + b"\n")
    process.stdin.flush()
    return process


def ours_out(lab: Lab, at: Places, **source: object) -> subprocess.Popen[bytes]:
    return worker(lab, {"port": at.far, **source}, {"protocol": "udp", "host": "127.0.0.1", "port": at.out})


def ours_in(lab: Lab, at: Places, **output: object) -> subprocess.Popen[bytes]:
    return worker(lab, {"protocol": "udp", "port": at.feed}, {"host": "127.0.0.1", "port": at.relay, **output})


SECURE: dict[str, object] = {"latency_ms": LATENCY_MS, "secret": "key", "key_bits": 256}


def ours_srt_receive(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return ours_out(lab, at, protocol="srt-listener", **SECURE)


def ours_srt_send(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return ours_in(lab, at, protocol="srt-caller", **SECURE)


def srt_live_transmit_receive(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return lab.start(["srt-live-transmit", "-q", _srt("listener", at.far), f"udp://127.0.0.1:{at.out}"])


def srt_live_transmit_send(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return lab.start(["srt-live-transmit", "-q", f"udp://127.0.0.1:{at.feed}", _srt("caller", at.relay)])


def _srt(mode: str, port: int) -> str:
    return f"srt://127.0.0.1:{port}?mode={mode}&latency={LATENCY_MS}&passphrase={KEY}&pbkeylen=32"


def ours_rist_receive(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return ours_out(lab, at, protocol="rist", **SECURE)


def ours_rist_send(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return ours_in(lab, at, protocol="rist", **SECURE)


def ristreceiver(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return lab.start([*_rist("ristreceiver"), "-i", _rist_url(f"@127.0.0.1:{at.far}"), "-o", f"udp://127.0.0.1:{at.out}"])


def ristsender(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return lab.start([*_rist("ristsender"), "-i", f"udp://@127.0.0.1:{at.feed}", "-o", _rist_url(f"127.0.0.1:{at.relay}")])


def _rist(program: str) -> list[str]:
    return [program, "-p", "1", "-v", "3", "-S", "0"]


def _rist_url(place: str) -> str:
    return f"rist://{place}?buffer={LATENCY_MS}&secret={KEY}&aes-type=256"


def ours_fec_receive(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return ours_out(lab, at, protocol="rtp-fec")


def ours_fec_send(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    return ours_in(lab, at, protocol="rtp-fec", columns=10, rows=10)


def gst_fecdec(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    media = 'caps="application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33"'
    source = f"udpsrc address=127.0.0.1 buffer-size=4000000 port={at.far}"
    fec = [f"udpsrc address=127.0.0.1 port={at.far + up} caps=application/x-rtp,payload=96 ! fec.fec_{n}" for n, up in enumerate(FEC[1:])]
    out = f"udpsink host=127.0.0.1 port={at.out} sync=false async=false"
    return lab.start(shlex.split(f"gst-launch-1.0 -q rtpst2022-1-fecdec name=fec ! {out} {source} {media} ! fec.sink {' '.join(fec)}"))


def gst_fecenc(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    caps = 'caps="video/mpegts,systemstream=(boolean)true,packetsize=(int)188"'
    out = [f"udpsink host=127.0.0.1 sync=false async=false port={at.relay + up}" for up in FEC]
    return lab.start(
        shlex.split(
            f"gst-launch-1.0 -q udpsrc address=127.0.0.1 buffer-size=4000000 port={at.feed} {caps} ! rtpmp2tpay ssrc=0 pt=33 "
            f"! rtpst2022-1-fecenc name=enc columns=10 rows=10 ! {out[0]} enc.fec_0 ! {out[1]} enc.fec_1 ! {out[2]}"
        )
    )


def ffmpeg_prompeg(lab: Lab, at: Places) -> subprocess.Popen[bytes]:
    target = f"rtp://127.0.0.1:{at.relay}?pkt_size=1328"
    return lab.start(
        [*shlex.split(f"{FFMPEG} -re -stream_loop -1 -i {at.film} -map 0 -c copy -f rtp_mpegts -fec prompeg=l=10:d=10"), target]
    )


CHAINS = [
    Chain("SRT", "ours", ours_srt_receive, ours_srt_send, ours=True),
    Chain("SRT", "srt-live-transmit", srt_live_transmit_receive, srt_live_transmit_send),
    Chain("RIST", "ours", ours_rist_receive, ours_rist_send, ours=True),
    Chain("RIST", "ristsender, ristreceiver", ristreceiver, ristsender),
    Chain("FEC 10 x 10", "ours", ours_fec_receive, ours_fec_send, ours=True),
    Chain("FEC 10 x 10", "gst fecenc, gst fecdec", gst_fecdec, gst_fecenc, numbers="rtp"),
    Chain("FEC 10 x 10", "ffmpeg prompeg, gst fecdec", gst_fecdec, ffmpeg_prompeg, numbers="rtp"),
]


def connect(lab: Lab, chain: Chain, at: Places) -> str:
    """The receiver, and when it listens the sender: their commands."""
    receiver = chain.receive(lab, at)
    lab.wait(lambda: all(is_bound(at.far + up) for up in (0, *chain.ports)), f"the receiver of {chain.protocol}, {chain.name}")
    sender = chain.send(lab, at)
    return "\n".join(_as_typed(process) for process in (sender, receiver))


def _as_typed(process: subprocess.Popen[bytes]) -> str:
    return shlex.join(map(str, process.args)).replace(KEY, "…") if isinstance(process.args, list) else str(process.args)
