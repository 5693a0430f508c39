"""What the page says of encryption, FEC, what saved the picture, alarms, faults and events."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from appliance import words
from appliance.web import create_app
from firmware.model import parse_flow
from firmware.places import Places
from firmware.status import Account, EndStatus, HealthStatus, MergeStatus
from firmware.store import Store

from .boxes import fec_leg, leg, protected, received, seen


def told(client: FlaskClient) -> dict[str, object]:
    found: dict[str, object] = client.get("/status.json").get_json()["flows"][0]
    return found


def test_each_end_says_how_it_is_encrypted(client: FlaskClient, places: Places) -> None:
    protected(places)
    text = seen(client)
    assert "path-a connected RTP + FEC 10×10 · SRTP, AES-256-GCM · 203.0.113.77:41200" in text
    assert "path-b connected RTP + FEC 5×20 · in the clear · 203.0.113.77:41200" in text
    assert "truck connected SRT caller · AES-256 · 192.0.2.44:5000" in text
    assert "spare connecting RIST · AES-256 · 198.51.100.4:5002, 198.51.100.5:5002 · nobody answers" in text
    assert "<b>in the clear</b>" in client.get("/live").text


@pytest.mark.parametrize(
    ("encryption", "peer", "loud"),
    [
        ("in the clear", "203.0.113.9:5004", True),
        ("in the clear", "", True),
        ("in the clear", "127.0.0.1:5004", False),
        ("in the clear", "[::1]:5004", False),
        ("SRT, AES-256", "203.0.113.9:5004", False),
        ("", "pattern", False),
    ],
)
def test_in_the_clear_is_loud_where_others_can_see_it(encryption: str, peer: str, loud: bool) -> None:
    assert words.exposed(EndStatus(name="a", protocol="udp", state="connected", peer=peer, encryption=encryption)) is loud


def test_what_saved_the_picture(client: FlaskClient, places: Places) -> None:
    protected(places)
    text = seen(client)
    assert "Received 3 345 588 Repaired 45 Lost 0" in text
    assert "what saved it path-a alone would have lost 32, path-b alone 380, no FEC 47" in text
    assert "Carried 3 346 000 Sent again 0 By FEC 45 Other path 412 Lost 2" in text


def test_udp_alone_has_no_account(client: FlaskClient, places: Places) -> None:
    received(places, sources=[EndStatus(name="in", protocol="udp", state="connected")], merge=None, account=Account(carried=9))
    assert "what saved it" not in seen(client)


def test_a_loss_of_a_lone_source_keeps_the_flow_at_risk(client: FlaskClient, places: Places, wait_for: Callable[..., bool]) -> None:
    """What FEC brought back is no loss."""
    lone = {"sources": [fec_leg("a")], "merge": None}
    received(places, **lone, account=Account(carried=90))
    assert told(client)["word"] == "LIVE"
    received(places, sources=[fec_leg("a", lost=5, fec_repaired=5)], merge=None, account=Account(carried=95, by_fec=5, without_fec=5))
    wait_for(lambda: "no FEC would have lost 5" in seen(client), 3, "the repair")
    assert told(client)["word"] == "LIVE"
    received(places, **lone, account=Account(carried=95, lost=2))
    wait_for(lambda: told(client)["word"] != "LIVE", 3, "the loss")
    assert told(client)["reasons"] == ["2 packets lost within the last 10 s"]


def test_alarms_stand_at_the_top(client: FlaskClient, places: Places) -> None:
    protected(places)
    assert told(client)["word"] == "AT RISK"
    assert "truck and wall leave by eth0: a cut there takes both" in str(told(client)["reasons"])
    assert re.search(r"AT RISK hall .* truck and wall leave by eth0: a cut there takes both .* Sources", seen(client))


def test_faults_and_events(client: FlaskClient, places: Places) -> None:
    protected(places)
    text = seen(client)
    assert "Stream: 2 kinds of fault (TR 101 290)" in text
    assert re.search(r"outputs PCR every 29\.7 ms at most, right within 34 ns 1\.4 3 times, last [^:]*\d\d:\d\d:\d\d: packets lost", text)
    assert re.search(r"Last event [^:]*\d\d:\d\d:\d\d: path-b: event 6 .* path-b: event 6 .* path-b: event 0", text)
    received(places, name="hall", sources=[leg("a", health=HealthStatus(pcr_interval_ms=30.0))], merge=None, outputs=[])
    create = create_app(places).test_client()
    assert "Stream: no fault (TR 101 290) a PCR every 30.0 ms at most; no fault" in seen(create)


def test_a_failover_says_which_source_plays(client: FlaskClient, places: Places) -> None:
    sources = [leg("a"), leg("b", state="waiting")]
    merge = MergeStatus(state="failover", playing="a", switches=2, released=9, message="a plays, 2 switches; no second source")
    received(places, sources=sources, merge=merge)
    assert "recovered failover a plays, switched twice; no second source Plays a Released 9 Switches 2 Heard 1 of 2 Lost 0" in seen(client)


def test_outputs_that_are_switched_off_are_still_named(client: FlaskClient, places: Places) -> None:
    source = {"protocol": "rist", "name": "in", "port": 5000, "clear": True}
    foyer = {"protocol": "srt-listener", "name": "foyer", "port": 7000, "clear": True, "enabled": False}
    Store(places.store).create(parse_flow({"name": "studio", "sources": [source], "outputs": [foyer]}), "ACTIVE")
    received(places)
    assert "foyer is switched off" in seen(client)


@pytest.mark.parametrize(
    ("wall", "playable"),
    [
        ({"protocol": "rtp-fec", "host": "127.0.0.1"}, True),
        ({"protocol": "rtp", "host": "127.0.0.1", "secret": "show"}, False),
        ({"protocol": "rist", "host": "127.0.0.1", "clear": True}, False),
    ],
)
def test_only_what_a_player_can_take_has_lines_to_play_it(
    client: FlaskClient, places: Places, wall: dict[str, object], playable: bool
) -> None:
    source = {"protocol": "udp", "name": "in", "port": 5000}
    flow = {"name": "studio", "sources": [source], "outputs": [{"name": "wall", "port": 5004, **wall}]}
    Store(places.store).create(parse_flow(flow), "ACTIVE")
    received(places)
    assert ("ffplay -fflags" in seen(client)) is playable
