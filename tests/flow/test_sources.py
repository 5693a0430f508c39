"""A datagram source with real sockets and made-up time: who may send, what is refused, and what is dropped."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from firmware.flow.sources import INCUMBENT_NS, DatagramSource
from firmware.model import RtpFecSource, RtpSource, UdpSource
from firmware.net.srtp import Seal
from firmware.secrets import generate_srtp_key, parse_srtp_key
from firmware.wire.fec import COLUMN, ROW
from firmware.wire.fecencoder import FecEncoder
from firmware.wire.rtp import Numberer
from tests.lab.ports import FEC, free_ports
from tests.wire.streams import MS, S

from .running import datagrams

KEY = parse_srtp_key(generate_srtp_key())
STREAM = datagrams(400, 10_000_000)


class Peer:
    """A sender of RTP with FEC: a socket for each stream, as they come from three ports."""

    def __init__(self, port: int, ssrc: int, key: bytes | None, stack: ExitStack) -> None:
        self._number, self._encoder = Numberer(ssrc, 100), FecEncoder(5, 5, ssrc + 1)
        self._seals = [Seal(key, ssrc, 100), Seal(key, ssrc + 1, 0), Seal(key, ssrc + 2, 0)] if key else None
        self.sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        for beyond, opened in zip((0, COLUMN, ROW), self.sockets, strict=True):
            opened.connect(("127.0.0.1", port + beyond))

    def send(self, datagram: bytes, *, lost: bool = False) -> None:
        packet = self._number(datagram, 0)
        if not lost:
            self._put(0, packet)
        for stream, made in self._encoder.push(packet):
            self._put(1 if stream == COLUMN else 2, made)

    def _put(self, stream: int, packet: bytes) -> None:
        with suppress(ConnectionRefusedError):
            self.sockets[stream].send(packet if self._seals is None else self._seals[stream].protect(packet))


class Ends:
    def __init__(self, spec: UdpSource | RtpSource, key: bytes | None, stack: ExitStack) -> None:
        self._stack = stack
        self._key = key
        self.now_ns = S
        self.restarts = 0
        self.came: list[bytes] = []
        self.rebuilt: list[bytes] = []
        self.source = DatagramSource(spec, 0, self._deliver, self._restart, key)
        stack.callback(self.source.close)

    def peer(self, ssrc: int, key: bytes | None = None) -> Peer:
        return Peer(self.source.spec.port, ssrc, key or self._key, self._stack)

    def _deliver(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        (self.rebuilt if rebuilt else self.came).append(datagram)

    def _restart(self, leg: int) -> None:
        self.restarts += 1

    def read(self, after_ms: float = 1) -> None:
        self.now_ns += int(after_ms * MS)
        self.source.drain(self.now_ns)

    def status(self) -> Any:
        return self.source.status(self.now_ns)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def rtp_fec(stack: ExitStack, key: bytes | None) -> Ends:
    return Ends(RtpFecSource(name="in", port=free_ports(1, FEC)[0]), key, stack)


KEYS = pytest.mark.parametrize("key", [None, KEY], ids=["clear", "srtp"])


@KEYS
def test_a_second_sender_is_refused_for_as_long_as_the_first_is_heard(stack, key):
    ends = rtp_fec(stack, key)
    first, second = ends.peer(10), ends.peer(20)
    for n in range(50):
        first.send(STREAM[n])
        second.send(STREAM[100 + n])
        ends.read(INCUMBENT_NS / MS - 1)
    assert ends.came == STREAM[:50]
    assert (ends.status().refused, ends.restarts, ends.rebuilt) == (50, 1, [])
    ends.now_ns += INCUMBENT_NS
    ends.source.tick(ends.now_ns)
    for n in range(50):
        second.send(STREAM[150 + n])
        first.send(STREAM[50 + n])
        ends.read()
    assert ends.came == STREAM[:50] + STREAM[150:200]
    assert (ends.status().refused, ends.restarts, ends.status().lost) == (100, 2, 0)


@KEYS
def test_repairs_are_delivered_and_counted(stack, key):
    ends = rtp_fec(stack, key)
    peer = ends.peer(10)
    lost = [n for n in range(350) if n % 40 in range(20, 25)]
    for n, datagram in enumerate(STREAM):
        peer.send(datagram, lost=n in lost)
        ends.read()
    assert sorted(ends.rebuilt) == sorted(STREAM[n] for n in lost)
    status = ends.status()
    assert (status.lost, status.fec_repaired, status.packets, status.fec_matrix) == (0, len(lost), 400 - len(lost), "5x5")


@pytest.mark.parametrize("after", [30, 300, 1900])
def test_a_stall_of_the_reader_costs_no_repair(stack, after):
    """Media and FEC wait in their sockets, and are taken side by side."""
    ends = rtp_fec(stack, None)
    peer = ends.peer(10)
    for n, datagram in enumerate(STREAM * 5):
        peer.send(datagram, lost=n % 40 in range(20, 25) and n < 1950)
        if n == 50 or n % after == 0:
            ends.read(after)
    ends.read(after)
    assert (ends.status().lost, ends.status().fec_repaired) == (0, 245)


def test_another_key_brings_nothing_and_is_counted(stack):
    ends = rtp_fec(stack, KEY)
    stranger = ends.peer(10, key=parse_srtp_key(generate_srtp_key()))
    for datagram in STREAM[:50]:
        stranger.send(datagram)
        ends.read()
    status = ends.status()
    assert (ends.came, status.state, status.encryption) == ([], "waiting", "SRTP, AES-256-GCM")
    assert status.refused >= 50
    right = ends.peer(20)
    for datagram in STREAM[:50]:
        right.send(datagram)
        ends.read()
    assert ends.came == STREAM[:50]


def test_in_the_clear_and_copied_packets_do_not_pass_for_srtp(stack):
    ends = rtp_fec(stack, KEY)
    peer = ends.peer(10)
    peer.send(STREAM[0])
    ends.read()
    clear = Numberer(10, 101)
    for datagram in STREAM[1:20]:
        peer.sockets[0].send(clear(datagram, 0))
    ends.read()
    assert ends.came == STREAM[:1]
    assert ends.status().refused == 19


@KEYS
@pytest.mark.parametrize("size", [0, 1, 11, 12, 28, 1499, 1500, 1501, 2047, 9000])
def test_garbage_of_any_size_on_any_port_raises_nothing(stack, key, size):
    ends = rtp_fec(stack, key)
    peer = ends.peer(10)
    peer.send(STREAM[0])
    for opened in peer.sockets:
        for head in (b"", b"\x80\x21\0\0", b"\x80\x60\0\0", b"\xbf\xa1"):
            opened.send((head + os.urandom(size))[:size])
    ends.read()
    assert ends.came == STREAM[:1]


def test_an_address_that_is_not_allowed_sends_nothing(stack):
    ends = Ends(UdpSource(name="in", port=free_ports(1)[0], allow=["192.0.2.0/24"]), None, stack)
    ends.peer(10).sockets[0].send(STREAM[0])
    ends.read()
    assert (ends.came, ends.status().refused) == ([], 1)
