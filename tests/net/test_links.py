"""Link and address changes, as a real kernel tells them in a network namespace of the test's own."""

from __future__ import annotations

import select
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.net import rtnetlink
from firmware.net.links import Change, LinkWatch
from tests.lab import networks
from tests.lab.networks import Networks


@pytest.fixture(scope="module")
def network():
    why = networks.missing()
    if why:
        pytest.skip(why)
    with Networks() as opened:
        yield opened


@pytest.fixture
def watch(network):
    with network.inside("venue"), LinkWatch() as opened:
        yield opened


def seen(watch: LinkWatch, wanted: Change, timeout_s: float = 5.0) -> list[Change]:
    """Everything up to and with `wanted`, each time waited for in select as a worker's loop does."""
    changes: list[Change] = []
    while wanted not in changes:
        assert select.select([watch], [], [], timeout_s)[0], f"{wanted} did not come, only {changes}"
        changes += watch.read()
    return changes


def test_a_cable_is_pulled_and_put_back(network, watch):
    network.link("a", up=False)
    seen(watch, Change("link down", "path-a"))
    network.link("a", up=True)
    changes = seen(watch, Change("route", "path-a", "10.77.1.1"))
    assert Change("link up", "path-a") in changes
    assert {change.interface for change in changes} == {"path-a"}


def test_the_far_end_of_a_cable_is_pulled(network, watch):
    """The interface stays up, and loses its carrier."""
    network.ip("router", "link set venue-b down")
    seen(watch, Change("link down", "path-b"))
    network.ip("router", "link set venue-b up")
    seen(watch, Change("link up", "path-b"))


def test_another_lease(network, watch):
    old = network.address["b"]
    new = network.move_address("b")
    changes = seen(watch, Change("address added", "path-b", new))
    assert Change("address removed", "path-b", old) in changes


def test_a_renewed_lease_is_no_news(network, watch):
    network.ip("venue", f"address change {network.address['a']}/24 dev path-a valid_lft 1000 preferred_lft 1000")
    network.ip("venue", "address add 192.0.2.9/32 dev path-a")
    assert seen(watch, Change("address added", "path-a", "192.0.2.9")) == [Change("address added", "path-a", "192.0.2.9")]


def test_ipv6_once_it_is_usable(network, watch):
    """Duplicate address detection takes a second, and no socket can be bound until then."""
    network.ip("venue", "address add fd77::2/64 dev path-a")
    seen(watch, Change("address added", "path-a", "fd77::2"))
    with network.inside("venue"), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
        bound.bind(("fd77::2", 0))
    network.ip("venue", "-6 route add default via fd77::1 dev path-a")
    seen(watch, Change("route", "path-a", "fd77::1"))
    network.ip("venue", "address delete fd77::2/64 dev path-a")
    seen(watch, Change("address removed", "path-a", "fd77::2"))


def test_an_interface_that_comes_and_goes(network, watch):
    network.ip("venue", "link add modem type veth peer name modem-far")
    network.ip("venue", "link set modem-far up")
    network.ip("venue", "link set modem up")
    seen(watch, Change("link up", "modem"))
    network.ip("venue", "link delete modem")
    seen(watch, Change("link down", "modem"))


def test_an_overflow_is_one_unknown_and_then_goes_on(network, watch):
    addresses = [f"198.18.{n // 250}.{n % 250 + 1}/32" for n in range(1000)]
    for verb in ("add", "delete", "add", "delete"):
        words = "".join(f"address {verb} {address} dev path-b\n" for address in addresses)
        subprocess.run(["ip", "-n", network.names["venue"], "-batch", "-"], input=words, text=True, check=True)
    changes = []
    while batch := watch.read():
        changes += batch
    assert Change("unknown") in changes
    network.ip("venue", "address add 192.0.2.10/32 dev path-b")
    assert seen(watch, Change("address added", "path-b", "192.0.2.10")) == [Change("address added", "path-b", "192.0.2.10")]


def test_nothing_to_read_is_no_wait(watch):
    assert watch.read() == []
    assert select.select([watch], [], [], 0)[0] == []


@given(st.binary(max_size=200))
def test_cut_and_wild_messages_end_quietly(data):
    for message in rtnetlink.messages(data):
        assert len(message.body) <= len(data) - 16
    assert all(len(value) <= len(data) for value in rtnetlink.attributes(data, 0).values())


def test_an_unprivileged_process_may_watch():
    words = """if True:
        import os
        from firmware.net.links import LinkWatch
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        print(LinkWatch().read())
    """
    ended = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "[]\n"), ended.stderr
