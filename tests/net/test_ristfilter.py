"""What the kernel keeps from librist, tried on real sockets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from firmware.net.portfilter import MOST_BLOCKS, Peer
from firmware.net.ristfilter import program
from firmware.net.ristsocket import Taken

Pair = tuple[socket.socket, socket.socket, Taken]


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["IPv4", "IPv6"])
def pair(request) -> Iterator[Pair]:
    """Who sends, who receives, and the receiver as librist's would be held."""
    family, host = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as sender, socket.socket(family, socket.SOCK_DGRAM) as receiver:
        for one in (sender, receiver):
            one.bind((host, 0))
        sender.connect(receiver.getsockname())
        taken = Taken(receiver.fileno())
        yield sender, receiver, taken
        taken.close()


def comes(pair: Pair, datagram: bytes) -> bool:
    sender, receiver, _ = pair
    sender.send(datagram)
    try:
        return receiver.recv(2048, socket.MSG_DONTWAIT) == datagram
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    ("blocks", "passes"),
    [
        ([], False),
        (["127.0.0.1/32", "::1/128"], True),
        (["192.0.2.0/24", "2001:db8::/32", "127.0.0.0/8", "::/64"], True),
        (["127.0.0.2/32", "::2/128", "0:0:0:1::/64"], False),
        (["0.0.0.0/0", "::/0"], True),
        ([f"10.0.{n}.0/24" for n in range(100)] + ["127.0.0.1/32", "::1/128"], True),
        ([f"2001:db8:{n:x}::/48" for n in range(MOST_BLOCKS)], False),
    ],
)
def test_blocks(pair, blocks, passes):
    pair[2].hear_only(program(encrypted=False, allowed=blocks))
    assert comes(pair, b"datagram") is passes
    assert pair[2].dropped == (not passes)


def test_too_many_blocks_are_said():
    with pytest.raises(ValueError, match="allow: 151 blocks; up to 150 are possible"):
        program(encrypted=False, allowed=["192.0.2.0/24"] * 151)


def test_one_peer(pair):
    host, port = pair[0].getsockname()[:2]
    other = "127.0.0.9" if ":" not in host else "::9"
    for peer, passes in [(Peer(host, port), True), (Peer(host, 0), True), (Peer(host, port ^ 1), False), (Peer(other, port), False)]:
        pair[2].hear_only(program(encrypted=False, peers=[peer]))
        assert comes(pair, b"datagram") is passes, peer


def test_an_ipv4_address_as_ipv6_writes_it_and_one_with_its_interface():
    assert program(encrypted=True, peers=[Peer("::ffff:192.0.2.7", 5)]) == program(encrypted=True, peers=[Peer("192.0.2.7", 5)])
    assert program(encrypted=True, peers=[Peer("fe80::1%eth0", 5)]) == program(encrypted=True, peers=[Peer("fe80::1", 5)])


def gre(flags: int, *words: int, size: int = 40) -> bytes:
    return (bytes((flags, 0x48)) + b"\x88\xb6" + b"".join(struct.pack(">I", word) for word in words)).ljust(size, b"\x55")


@pytest.mark.parametrize(
    ("datagram", "passes"),
    [
        (gre(0x30, 7, 1), True),
        (gre(0xB0, 0, 7, 1), True),
        (gre(0x10, 1), True),  # librist itself refuses it, and says so
        (gre(0x00), False),
        (gre(0x20, 7), False),
        (gre(0x30, 0, 1), False),
        (gre(0xB0, 7, 0, 1), False),
        (gre(0x30, 7, 1, size=15), False),
        (gre(0x30, 7, 1, size=16), True),
        (b"\x30", False),
        (b"", False),
    ],
)
def test_what_was_not_encrypted_or_is_cut_off(pair, datagram, passes):
    pair[2].hear_only(program(encrypted=True))
    assert comes(pair, datagram) is passes


def test_what_lay_there_before_is_gone(pair):
    sender, receiver, taken = pair
    for _ in range(20):
        sender.send(os.urandom(30))
    taken.hear_only(program(encrypted=False, allowed=["192.0.2.0/24"]))
    with pytest.raises(BlockingIOError):
        receiver.recv(2048, socket.MSG_DONTWAIT)
