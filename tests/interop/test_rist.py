"""RIST with librist's own tools and with FFmpeg, both ways: profiles, ciphers, one and two paths, loss."""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from shutil import which

import pytest

from firmware.flow.rist import RistLeg, RistSend
from firmware.flow.sources import RESTART, Arrival
from firmware.model import RistOutput, RistSource
from tests.lab.analyse import analyse
from tests.lab.programs import Program, wait_until
from tests.lab.recorder import Recorder, difference
from tests.lab.relay import Relay
from tests.net.ristlab import HOST, PASSPHRASE, RistLab

from .sender import Sender

ENOUGH = 100  # datagrams, a second
LATENCY_MS = 300
CASES = [  # profile, bits of the key, paths
    ("main", 0, 1),
    ("main", 128, 1),
    ("main", 256, 1),
    ("main", 256, 2),
    ("simple", 0, 1),
]
BOTH_WAYS = pytest.mark.parametrize(("profile", "bits", "paths"), CASES)


@pytest.fixture
def lab() -> Iterator[RistLab]:
    for tool in ("ristsender", "ristreceiver"):
        if not which(tool):
            pytest.skip(f"{tool} is missing; apt install rist-tools")
    with ExitStack() as stack:
        yield RistLab(stack)


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def settings(profile: str, bits: int) -> dict[str, object]:
    return {"profile": profile, "latency_ms": LATENCY_MS} | ({"secret": "key", "key_bits": bits} if bits else {"clear": True})


def secret(bits: int) -> str:
    return PASSPHRASE if bits else ""


def tool(name: str, profile: str, bits: int, source: str, to: str, ports: list[int], at: str = "") -> list[str]:
    """`ristsender` or `ristreceiver`; `at` is "@" where it listens for RIST."""
    key = f"&secret={PASSPHRASE}&aes-type={bits}" if bits else ""
    urls = ",".join(f"rist://{at}{HOST}:{port}?buffer={LATENCY_MS}{key}" for port in ports)
    words = {"rist": urls}
    return [name, "-p", str(int(profile == "main")), "-S", "0", "-i", words.get(source, source), "-o", words.get(to, to)]


class Leg:
    def __init__(self, spec: RistSource, passphrase: str) -> None:
        self.inbox: deque[Arrival] = deque()
        self.leg = RistLeg(spec, 0, passphrase, self.inbox, lambda _now_ns: None)

    @property
    def datagrams(self) -> list[bytes]:
        return [data for _, number, data, _ in tuple(self.inbox) if number != RESTART]


def receive(lab: RistLab, closing: ExitStack, profile: str, bits: int, paths: int) -> tuple[Leg, list[int]]:
    ports = [lab.port() for _ in range(paths)]
    leg = Leg(RistSource(name="in", port=ports[0], second_port=ports[1] if paths > 1 else 0, **settings(profile, bits)), secret(bits))
    closing.callback(leg.leg.close)
    return leg, ports


def send(closing: ExitStack, ports: list[int], profile: str, bits: int, port: int) -> RistSend:
    """An output of ours, fed with what comes to a UDP port."""
    spec = RistOutput(name="out", host=HOST, port=ports[0], second_port=ports[1] if len(ports) > 1 else 0, **settings(profile, bits))
    output = RistSend(spec, secret(bits))
    closing.callback(output.close)
    closing.enter_context(Recorder(port=port, see=lambda datagram: output.send([datagram], time.monotonic_ns())))
    return output


@BOTH_WAYS
def test_ristsender_to_us(lab, closing, start, udp_port, film_of_a_stranger, profile, bits, paths):
    leg, ports = receive(lab, closing, profile, bits, paths)
    port = udp_port()
    peer = start(*tool("ristsender", profile, bits, f"udp://@{HOST}:{port}", "rist", ports))
    with Sender(film_of_a_stranger, [(HOST, port)]) as sender:
        wait_until(lambda: len(leg.datagrams) > ENOUGH, what="the stream arrives", among=[peer])
        assert not difference(sender.sent, leg.datagrams)
        assert leg.leg.status(time.monotonic_ns()).state == "connected"


