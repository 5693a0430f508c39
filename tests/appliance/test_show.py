"""What `pressbox status` says of encryption, FEC, what saved the picture, alarms, faults and events."""

from __future__ import annotations

import json

import pytest

from appliance import account
from appliance.show import status_json, status_lines, url_lines
from appliance.verdict import judge
from firmware.model import parse_flow
from firmware.places import Places
from firmware.status import Account, EndStatus, FlowStatus, MergeStatus

from .boxes import leg, on_air, path, protected, received


def lines(places: Places) -> list[str]:
    return [" ".join(line.split()) for line in status_lines(places)]


def test_each_end_says_how_it_is_encrypted_and_what_fec_did(places: Places) -> None:
    protected(places)
    told = lines(places)
    assert "in path-a rtp-fec connected 5.77 3345588 45 0 0 SRTP, AES-256-GCM; FEC 10x10, 45 repaired" in told
    assert "in path-b rtp-fec connected 5.77 3345588 0 17 0 in the clear; FEC 5x20" in told
    assert "out truck srt-caller connected 5.75 3345990 0 0 0 1.1 AES-256" in told
    assert "out wall rtp-fec connected 6.90 3346000 0 0 0 in the clear; FEC 10x10" in told
    assert "out spare rist connecting 0.00 0 0 0 0 AES-256; nobody answers at 198.51.100.4:5002" in told


def test_what_saved_the_picture(places: Places) -> None:
    protected(places)
    told = lines(places)
    assert "saved: 45 by FEC, 412 by the other path; lost 2 of 3346002" in told
    assert "path-a alone would have lost 32, path-b alone 380, no FEC 47" in told


@pytest.mark.parametrize(
    ("kept", "saved", "without"),
    [
        (Account(carried=9), "nothing had to be", ""),
        (Account(by_retransmission=7, by_fec=1), "7 by sending again, 1 by FEC", ""),
        (Account(by_merge=3, alone={"a": 3, "b": 0}), "3 by the other path", "a alone would have lost 3, b alone 0"),
        (Account(without_fec=4), "nothing had to be", "no FEC would have lost 4"),
    ],
)
def test_an_account_in_words(kept: Account, saved: str, without: str) -> None:
    assert (account.saved(kept), account.would_have_lost(kept)) == (saved, without)


def test_udp_cannot_tell_what_was_lost(places: Places) -> None:
    udp = EndStatus(name="in", protocol="udp", state="connected", rate_bps=1e6, encryption="in the clear")
    received(places, sources=[udp], merge=None, account=Account(carried=9))
    assert not any(line.startswith("saved") for line in lines(places))


def test_faults_of_the_stream_and_the_last_events(places: Places) -> None:
    told = protected(places)
    shown = lines(places)
    assert "stream of outputs: PCR every 29.7 ms at most, right within 34 ns" in shown
    first = shown.index(next(line for line in shown if line.startswith("1.4 ")))
    assert told.outputs[0].health
    last = account.clock(told.outputs[0].health.faults[1].last_at)
    assert shown[first] == f"1.4 3 times, last {last}: packets lost, out of order, or more than twice"
    assert shown[first + 1].startswith("2.3a once, last ")
    assert shown[first + 1].endswith(": more than 40 ms from PCR to PCR")
    assert shown[-1] == f"{account.clock(told.events[-1].at)} path-b: event 6"
    assert sum("path-b: event" in line for line in shown) == 5


def test_a_stream_without_faults_says_so(places: Places) -> None:
    status = protected(places)
    for end in status.outputs:
        assert end.health
        end.health.faults = []
    protected(places, outputs=status.outputs)
    assert "stream of outputs: PCR every 29.7 ms at most, right within 34 ns; no fault (TR 101 290)" in lines(places)


def test_json_carries_everything(places: Places) -> None:
    protected(places)
    (told,) = json.loads(status_json(places))
    assert told["account"]["alone"] == {"path-a": 32, "path-b": 380}
    assert told["outputs"][1]["encryption"] == "in the clear"
    assert told["outputs"][1]["health"]["faults"][1]["clause"] == "1.4"
    assert (told["sources"][0]["fec_matrix"], told["sources"][0]["fec_repaired"]) == ("10x10", 45)
    assert told["alarms"]
    assert len(told["events"]) == 7


FAILOVER = {"sources": [leg("a"), leg("b")], "account": Account(carried=99, lost=9)}


def test_a_failover_says_which_source_plays(places: Places) -> None:
    received(places, **FAILOVER, merge=MergeStatus(state="failover", message="b plays, 2 switches", playing="b", switches=2))
    assert "failover: b plays, switched twice" in lines(places)
    received(places, **FAILOVER, merge=MergeStatus(state="failover", message="a plays, 0 switches; no second source", playing="a"))
    assert "failover: a plays, never switched; no second source" in lines(places)
    received(places, **FAILOVER, merge=MergeStatus(state="failover", switches=1))
    assert "failover: no source plays" in lines(places)
    assert "saved: nothing had to be; lost 9 of 108" in lines(places)


def verdict(status: FlowStatus) -> tuple[str, tuple[str, ...]]:
    found = judge(status, "ACTIVE", 0.0, 0)
    return found.word, found.reasons


def test_alarms_are_reasons(places: Places) -> None:
    assert verdict(received(places)) == ("LIVE", ())
    assert verdict(received(places, alarms=["both sources come from 192.0.2.7"])) == ("AT RISK", ("both sources come from 192.0.2.7",))
    assert verdict(on_air(places, alarms=["path-a and path-b leave by eth0"])) == ("AT RISK", ("path-a and path-b leave by eth0",))
    told = "path-b: 512 ms behind the other source"
    alone = received(places, merge=MergeStatus(state="one leg", message=told), alarms=[told])
    assert verdict(alone) == ("AT RISK", (told,))


def test_sending_in_the_clear_on_purpose_is_said_and_puts_nothing_at_risk(places: Places) -> None:
    alarm = "wall: goes in the clear to a public address"
    assert verdict(received(places, alarms=[alarm])) == ("LIVE", (alarm,))


def test_no_stream_is_no_news_where_nothing_arrives(places: Places) -> None:
    silent = [leg("a", state="waiting")]
    told = received(places, sources=silent, merge=None, alarms=["the stream: no stream (TR 101 290, 1.1)", "something else"])
    assert verdict(told) == ("NOT ARRIVING", ("a: waiting", "something else"))
    assert verdict(on_air(places, outputs=[path("p", "", state="connecting")], alarms=["the stream: x"]))[1] == ("p: connecting",)


def test_the_ends_of_a_flow_as_urls() -> None:
    flow = parse_flow(
        {
            "name": "studio",
            "sources": [{"protocol": "rtp-fec", "name": "a", "port": 5004, "secret": "show"}],
            "outputs": [
                {"protocol": "rtp-fec", "name": "wall", "host": "192.0.2.7", "port": 5004, "columns": 5, "row_fec": False},
                {"protocol": "rist", "name": "spare", "host": "h", "port": 5000, "secret": "s", "second_port": 5002, "enabled": False},
            ],
        }
    )
    told = [" ".join(line.split()) for line in url_lines(flow)]
    assert told == [
        "in a srtp://127.0.0.1:5004?key=secret:show&fec=on",
        "out wall rtp://192.0.2.7:5004?fec=5x10,columns&ttl=16",
        "out spare rist://h:5000?buffer=200&secret=secret:s&aes-type=256&second=5002 (disabled)",
    ]
