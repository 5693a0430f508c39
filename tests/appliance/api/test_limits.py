"""What is remembered of requests, within its bounds."""

from __future__ import annotations

import hashlib

import pytest

from appliance.api.refusals import Refusals, network_of
from appliance.api.replays import CAPACITY, KEPT_S, Overfull, Replays


def test_addresses_are_bounded_and_an_ipv6_host_is_one():
    refusals = Refusals(addresses=100)
    for number in range(1000):
        refusals.tell(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(refusals) == 100
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")
    assert network_of("fe80::1%eth0") == network_of("fe80::1")
    assert network_of("") == network_of("@") == ""


def test_a_clock_set_back_gives_no_more_refusals():
    refusals = Refusals(burst=2)
    assert [refusals.tell("a", now_s) for now_s in (1000, 1000, 10, 10)] == [0, 0, None, None]


def sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def test_replays_outlive_a_restart_in_a_file_of_their_owner(tmp_path):
    kept = tmp_path / "signatures"
    replays = Replays(kept)
    assert replays.take(sha(1), 1000, 1001.5) is None
    assert kept.stat().st_mode & 0o077 == 0
    with kept.open("a") as file:
        file.write("1000 1001.5 abc")
    assert Replays(kept).take(sha(1), 1000, 1002) == 1001.5
    assert Replays(kept).take(sha(2), 1000, 1002) is None
    assert Replays(kept).take(sha(2), 1000, 1003) == 1002


def test_replays_without_a_folder_still_work(tmp_path):
    replays = Replays(tmp_path / "gone" / "signatures")
    assert [replays.take(sha(1), 1000, now_s) for now_s in (1000, 1001)] == [None, 1000]


def test_replays_are_bounded_and_what_cannot_be_told_apart_is_refused(tmp_path):
    replays = Replays(tmp_path / "signatures", capacity=50)
    for number in range(200):
        assert replays.take(sha(number), 1000 + number, 1000 + number) is None
    assert len(replays) == 50
    assert len((tmp_path / "signatures").read_text().splitlines()) <= 100
    assert replays.take(sha(199), 1199, 1200) == 1199
    with pytest.raises(Overfull):
        replays.take(sha(3), 1003, 1200)


def test_replays_forget_what_has_expired():
    replays = Replays()
    for number in range(1, 500):
        replays.take(sha(number), number, number)
    assert replays.take(sha(500), 500 + KEPT_S, 500 + KEPT_S) is None
    assert len(replays) == 1
    assert CAPACITY >= 10_000


def test_a_clock_set_back_locks_nobody_out():
    replays = Replays(capacity=2)
    for number in range(4):
        replays.take(sha(number), 4_000_000_000 + number, 4_000_000_000)
    assert replays.take(sha(9), 1_800_000_000, 1_800_000_000) is None
