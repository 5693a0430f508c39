"""Our side of the fec, srt, fanout and wire benches: flow workers with one kind of end each, as the engine starts them."""

from __future__ import annotations

import base64
import secrets
import subprocess

from tests.bench.farends import RIST_MS
from tests.bench.processes import PRESSBOX, Lab, free_port, is_bound
from tests.bench.relays import LATENCY_MS, Wiring, gathered, worker
from tests.bench.senders import ristsender_to, srt_live_transmit_to

SRTP_KEY_BYTES = 44
AUDIO_BPS, TABLES_BPS = 128_000, 100_000  # of a camera's stream; its tables, headers and PCR come on top (`model.Camera.mux_bps`)


def rtp(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    return worker(lab, to, [_output(to, "rtp", gather_ms)])


def srtp(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    return worker(lab, to, [_output(to, "rtp", gather_ms) | {"secret": "key"}], secret=_srtp_key())


def fec(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    return worker(lab, to, [_output(to, "rtp-fec", gather_ms)])


def fec_encrypted(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    return worker(lab, to, [_output(to, "rtp-fec", gather_ms) | {"secret": "key"}], secret=_srtp_key())


def srt_listener(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    output = {"protocol": "srt-listener", "name": "out", "port": to.first_port, "latency_ms": LATENCY_MS, "secret": "key"}
    return worker(lab, to, [{**output, **gathered(gather_ms)}])


def rist(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    return worker(lab, to, [_output(to, "rist", gather_ms) | {"latency_ms": RIST_MS, "secret": "key", "key_bits": 256}])


def srt_receiver(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    port = free_port()
    source: dict[str, object] = {"protocol": "srt-listener", "port": port, "latency_ms": LATENCY_MS, "secret": "key"}
    measured = worker(lab, to, [_output(to, "udp", gather_ms)], source)
    lab.wait(lambda: is_bound(port), "our receiver listens")
    srt_live_transmit_to(lab, to, port)
    return measured


def rist_receiver(lab: Lab, to: Wiring, gather_ms: int = 0) -> subprocess.Popen[bytes]:
    port = free_port()
    source: dict[str, object] = {"protocol": "rist", "port": port, "latency_ms": RIST_MS, "secret": "key", "key_bits": 256}
    measured = worker(lab, to, [_output(to, "udp", gather_ms)], source)
    lab.wait(lambda: is_bound(port), "our receiver listens")
    ristsender_to(lab, to, port)
    return measured


def camera(lab: Lab, to: Wiring, protocol: str = "udp") -> subprocess.Popen[bytes]:
    """The pattern, encoded and stuffed to a constant rate by the program as a person starts it."""
    video_bps = int((to.rate_bps - TABLES_BPS - AUDIO_BPS * 1.3) / 1.08)
    url = f"udp://127.0.0.1:{to.first_port}"
    if protocol == "srt":
        key = to.folder / f"key-{to.first_port}"
        key.write_text(to.passphrase)
        url = f"srt://127.0.0.1:{to.first_port}?mode=caller&latency={LATENCY_MS}&passphrase=@file:{key}"
    return lab.start([*PRESSBOX, "send", "-q", f"pattern?size=640x360&fps=25&bitrate={video_bps}&preset=ultrafast", url])


def _output(to: Wiring, protocol: str, gather_ms: int) -> dict[str, object]:
    return {"protocol": protocol, "name": "out", "host": "127.0.0.1", "port": to.first_port, **gathered(gather_ms)}


def _srtp_key() -> str:
    return base64.b64encode(secrets.token_bytes(SRTP_KEY_BYTES)).decode()
