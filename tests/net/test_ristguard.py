"""What is done to librist's sockets from outside, with librist running: strangers kept away, packets marked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from firmware.net import rist
from tests.net.ristlab import HOST, PASSPHRASE, Collect, RistLab, whole

MODES = {"main": {}, "AES-256": {"passphrase": PASSPHRASE}, "simple": {"profile": "simple"}}


@pytest.fixture
def lab() -> Iterator[RistLab]:
    with ExitStack() as stack:
        yield RistLab(stack)


@pytest.mark.parametrize("mode", MODES)
def test_once_somebody_is_let_in_the_kernel_keeps_all_others_from_librist(lab, mode):
    port = lab.port()
    receiver = lab.receiver(port, allow=["127.0.0.0/8"], exclusive=True, **MODES[mode])
    lab.feed(lab.sender(port, **MODES[mode]))
    collect = Collect(receiver)
    collect.count(100)
    before = receiver.filtered
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(50):
            stranger.sendto(b"\x30\x48\x88\xb6" + bytes(range(1, 60)), (HOST, port))
    assert receiver.filtered == before + 50
    collect.count(200)
    assert whole(collect.numbers)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_comes_to_librist_from_who_is_not_on_the_allowlist(lab, mode):
    port = lab.port()
    receiver = lab.receiver(port, allow=["127.0.0.3/32", "192.0.2.0/24", "2001:db8::/32"], **MODES[mode])
    lab.feed(lab.sender(port, **MODES[mode]))
    collect = Collect(receiver)
    collect.until(lambda: receiver.filtered > 10, "the kernel drops what comes")
    assert (collect.got, receiver.refused, receiver.peers) == ([], 0, {})
    lab.feed(lab.sender(rist.Path(HOST, port, bind_address="127.0.0.3"), **MODES[mode]))
    collect.count(100)


@pytest.mark.parametrize("mode", ["AES-256", "simple"])
def test_packets_are_marked(lab, mode):
    port = lab.port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far_end:
        far_end.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        far_end.settimeout(10)
        far_end.bind((HOST, port + (mode == "simple")))  # RTCP: of RTP nothing leaves until somebody answers
        lab.feed(lab.sender(rist.Path(HOST, port, dscp=34), **MODES[mode]))
        marks: list[int] = []
        while 34 << 2 not in marks and len(marks) < 50:  # the first ones leave before librist shows its socket
            marks += [data[0] for _, kind, data in far_end.recvmsg(2048, 64)[1] if kind == socket.IP_TOS]
    assert marks[-1] == 34 << 2
