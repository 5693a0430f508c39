"""Which way the kernel sends packets, asked in a network namespace of the test's own."""

from __future__ import annotations

import re

import pytest

from firmware.net.routes import RouteError, Way, same_way, way_to
from tests.lab import networks
from tests.lab.networks import STUDIO, Networks


@pytest.fixture(scope="module")
def network():
    why = networks.missing()
    if why:
        pytest.skip(why)
    with Networks() as opened:
        opened.ip("venue", "address add fd77:1::2/64 dev path-a nodad")
        opened.ip("venue", "address add fd77:2::2/64 dev path-b nodad")
        opened.ip("venue", "-6 route add default via fd77:1::1 dev path-a metric 100")
        opened.ip("venue", "-6 route add default via fd77:2::1 dev path-b metric 200")
        yield opened


@pytest.fixture
def _in_the_venue(network):
    with network.inside("venue"):
        yield


pytestmark = pytest.mark.usefixtures("_in_the_venue")


def test_the_default_route_and_the_device_that_overrides_it():
    assert way_to(STUDIO["b"]) == Way("path-a", "10.77.1.1", "10.77.1.2")
    assert way_to(STUDIO["b"], bind_device="path-b") == Way("path-b", "10.77.2.1", "10.77.2.2")
    assert way_to("10.77.2.9") == Way("path-b", "", "10.77.2.2")
    assert way_to("127.0.0.1").interface == "lo"


def test_ipv6():
    assert way_to("2001:db8::1") == Way("path-a", "fd77:1::1", "fd77:1::2")
    assert way_to("2001:db8::1", bind_device="path-b") == Way("path-b", "fd77:2::1", "fd77:2::2")
    assert way_to("fd77:2::9") == Way("path-b", "", "fd77:2::2")
    assert way_to("fe80::1%path-b").interface == "path-b"


def test_a_source_address_chooses_no_interface_by_itself(network):
    """Only a rule of the machine does: binding to B's address alone leaves both paths on A."""
    way = way_to(STUDIO["b"], bind_address="10.77.2.2")
    assert (way.interface, way.gateway) == ("path-a", "10.77.1.1")
    network.ip("venue", "rule add from 10.77.2.2 lookup 77")
    network.ip("venue", "route add default via 10.77.2.1 dev path-b table 77")
    way = way_to(STUDIO["b"], bind_address="10.77.2.2")
    assert (way.interface, way.gateway) == ("path-b", "10.77.2.1")


def test_a_mark_may_choose(network):
    network.ip("venue", "rule add fwmark 7 lookup 78")
    network.ip("venue", "route add default via 10.77.2.1 dev path-b table 78")
    assert way_to(STUDIO["a"], mark=7).interface == "path-b"
    assert way_to(STUDIO["a"], mark=8).interface == "path-a"


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"address": "192.0.2.1", "bind_device": "lo"}, "192.0.2.1 cannot be reached by lo: there is no route to it"),
        ({"address": "2001:db8::1", "bind_device": "lo"}, "2001:db8::1 cannot be reached by lo: there is no route to it"),
        ({"address": "192.0.2.1", "bind_device": "eth9"}, "bind_device: there is no network interface eth9"),
        ({"address": "192.0.2.1", "bind_address": "192.0.2.7"}, "bind_address: 192.0.2.7 is no address of this machine"),
        ({"address": "2001:db8::1", "bind_address": "fd77:9::2"}, "bind_address: fd77:9::2 is no address of this machine"),
        ({"address": "192.0.2.1", "bind_address": "fd77:1::2"}, "both must be IPv4, or both IPv6"),
        ({"address": "studio.example"}, "address: `studio.example` is no IP address"),
    ],
)
def test_errors_in_words(wish, says):
    with pytest.raises(RouteError, match=re.escape(says)) as caught:
        way_to(**wish)
    assert "\n" not in str(caught.value)


def test_what_routes_forbid(network):
    network.ip("venue", "route add unreachable 198.51.100.0/24")
    network.ip("venue", "route add prohibit 203.0.113.0/24")
    with pytest.raises(RouteError, match=r"198.51.100.1 cannot be reached: there is no route to it"):
        way_to("198.51.100.1")
    with pytest.raises(RouteError, match=r"203.0.113.1 cannot be reached: a route of this machine forbids it"):
        way_to("203.0.113.1")


def test_no_link_no_way(network):
    network.link("b", up=False)
    with pytest.raises(RouteError, match="by path-b: there is no route to it"):
        way_to(STUDIO["b"], bind_device="path-b")
    network.link("b", up=True)
    assert way_to(STUDIO["b"], bind_device="path-b").gateway == "10.77.2.1"


A, B = Way("eth0", "192.0.2.1", "192.0.2.5"), Way("wlan0", "198.51.100.1", "198.51.100.5")


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (A, B, ""),
        (A, A._replace(source="192.0.2.6"), "both paths leave by eth0 through 192.0.2.1: one cut takes both"),
        (A._replace(gateway=""), A._replace(gateway=""), "both paths leave by eth0: one cut takes both"),
        (A, A._replace(gateway="192.0.2.2"), "both paths leave by eth0, through 192.0.2.1 and 192.0.2.2: one cut cable takes both"),
        (A, A._replace(gateway=""), "both paths leave by eth0, through 192.0.2.1 and its own network: one cut cable takes both"),
        (
            A,
            B._replace(gateway="192.0.2.1"),
            "both paths go through 192.0.2.1, by eth0 and wlan0: if that is one router, it takes both when it fails",
        ),
        (A._replace(gateway=""), B._replace(gateway=""), ""),
        (A._replace(gateway="fe80::1"), B._replace(gateway="fe80::1"), ""),
        (Way("lo", "", "127.0.0.1"), Way("lo", "", "127.0.0.1"), ""),
    ],
)
def test_two_ways_that_are_one(one, other, says):
    assert same_way(one, other) == says


def test_bound_devices_make_two_ways():
    paths = [way_to(STUDIO[path], bind_device=f"path-{path}") for path in ("a", "b")]
    assert same_way(*paths) == ""
    assert same_way(way_to(STUDIO["a"]), way_to(STUDIO["b"])) == "both paths leave by path-a through 10.77.1.1: one cut takes both"
