"""The namespaces that other tests lean on: what is asked of a path happens to real packets."""

from __future__ import annotations

import socket
import subprocess
import time

import pytest

from firmware.net.udp import enlarge_receive_buffer
from tests.lab import networks
from tests.lab.cable import Cable
from tests.lab.networks import STUDIO, NetworkError, Networks
from tests.lab.programs import wait_until


@pytest.fixture(scope="module")
def network():
    why = networks.missing()
    if why:
        pytest.skip(why)
    with Networks() as opened:
        yield opened


@pytest.fixture
def studio(network):
    """A port of the studio, on either of its addresses."""
    with network.inside("studio"):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with opened:
        enlarge_receive_buffer(opened, 8 << 20)
        opened.bind(("0.0.0.0", 0))
        yield opened


def sender(network: Networks, device: str = "") -> socket.socket:
    with network.inside("venue"):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if device:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    return opened


def arrived(studio: socket.socket, timeout_s: float = 0.4) -> list[tuple[int, str]]:
    """Numbers and where they came from, until silence."""
    studio.settimeout(timeout_s)
    got = []
    while True:
        try:
            datagram, (host, _) = studio.recvfrom(2000)
        except TimeoutError:
            return got
        got.append((int.from_bytes(datagram[:4], "big"), host))


def send(network: Networks, studio: socket.socket, path: networks.Lane, count: int) -> list[tuple[int, str]]:
    with sender(network, f"path-{path}") as venue:
        for number in range(count):
            venue.sendto(number.to_bytes(4, "big") + bytes(1312), (STUDIO[path], studio.getsockname()[1]))
    return arrived(studio)


@pytest.mark.parametrize("path", ["a", "b"])
def test_each_path_by_its_own_interface(network, studio, path):
    assert send(network, studio, path, 20) == [(n, network.address[path]) for n in range(20)]


def test_loss_is_counted_and_of_one_path(network, studio):
    network.loss("a", 0.1)
    got = send(network, studio, "a", 2000)
    assert 1700 < len(got) < 1900
    assert network.swallowed() == 2000 - len(got)
    assert len(send(network, studio, "b", 500)) == 500
    network.loss("a", 0)
    assert len(send(network, studio, "a", 500)) == 500


def test_a_rate_and_no_rate(network, studio):
    assert network.rate("b", 5) in ("tbf", "nft")
    assert 20 < len(send(network, studio, "b", 500)) < 250
    network.rate("b", None)
    assert len(send(network, studio, "b", 500)) == 500


def test_a_black_hole_one_way(network, studio):
    with sender(network) as venue:
        venue.settimeout(5)
        venue.connect((STUDIO["a"], studio.getsockname()[1]))
        venue.send(bytes(4))
        back = studio.recvfrom(2000)[1]
        network.black_hole("a", "out")
        venue.send(bytes(4))
        studio.sendto(b"heard", back)
        assert venue.recv(2000) == b"heard"
        assert arrived(studio) == []
        assert network.swallowed() == 1
        network.black_hole("a")
        venue.send(bytes(4))
        assert studio.recv(2000) == bytes(4)


def test_a_pulled_cable_and_another_lease(network, studio):
    network.link("b", up=False)
    with pytest.raises(OSError, match="unreachable"):
        send(network, studio, "b", 1)
    network.link("b", up=True)
    new = network.move_address("b")
    assert send(network, studio, "b", 3) == [(n, new) for n in range(3)]


def test_a_program_of_a_side(network):
    assert "10.77.101.2" in network.run("studio", ["ip", "address"])
    with network.program("venue", ["ip", "-4", "-oneline", "address"]) as program:
        assert program.wait() == 0
    assert any("path-a" in line for line in program.out)
    with pytest.raises(NetworkError, match="there-is-no-such"):
        network.ip("venue", "link show there-is-no-such")


def test_nothing_stays_behind():
    why = networks.missing()
    if why:
        pytest.skip(why)
    left = "pb-4194305-0-venue"  # of a run that was killed: no process has such a number
    subprocess.run(["ip", "netns", "add", left], check=True)
    network = Networks()
    with pytest.raises(ZeroDivisionError), network:
        raise ZeroDivisionError
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    assert not {left, *network.names.values()} & set(listed)


def test_a_cable_tells_who_sent_full_packets_and_since_when(network, studio):
    with network.inside("studio"):
        cable = Cable("path-a")
    with cable, sender(network, "path-a") as venue:
        venue.sendto(bytes(100), (STUDIO["a"], studio.getsockname()[1]))
        place = studio.recvfrom(2000)[1]
        began = time.monotonic()
        venue.sendto(bytes(1316), (STUDIO["a"], studio.getsockname()[1]))
        wait_until(lambda: cable.first_s(place), what="the full packet is seen")
        assert (cable.first_s(place) or 0) > began
        cable.forget()
        assert cable.first_s(place) is None
