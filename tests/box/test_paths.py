"""Paths are cut, lossy and late, and nothing happens to the picture: what leaves the studio is what left the box, byte for byte."""

from __future__ import annotations

import random

import pytest

from tests.lab.analyse import analyse

from .lab import Lab

FEED_BPS = 4e6
PATIENT = {"window_ms": 2000, "latency_ms": 800}  # a machine that is busy may stand still for half a second


@pytest.mark.parametrize("protocol", ["srt", "rtp"])
def test_either_path_may_be_cut_again_and_again(places, udp_port, protocol):
    chance = random.Random(5)
    with Lab(places, udp_port, protocol=protocol, feed_bps=FEED_BPS, **PATIENT) as lab:
        lab.wait(lab.merged, what="both paths merged")
        for turn in range(4):
            relay = lab.relays[turn % 2]
            lab.flows_on(chance.randrange(50, 300))
            relay.say("cut")
            lab.flows_on(chance.randrange(300, 700))
            relay.say("restore")
            lab.wait_for_path("ab"[turn % 2])
        lab.flows_on(600)
        assert lab.merged()
        assert not lab.difference()
        assert lab.difference().compared > 2000


def test_a_very_lossy_path_costs_nothing(places, udp_port):
    with Lab(places, udp_port, feed_bps=FEED_BPS, **PATIENT) as lab:
        lab.wait(lab.merged, what="both paths merged")
        lab.relays[0].say("loss 0.2")
        lab.flows_on(2000)
        lab.relays[0].say("loss 0")
        lab.flows_on(300)
        assert not lab.difference()
        assert lab.relays[0].counts()[1] > 200


@pytest.mark.parametrize("skew_ms", [50, 450])
def test_an_rtp_pair_with_skew_and_loss_loses_what_both_lost(places, udp_port, skew_ms):
    with Lab(places, udp_port, protocol="rtp", feed_bps=FEED_BPS, delays_ms=(0, skew_ms), **PATIENT) as lab:
        lab.wait(lab.merged, what="both paths merged")
        lab.relays[0].say("loss 0.2")
        lab.flows_on(1500)
        lab.relays[0].say("loss 0")
        lab.flows_on(600)
        assert not lab.difference()
        studio = lab.status("studio")
        assert studio
        assert studio.merge
        assert studio.merge.skew_ms == pytest.approx(skew_ms, abs=40)


def test_a_pair_with_fec_mends_each_path_before_the_merge(places, udp_port):
    """5 % are lost on either path, each by draws of its own: FEC leaves a thousandth, and the other path has that."""
    with Lab(places, udp_port, protocol="rtp-fec", feed_bps=FEED_BPS, **PATIENT) as lab:
        lab.wait(lab.merged, what="both paths merged")
        for seed, relay in enumerate(lab.relays, 1):
            relay.say(f"seed {seed}")
            relay.say("loss 0.05")
        lab.flows_on(2500)
        for relay in lab.relays:
            relay.say("loss 0")
        lab.flows_on(600)
        assert not lab.difference()
        studio = lab.status("studio")
        assert studio
        assert studio.account
        assert studio.account.by_fec > 150
        assert studio.account.without_fec > 0
        assert not [alarm for alarm in studio.alarms if "FEC" in alarm]
        assert all(end.fec_matrix == "10x10" for end in studio.sources)


def test_the_stream_obeys_tr_101_290(places, udp_port):
    with Lab(places, udp_port, camera={"width": 1280, "height": 720, "video_bps": 4_000_000}) as lab:
        lab.wait(lab.merged, what="both paths merged")
        lab.flows_on(4000)
        report = analyse(b"".join(lab.got.datagrams))
    assert report.priority_1 == 0
    assert report.transport_errors == report.crc_errors == report.pcr_jumps == report.pts_before_pcr == report.duplicates == 0
    assert report.pcr_gap_ms <= 35
    assert report.pcr_error_ns <= 500
    assert report.pts_gap_ms <= 700
