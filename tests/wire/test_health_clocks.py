"""PCR and PTS, TR 101 290, 2.3 to 2.5: one stream for each fault, and those that only look like one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.wire import ts
from firmware.wire.pcr import PcrLine

from .films import AUDIO, PACKET_27M, PMT, VIDEO, Film, at_of, changed, counts, datagrams_of, faults_of, watch


@pytest.mark.parametrize(("every_ms", "expected"), [(39.5, {}), (50, {"pcr_repetition": 79})])
def test_pcr_too_seldom(every_ms: float, expected: dict[str, int]) -> None:
    film = Film(4)
    film.pcr_ms = every_ms
    packets = film.packets()
    first_pmt, pcrs = at_of(packets, PMT, 0), [at for at, packet in enumerate(packets) if ts.pcr_of(packet, 0) is not None]
    assert faults_of(packets) == ({"pcr_repetition": sum(at > first_pmt for at in pcrs) - 1} if expected else {})


def test_pcr_that_stay_away() -> None:
    packets = Film(4).packets()
    silent = range(1_000, 7_000)
    away = [ts.NULL_PACKET if at in silent and packet[3] & 0x30 == 0x20 else packet for at, packet in enumerate(packets)]
    assert faults_of(away) == {"pcr_repetition": 5, "pcr_discontinuity": 1}, "2.3 s: by arrival every half second, and by value"


def test_a_pcr_that_jumps() -> None:
    film = Film(4)
    film.pcr_of = lambda place: round(place * PACKET_27M) + (ts.PCR_HZ if place > 5_000 else 0)
    assert faults_of(film.packets()) == {"pcr_discontinuity": 1}
    film.pcr_of = lambda place: round(place * PACKET_27M) - (ts.PCR_HZ if place > 5_000 else 0)
    assert faults_of(film.packets()) == {"pcr_discontinuity": 1}


def test_an_announced_jump_of_pcr_is_none() -> None:
    film = Film(4)
    film.pcr_of = lambda place: round(place * PACKET_27M) + (ts.PCR_HZ if place > 5_000 else 0)
    packets = film.packets()
    at = next(at for at in range(5_001, len(packets)) if ts.pcr_of(packets[at], 0) is not None)
    assert faults_of(changed(packets, at, b5=0x80)) == {}


def test_a_pcr_off_its_place() -> None:
    for off in (14, -14, 200, -200, 20_000, -20_000):
        film = Film(4)
        film.pcr_of = lambda place, off=off: round(place * PACKET_27M) + (off if 4_020 <= place < 4_095 else 0)
        packets = film.packets()
        assert sum(ts.pcr_of(packets[at], 0) is not None for at in range(4_020, 4_095)) == 1
        assert faults_of(packets) == {"pcr_accuracy": 1}, off


def test_a_pcr_within_its_limit() -> None:
    film = Film(4)
    chance = random.Random(3)
    film.pcr_of = lambda place: round(place * PACKET_27M) + chance.randrange(-5, 6)
    health = watch(datagrams_of(film.packets()))
    assert counts(health) == {}
    assert health.pcr_accuracy_ns_max is not None
    assert 150 < health.pcr_accuracy_ns_max < 500


def test_accuracy_is_not_judged_at_a_variable_rate(clean: list[bytes]) -> None:
    health = watch(datagrams_of(packet for packet in clean if packet != ts.NULL_PACKET))
    assert counts(health) == {}
    assert health.constant_rate is False
    assert health.pcr_accuracy_ns_max is None


def test_accuracy_is_not_judged_without_stuffing() -> None:
    """A still picture: as even as a constant rate, and a clock that is rounded to 90 kHz."""
    line = PcrLine()
    found = [line.push(at * 3, round(at * 90_000 * 1001 / 24_000) * 300, 0) for at in range(200)]
    assert None in found
    assert not any(found)


def test_stuffing_lost_twice_running_is_no_error_of_the_clock() -> None:
    line, gone, found = PcrLine(), 0, []
    for at in range(67):
        gone += 7 if at in (20, 21, 50, 51, 52) else 0
        found += line.push(at * 80 - gone, round(at * 80 * PACKET_27M), at * 10) or []
    assert len(found) == 64
    assert max(map(abs, found)) < PcrLine.LIMIT


def test_lost_stuffing_is_no_error_of_the_clock(clean: list[bytes]) -> None:
    stuffing = [at for at, packet in enumerate(clean) if packet == ts.NULL_PACKET]
    gone = {at for start in stuffing[400::700] for at in stuffing[stuffing.index(start) :][:7]}
    assert len(gone) >= 28
    health = watch(datagrams_of(packet for at, packet in enumerate(clean) if at not in gone))
    assert counts(health) == {}
    assert health.constant_rate is True


@settings(deadline=None)
@given(
    errors=st.lists(st.integers(-10, 10), min_size=34, max_size=34),
    wrong=st.dictionaries(st.integers(1, 32), st.sampled_from([-50_000, -3_000, -100, 100, 3_000, 50_000]), max_size=3),
)
def test_the_line_finds_every_wrong_pcr_among_right_ones(errors: list[int], wrong: dict[int, int]) -> None:
    wrong = {at: off for at, off in wrong.items() if at - 1 not in wrong and at - 2 not in wrong}
    line = PcrLine()
    found: list[float] | None = []
    for at, error in enumerate(errors):
        found = line.push(at * 80, round(at * 80 * PACKET_27M) + error // 3 + wrong.get(at, 0), at * 10)
    assert found is not None
    assert [at for at, off in enumerate(found, 1) if abs(off) > PcrLine.LIMIT] == sorted(wrong)


@pytest.mark.parametrize(("every_ms", "expected"), [(690, {}), (710, {"pts": 4})])
def test_pts_too_seldom(every_ms: float, expected: dict[str, int]) -> None:
    film = Film(4)
    film.unit_ms = {VIDEO: 40.0, AUDIO: every_ms}
    assert faults_of(film.packets()) == expected


def test_pts_of_pictures_in_the_order_of_decoding(clean: list[bytes]) -> None:
    starts = [at for at, packet in enumerate(clean) if ts.pid_of(packet, 0) == VIDEO and packet[1] & 0x40]
    film = list(clean)
    for a, b in zip(starts[::2], starts[1::2], strict=False):
        first, second = bytearray(clean[a]), bytearray(clean[b])
        first[13:18], second[13:18] = second[13:18], first[13:18]
        film[a], film[b] = bytes(first), bytes(second)
    assert faults_of(film) == {}


def test_pts_far_ahead_of_their_dts() -> None:
    """Ten pictures a second, the first of nine sent is shown last."""
    starts = [*range(0, 4_000, 100)]
    order = [at + 800 if at % 900 == 0 else at - 100 for at in starts]
    film, shown = Film(4), dict(zip(starts, order, strict=True))
    film.unit_ms = {VIDEO: 100.0, AUDIO: 40.0}
    packets = film.packets()
    video = [at for at, packet in enumerate(packets) if ts.pid_of(packet, 0) == VIDEO and packet[1] & 0x40]
    for at, start in zip(video, shown, strict=False):
        packet = bytearray(packets[at])
        dts = ts.read_timestamp(packet, 13)
        packet[11:23] = bytes((0xC0, 10, *packet[13:18], *packet[13:18]))
        ts.write_timestamp(packet, 13, dts + (shown[start] - start + 200) * 90)
        packets[at] = bytes(packet)
    assert faults_of(packets) == {}


def test_a_pcr_that_stays_away_is_told_from_one_that_jumps() -> None:
    film = Film(4)
    film.pcr_ms = 200
    health = watch(datagrams_of(film.packets()))
    assert counts(health) == {"pcr_discontinuity": 18, "pcr_repetition": 18}
    assert 199 < health.pcr_interval_ms_max < 202
