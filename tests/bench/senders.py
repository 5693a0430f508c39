"""The senders of the fec, srt and wire benches: ours and the peers', with the same transport settings."""

from __future__ import annotations

import shlex
import subprocess

from tests.bench.farends import RIST_MS
from tests.bench.processes import Lab
from tests.bench.relays import LATENCY_MS, Wiring, gathered, worker

FFMPEG = "ffmpeg -hide_banner -loglevel error -nostdin"
UDP_IN_FFMPEG = "-f mpegts -i udp://127.0.0.1:{port}?fifo_size=50000&overrun_nonfatal=1"


def ours_rtp(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    return worker(lab, to, [{"protocol": "rtp", "name": "out", "host": "127.0.0.1", "port": to.first_port, **gathered(gather_ms)}])


def ours_fec(lab: Lab, to: Wiring, gather_ms: int = 0, columns: int = 10, rows: int = 10) -> subprocess.Popen[bytes]:
    output = {"protocol": "rtp-fec", "name": "out", "host": "127.0.0.1", "port": to.first_port, "columns": columns, "rows": rows}
    return worker(lab, to, [{**output, **gathered(gather_ms)}])


def ours_rist(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    output = {"protocol": "rist", "name": "out", "host": "127.0.0.1", "port": to.first_port, "latency_ms": RIST_MS, "secret": "out"}
    return worker(lab, to, [{**output, "key_bits": 256, **gathered(gather_ms)}])


def ffmpeg_prompeg(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    return lab.start(shlex.split(f"{FFMPEG} -re -i {to.stream} {_prompeg(to)}"))


def ffmpeg_prompeg_from_udp(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    return lab.start(shlex.split(f"{FFMPEG} {UDP_IN_FFMPEG.format(port=to.port)} {_prompeg(to)}"))


def _prompeg(to: Wiring) -> str:
    return f"-map 0 -c copy -f rtp_mpegts -fec prompeg=l=10:d=10 rtp://127.0.0.1:{to.first_port}"


def ffmpeg_udp(lab: Lab, to: Wiring, options: str = "") -> subprocess.Popen[bytes]:
    target = f"udp://127.0.0.1:{to.first_port}?pkt_size=1316{options}"
    return lab.start([*shlex.split(f"{FFMPEG} -re -i {to.stream} -map 0 -c copy -f mpegts"), target])


def gst_udp(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    return lab.start(shlex.split(f"{_GST_FILE.format(stream=to.stream)} ! udpsink host=127.0.0.1 port={to.first_port}"))


def gst_fec(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    source = f"{_GST_FILE.format(stream=to.stream)} ! queue ! rtpmp2tpay ssrc=0 pt=33"
    return lab.start(shlex.split(gst_with_fec(source, to.first_port)))


def gst_fec_from_udp(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    caps = "caps=video/mpegts,systemstream=true,packetsize=188"
    source = f"gst-launch-1.0 -q udpsrc address=127.0.0.1 port={to.port} buffer-size=4000000 {caps} ! rtpmp2tpay ssrc=0 pt=33"
    return lab.start(shlex.split(gst_with_fec(source, to.first_port, live=True)))


_GST_FILE = "gst-launch-1.0 -q filesrc location={stream} blocksize=13160 ! tsparse set-timestamps=true alignment=7"


def gst_with_fec(source: str, port: int, columns: int = 10, rows: int = 10, live: bool = False) -> str:
    """`live`: it comes at its own pace, and leaves at once."""
    encoder = rf"""fec-encoders='fec,0="rtpst2022-1-fecenc\ rows\={rows}\ columns\={columns}";' """
    sync = "sync=false" if live else ""
    return (
        f"{source} ! bench.send_rtp_sink_0 rtpbin name=bench {encoder} "
        f"bench.send_rtp_src_0 ! udpsink {sync} host=127.0.0.1 port={port} {'async=false' if live else ''} "
        f"bench.send_fec_src_0_0 ! udpsink {sync} host=127.0.0.1 port={port + 2} async=false "
        f"bench.send_fec_src_0_1 ! udpsink {sync} host=127.0.0.1 port={port + 4} async=false"
    )


def ffmpeg_srt(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    """One output, or a tee of some."""
    source = shlex.split(f"{FFMPEG} {UDP_IN_FFMPEG.format(port=to.port)} -map 0 -c copy -f")
    targets = [f"{_srt(to, port, LATENCY_MS * 1000)}&pkt_size=1316" for port in to.ports]
    return lab.start([*source, *(["mpegts", *targets] if len(targets) == 1 else ["tee", "|".join(f"[f=mpegts]{url}" for url in targets)])])


def gst_srt(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    sinks = [f"queue ! srtsink sync=false async=false uri={_srt(to, port, LATENCY_MS)}" for port in to.ports]
    source = f"gst-launch-1.0 -q udpsrc address=127.0.0.1 port={to.port} buffer-size=4000000 ! "
    return lab.start(shlex.split(source + (sinks[0] if len(sinks) == 1 else "tee name=t " + " ".join(f"t. ! {sink}" for sink in sinks))))


def _srt(to: Wiring, port: int, latency: int) -> str:
    return f"srt://127.0.0.1:{port}?mode=caller&latency={latency}&passphrase={to.passphrase}&pbkeylen=32"


def ffmpeg_srt_from_file(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    source = shlex.split(f"{FFMPEG} -re -i {to.stream} -map 0 -c copy -f mpegts")
    return lab.start([*source, f"{_srt(to, to.first_port, LATENCY_MS * 1000)}&pkt_size=1316"])


def gst_srt_from_file(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    return lab.start(shlex.split(f"{_GST_FILE.format(stream=to.stream)} ! queue ! srtsink uri={_srt(to, to.first_port, LATENCY_MS)}"))


def ristsender(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    target = f"rist://127.0.0.1:{to.first_port}?buffer={RIST_MS}&secret={to.passphrase}&aes-type=256"
    return lab.start(["ristsender", "-p", "1", "-v", "3", "-S", "0", "-i", f"udp://@127.0.0.1:{to.port}", "-o", target])
