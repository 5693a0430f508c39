"""Garbage, strangers and wrong keys at a source never disturb the right sender: nothing is lost, and they are counted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from firmware.net import srt
from firmware.secrets import generate
from firmware.status import EndStatus, FlowStatus
from tests.interop.sender import Sender
from tests.lab.programs import Program, wait_until
from tests.lab.recorder import Recorder, difference
from tests.wire.streams import stream

RATE_BPS = 4_000_000
FLOOD, PER_SECOND = 20_000, 16_000

# Noise, MPEG-TS and RTP of somebody else, RTP with noise inside, pieces of it, and what SRT would take for its own.
FLOOD_CODE = f"""
import os, socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("127.0.0.1", int(sys.argv[1])))
ts = b"".join(bytes((0x47, 1, 0, 0x10 | n % 16)) + bytes(184) for n in range(7))
began = time.monotonic()
for n in range({FLOOD}):
    rtp = bytes((0x80, 33)) + (n & 0xFFFF).to_bytes(2, "big") + bytes(4) + os.urandom(4)
    sender.send((os.urandom(1 + n % 1400), ts, rtp + ts, rtp + os.urandom(1316), rtp[: n % 12], bytes((0x80, 0)) + os.urandom(62))[n % 6])
    while n > (time.monotonic() - began) * {PER_SECOND}:
        time.sleep(0.001)
"""


def check_undisturbed(recv: Program, sender: Sender, got: Recorder, port: int) -> EndStatus:
    wait_until(lambda: len(got.datagrams) > 100, what="the stream arrives", among=[recv])
    with Program([sys.executable, "-c", FLOOD_CODE, str(port)]) as flood:
        assert flood.wait(30) == 0, str(flood)
    after = len(got.datagrams)
    wait_until(lambda: len(got.datagrams) > after + 400, what="the stream goes on", among=[recv])
    assert not difference(sender.sent, got.datagrams)
    source = msgspec.json.decode(recv.out[-1], type=FlowStatus).sources[0]
    assert source.state == "connected"
    return source


@contextmanager
def receiving(places, port: int, url: str, got: Recorder, through: str = "") -> Iterator[tuple[Program, Sender]]:
    """A stream that goes to `port`, over `through` to it where it needs a protocol, and from `url` to the recorder."""
    with Program.pressbox(places, "recv", url, f"udp://127.0.0.1:{got.port}", "--stats", "0.2", "--json") as recv:
        wait_until(lambda: recv.out, what="recv is up", among=[recv])
        with Sender(b"".join(stream(40, RATE_BPS)), [("127.0.0.1", port)], RATE_BPS) as sender:
            if not through:
                yield recv, sender
            else:
                with Program.pressbox(places, "send", f"udp://:{port}", through):
                    yield recv, sender


def test_udp(places, udp_port):
    port = udp_port()
    with Recorder() as got, receiving(places, port, f"udp://:{port}", got) as (recv, sender):
        source = check_undisturbed(recv, sender, got, port)
        assert FLOOD * 2 // 3 <= source.refused + source.dropped <= FLOOD


def test_rtp(places, udp_port):
    port, into = udp_port(), udp_port()
    with Recorder() as got, receiving(places, into, f"rtp://:{port}", got, f"rtp://127.0.0.1:{port}") as (recv, sender):
        source = check_undisturbed(recv, sender, got, port)
        assert FLOOD * 2 // 3 <= source.refused + source.dropped <= FLOOD


@contextmanager
def again_and_again(port: int, passphrase: str) -> Iterator[Callable[[], int]]:
    """Somebody calls, is refused, and calls again; gives how often that was."""
    codes: list[int] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                with srt.open_caller("127.0.0.1", port, latency_ms=120, sending=True, passphrase=passphrase) as caller:
                    caller.wait_connected()
                    codes.append(0)
            except srt.SrtRefused as refused:
                codes.append(refused.code)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield lambda: len(codes)
    finally:
        stop.set()
        caller.join()
    assert codes
    assert 0 not in codes  # nobody got in


@pytest.mark.parametrize("key", ["wrong", "right"])
def test_srt(places, udp_port, tmp_path, key):
    """A second caller with the right key is refused too while the first one delivers."""
    keys = {"right": generate(), "wrong": generate()}
    (tmp_path / "key").write_text(keys["right"])
    port, into = udp_port(), udp_port()
    url = f"srt://127.0.0.1:{port}?mode=%s&latency=200&passphrase=@file:{tmp_path}/key"
    with Recorder() as got, receiving(places, into, url % "listener", got, url % "caller") as (recv, sender):
        wait_until(lambda: len(got.datagrams) > 100, what="the stream arrives", among=[recv])
        with again_and_again(port, keys[key]) as calls:
            check_undisturbed(recv, sender, got, port)
            wait_until(lambda: calls() > 20, what="many calls")
    assert not difference(sender.sent, got.datagrams)
