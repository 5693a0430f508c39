"""Hostile datagrams at each kind of port of a running flow: a small seeded run of what `scripts/hostile` does with a million.

Memory is the script's matter: what a flow grows by in its first seconds hides what so few datagrams could cost.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from firmware.flow.sources import DatagramSource
from firmware.model import RtpSource
from firmware.net.srtp import Seal
from firmware.wire.rtp import Numberer
from tests.hostile.ports import FORBIDDEN, HOST, KINDS
from tests.hostile.siege import Attack, Siege, compiled_spray
from tests.lab.ports import free_ports
from tests.wire.streams import stream

COUNT = 2000
SILENT_S = 0.3  # a flow takes the next sender after half a second
ALIKE = {"rtp", "rtp-fec media", "rtp-fec rows", "rtp-fec srtp media", "rtp-fec srtp rows", "rist main clear", "rist simple rtp"}
BRIEFLY = [kind for kind in KINDS if kind.name not in ALIKE]  # the script takes all


@pytest.fixture(scope="module")
def spray(tmp_path_factory):
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (cc) here")
    return compiled_spray(tmp_path_factory.mktemp("spray"))


@pytest.mark.parametrize("kind", BRIEFLY, ids=[kind.name for kind in BRIEFLY])
def test_the_right_sender_is_not_disturbed(kind, spray, tmp_path):
    with Siege(kind, tmp_path, spray, settle=400) as siege:
        for source in (HOST, FORBIDDEN):
            outcome = siege.suffer(Attack(source, COUNT, paced=True, seed=7))
            assert outcome.sent == COUNT
            if outcome.held_up_s > SILENT_S:
                pytest.skip(
                    f"this machine held the right sender up for {outcome.held_up_s:.1f} s, and the next one may take his place then"
                )
            assert (outcome.missing, outcome.again, outcome.strange) == (0, 0, 0)
            assert outcome.counted > COUNT // 2 or kind.name.startswith("srt")  # libsrt throws away what is none of its own, uncounted


KEY = bytes(range(44))
SSRC = 7


@contextmanager
def source(key: bytes | None) -> Iterator[tuple[DatagramSource, list[bytes], socket.socket]]:
    """A source that is read by hand, what it delivers, and a socket of who sends to it."""
    (port,) = free_ports(1)
    spec = RtpSource(name="in", port=port, secret="key" if key else "")
    delivered: list[bytes] = []

    def deliver(_leg: int, _number: int, datagram: bytes, _now_ns: int, _rebuilt: bool = False) -> None:
        delivered.append(datagram)

    opened = DatagramSource(spec, 0, deliver, lambda _leg: None, key)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((HOST, port))
        try:
            yield opened, delivered, sender
        finally:
            opened.close()


def test_who_forges_the_address_and_port_of_an_srtp_sender_changes_nothing():
    """All of a right packet but its tag, and under numbers that are still to come."""
    numberer, seal, datagrams = Numberer(SSRC), Seal(KEY, SSRC, 0), stream(0.3)
    forged = Seal(KEY[::-1], SSRC, 0)
    with source(KEY) as (opened, delivered, sender):
        for place, datagram in enumerate(datagrams):
            right = seal.protect(numberer(datagram, place * 1_000_000))
            ahead = Numberer(SSRC, numberer.index + 1)(b"G" * 1316, 0)
            for packet in (right[:-1] + bytes((right[-1] ^ 1,)), forged.protect(ahead), right):
                sender.send(packet)
            opened.drain(1_000_000_000 + place * 3_000_000)
        assert delivered == datagrams
        status = opened.status(2_000_000_000)
        assert (status.refused, status.dropped, status.lost) == (2 * len(datagrams), 0, 0)


def test_in_plain_rtp_nothing_tells_a_forged_sender_from_the_right_one():
    """What SECURITY.md says. Another port is another sender, though."""
    numberer, datagrams = Numberer(SSRC), stream(0.1)
    with source(None) as (opened, delivered, sender), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        sender.send(numberer(datagrams[0], 0))
        opened.drain(1_000_000_000)
        stranger.sendto(numberer(datagrams[2], 0), sender.getpeername())
        sender.send(Numberer(SSRC, numberer.index)(datagrams[1], 0))
        opened.drain(1_010_000_000)
        assert delivered == datagrams[:2]
        assert opened.status(1_010_000_000).refused == 1