@BOTH_WAYS
def test_us_to_ristreceiver(lab, closing, start, udp_port, film_of_a_stranger, profile, bits, paths):
    ports = [lab.port() for _ in range(paths)]
    port = udp_port()
    with Recorder() as got:
        peer = start(*tool("ristreceiver", profile, bits, "rist", f"udp://{HOST}:{got.port}", ports, "@"))
        output = send(closing, ports, profile, bits, port)
        with Sender(film_of_a_stranger, [(HOST, port)]) as sender:
            wait_until(lambda: len(got.datagrams) > ENOUGH, what="the stream arrives", among=[peer])
            assert not difference(sender.sent, got.datagrams)
            wait_until(lambda: output.status(time.monotonic_ns()).state == "connected", what="the output is connected", among=[peer])


def test_loss_on_the_way_from_ristsender_is_repaired(lab, closing, start, udp_port, film_of_a_stranger):
    leg, ports = receive(lab, closing, "main", 256, 1)
    port = udp_port()
    with Relay((HOST, ports[0]), loss=0.1, seed=2, delay_ms=5) as relay:
        peer = start(*tool("ristsender", "main", 256, f"udp://@{HOST}:{port}", "rist", [relay.address[1]]))
        with Sender(film_of_a_stranger, [(HOST, port)]) as sender:
            wait_until(lambda: len(leg.datagrams) > ENOUGH, what="the stream arrives", among=[peer])
            assert relay.forward.lost > 5
            assert not difference(sender.sent, leg.datagrams)


def test_loss_on_the_way_to_ristreceiver_is_repaired(lab, closing, start, udp_port, film_of_a_stranger):
    ports, port = [lab.port()], udp_port()
    with Recorder() as got, Relay((HOST, ports[0]), loss=0.1, seed=2, delay_ms=5) as relay:
        peer = start(*tool("ristreceiver", "main", 256, "rist", f"udp://{HOST}:{got.port}", ports, "@"))
        send(closing, [relay.address[1]], "main", 256, port)
        with Sender(film_of_a_stranger, [(HOST, port)]) as sender:
            wait_until(lambda: len(got.datagrams) > ENOUGH, what="the stream arrives", among=[peer])
            assert relay.forward.lost > 5
            assert not difference(sender.sent, got.datagrams)


@pytest.fixture
def ffmpeg(need: Callable[[str], None]) -> str:
    need("ffmpeg")
    with Program(["ffmpeg", "-v", "error", "-protocols"]) as told:
        told.wait()
        if not told.said("rist"):
            pytest.skip("this ffmpeg has no rist://; Debian's has it")
    return "ffmpeg"


def test_the_stream_of_ffmpeg_arrives_whole(lab, closing, ffmpeg, start):
    leg, ports = receive(lab, closing, "main", 128, 1)
    inputs = shlex.split("-v error -re -f lavfi -i testsrc2=size=320x180:rate=25 -re -f lavfi -i sine")
    encode = shlex.split("-c:v libx264 -preset ultrafast -g 25 -bf 0 -b:v 600k -c:a aac -b:a 64k -f mpegts")
    url = f"rist://{HOST}:{ports[0]}?pkt_size=1316"
    peer = start(ffmpeg, *inputs, *encode, "-rist_profile", "main", "-encryption", "128", "-secret", PASSPHRASE, url)
    wait_until(lambda: len(leg.datagrams) > ENOUGH, what="the stream arrives", among=[peer])
    report = analyse(b"".join(leg.datagrams))
    assert report.continuity_errors == 0
    assert report.crc_errors == 0
    assert report.transport_errors == 0


def test_ffmpeg_takes_our_stream(lab, closing, ffmpeg, start, udp_port, film_of_a_stranger, tmp_path):
    ports, port, file = [lab.port()], udp_port(), tmp_path / "got.ts"
    options = ["-rist_profile", "main", "-encryption", "128", "-secret", PASSPHRASE]
    copy = ["-map", "0", "-c", "copy", "-f", "mpegts", "-flush_packets", "1", "-y", str(file)]
    peer = start(ffmpeg, "-v", "error", *options, "-i", f"rist://@{HOST}:{ports[0]}", *copy)
    send(closing, ports, "main", 128, port)
    with Sender(film_of_a_stranger, [(HOST, port)]):
        wait_until(lambda: file.exists() and file.stat().st_size > 150_000, timeout_s=25, what="the stream arrives", among=[peer])
    assert analyse(file.read_bytes()[: 150_000 // 188 * 188]).continuity_errors == 0
