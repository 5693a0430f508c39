"""A venue's network goes wrong for real, in the kernel: cables, leases, loss and black holes. The picture does not notice."""

from __future__ import annotations

import pytest

from tests.lab import networks
from tests.lab.analyse import analyse
from tests.lab.networks import Networks

from .apart import Apart

FEED_BPS = 4e6
A_SECOND = 380  # datagrams


@pytest.fixture(scope="module")
def network():
    why = networks.missing()
    if why:
        pytest.skip(why)
    with Networks() as opened:
        yield opened


@pytest.fixture
def apart(places, network):
    with Apart(places, network, feed_bps=FEED_BPS) as lab:
        lab.wait(lambda: lab.merged() and lab.carries("a") and lab.carries("b"), what="both paths merged")
        yield lab


def check_that_nothing_was_lost(apart: Apart) -> None:
    apart.flows_on(200)
    report = analyse(b"".join(apart.got.datagrams))
    difference = apart.difference()
    assert not difference
    assert difference.compared > 500
    assert (report.continuity_errors, report.transport_errors, report.sync_errors) == (0, 0, 0)


def test_loss_on_both_paths(apart, network):
    for path in ("a", "b"):
        network.loss(path, 0.05)
    apart.flows_on(900)
    assert network.swallowed() > 100
    check_that_nothing_was_lost(apart)


def test_a_cable_is_out_for_three_seconds(apart, network):
    network.link("a", up=False)
    before = apart.harm("b")
    apart.flows_on(3 * A_SECOND)
    assert not apart.carries("a")
    network.link("a", up=True)
    apart.wait(lambda: apart.carries("a"), what="path A carries the stream again")
    apart.wait(apart.merged, what="both paths merged again")
    check_that_nothing_was_lost(apart)
    assert apart.harm("b") == before


def test_another_lease(apart, network):
    before = apart.harm("b")
    network.move_address("a")
    new = network.address["a"] + ":"
    apart.wait(lambda: apart.source("a").peer.startswith(new) and apart.carries("a"), what="path A carries the stream from the new address")
    apart.wait(apart.merged, what="both paths merged again")
    check_that_nothing_was_lost(apart)
    assert apart.harm("b") == before


def test_a_black_hole_leaves_the_other_path_alone(apart, network):
    before = apart.harm("b")
    network.black_hole("a", "out", "back")
    apart.flows_on(3 * A_SECOND)
    assert not apart.carries("a")
    assert network.swallowed() > 0
    assert apart.harm("b") == before
    network.black_hole("a")
    apart.wait(apart.merged, what="both paths merged again")
    check_that_nothing_was_lost(apart)
    assert apart.harm("b") == before


def test_nine_of_ten_lost_leaves_the_other_path_alone(apart, network):
    before = apart.harm("b")
    network.loss("a", 0.9)
    apart.flows_on(3 * A_SECOND)
    assert network.swallowed() > 100
    check_that_nothing_was_lost(apart)
    assert apart.harm("b") == before
