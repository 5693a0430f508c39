"""The peers of the fec, srt and wire benches, with the transport settings of ours."""

from __future__ import annotations

import shlex
import subprocess

from tests.bench.farends import RIST_MS, receiver
from tests.bench.processes import Lab, free_port, is_bound
from tests.bench.relays import LATENCY_MS, Wiring

FFMPEG = "ffmpeg -hide_banner -loglevel error -nostdin"
UDP_IN_FFMPEG = "-analyzeduration 500000 -f mpegts -i udp://127.0.0.1:{port}?fifo_size=50000&overrun_nonfatal=1"


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
    return ristsender_to(lab, to, to.first_port)


def ristsender_to(lab: Lab, to: Wiring, port: int) -> subprocess.Popen[bytes]:
    target = f"rist://127.0.0.1:{port}?buffer={RIST_MS}&secret={to.passphrase}&aes-type=256"
    return lab.start(["ristsender", "-p", "1", "-v", "3", "-S", "0", "-i", f"udp://@127.0.0.1:{to.port}", "-o", target])


def srt_live_transmit_to(lab: Lab, to: Wiring, port: int) -> subprocess.Popen[bytes]:
    return lab.start(["srt-live-transmit", "-q", f"udp://127.0.0.1:{to.port}", _srt(to, port, LATENCY_MS)])


def ristreceiver(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    measured = _receiver(lab, to, "rist", port := free_port())
    ristsender_to(lab, to, port)
    return measured


def srt_live_transmit_receiver(lab: Lab, to: Wiring) -> subprocess.Popen[bytes]:
    measured = _receiver(lab, to, "srt", port := free_port())
    srt_live_transmit_to(lab, to, port)
    return measured


def _receiver(lab: Lab, to: Wiring, protocol: str, port: int) -> subprocess.Popen[bytes]:
    measured = lab.start(receiver(protocol, port, to.first_port, to.passphrase))
    lab.wait(lambda: is_bound(port), f"the {protocol} receiver listens")
    return measured
