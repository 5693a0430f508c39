"""What the kernel keeps from a listener: everything but handshakes, and what callers send who were let in."""

from __future__ import annotations

import random
import socket as system
import struct

import pytest

from firmware.net import srt
from firmware.net.portfilter import MOST_BLOCKS
from tests.lab.programs import wait_until

HANDSHAKE, KEEPALIVE = 0x8000_0000, 0x8001_0000
NOISE = random.Random(5)


def let_in(_: srt.Caller) -> srt.Admission:
    return srt.Admission()


def throw(listener: srt.Listener, *datagrams: bytes, host: str = "127.0.0.1") -> None:
    """From a port of this address that never asked for a connection."""
    with system.socket(system.AF_INET6 if ":" in host else system.AF_INET, system.SOCK_DGRAM) as stranger:
        stranger.bind((host, 0))
        for datagram in datagrams:
            stranger.sendto(datagram, listener.address)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_strangers_are_not_heard_and_callers_are(lab, receive, host):
    listener = lab.listener(address=host, admit=let_in)
    caller, accepted = lab.pair(listener)
    copies = [struct.pack("!IIII", word, 0, 0, accepted.handle) + bytes(1316) for word in (5, KEEPALIVE, HANDSHAKE)]
    thrown = [*copies, b"", bytes(15), *(NOISE.randbytes(NOISE.randrange(16, 1400)) for _ in range(500))]
    throw(listener, *thrown, host=host)
    assert listener.dropped == len(thrown)
    assert caller.send(b"still here")
    assert receive(accepted, 1)[0][0] == b"still here"
    assert lab.pair(listener)[1].far_end != accepted.far_end


def test_what_asks_for_a_connection_passes(lab):
    listener = lab.listener(admit=let_in)
    throw(listener, struct.pack("!IIII", HANDSHAKE, 0, 0, 0) + bytes(48))
    assert listener.dropped == 0


def test_a_caller_that_was_closed_is_a_stranger_again_when_others_came(lab):
    listener = lab.listener(admit=let_in)
    caller, accepted = lab.pair(listener)
    place = caller.local_address
    accepted.close()
    caller.close()
    for _ in range(8):  # so many may be in their handshakes
        lab.pair(listener)
    with system.socket(system.AF_INET, system.SOCK_DGRAM) as stranger:
        wait_until(lambda: free(stranger, place), what="libsrt gives the caller's port back")
        before = listener.dropped
        stranger.sendto(struct.pack("!IIII", 5, 0, 0, 7), listener.address)
    assert listener.dropped == before + 1


def free(socket: system.socket, place: tuple[str, int]) -> bool:
    try:
        socket.bind(place)
    except OSError:
        return False
    return True


def test_more_callers_than_the_kernel_tells_apart_are_all_heard(lab, receive):
    listener = lab.listener(admit=let_in, backlog=8)
    pairs = [lab.pair(listener, bind_address="127.0.0.1", bind_port=port) for port in ports(MOST_BLOCKS + 2)]
    for caller, accepted in (pairs[0], pairs[-1]):
        assert caller.send(b"heard")
        assert receive(accepted, 1)[0][0] == b"heard"


def ports(count: int) -> list[int]:
    held = [system.socket(system.AF_INET, system.SOCK_DGRAM) for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return found


def test_a_port_is_there_again_at_once_and_guarded(lab, receive):
    """libsrt lets go of its UDP sockets only later; a flow whose source changes wants the port now."""
    first = lab.listener(admit=let_in)
    caller, accepted = lab.pair(first)
    first.close()
    accepted.close()
    second = lab.listener(admit=let_in, port=caller.far_end.port)
    throw(second, bytes(100), bytes(100))
    assert second.dropped >= 2
    again, taken = lab.pair(second)
    assert again.send(b"back")
    assert receive(taken, 1)[0][0] == b"back"
