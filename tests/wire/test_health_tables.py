"""PAT, PMT, CAT and what they promise: TR 101 290, 1.3, 1.5, 1.6, 2.2 and 2.6."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.wire import psi, ts

from ..lab.analyse import crc32
from .films import AUDIO, MS, PMT, VIDEO, Film, at_of, changed, counts, datagrams_of, faults_of, packets_of, pat, pmt, section, watch

# 1.3 PAT


def test_a_pat_that_stays_away() -> None:
    film = Film(4)
    film.pat = None
    assert faults_of(film.packets()) == {"pat": 7}, "one for each half second without it, but for the last"


@pytest.mark.parametrize(("every_ms", "expected"), [(500, {}), (560, {"pat": 7})])
def test_a_pat_about_every_half_second(every_ms: float, expected: dict[str, int]) -> None:
    film = Film(4)
    film.tables_ms = every_ms
    assert faults_of(film.packets()) == expected


def test_another_table_where_the_pat_should_be(clean: list[bytes]) -> None:
    at = at_of(clean, 0)
    other = bytearray(packets_of(0, section(0x42, 1, b"\0" * 8))[0])
    other[3] = clean[at][3]
    assert faults_of([*clean[:at], bytes(other), *clean[at + 1 :]]) == {"pat": 1}


def test_a_scrambled_pat(clean: list[bytes]) -> None:
    film = Film(4)
    packets = film.packets()
    assert faults_of(changed(packets, at_of(packets, 0), b3=0x80)) == {"pat": 1}


# 1.5 PMT, 1.6 PID


def test_a_pmt_that_stays_away() -> None:
    film = Film(4)
    film.pmt = None
    assert faults_of(film.packets()) == {"pmt": 7}


@pytest.mark.parametrize(("every_ms", "expected"), [(500, {}), (560, {"pmt": 7})])
def test_a_pmt_about_every_half_second(every_ms: float, expected: dict[str, int]) -> None:
    film = Film(4)
    film.pmt_ms = every_ms
    assert faults_of(film.packets()) == expected


def test_a_scrambled_pmt() -> None:
    packets = Film(4).packets()
    assert faults_of(changed(packets, at_of(packets, PMT), b3=0x80)) == {"pmt": 1}


def test_one_programme_of_two_without_its_pmt() -> None:
    film = Film(4)
    film.pat = pat({1: PMT, 2: 0x200})
    assert faults_of(film.packets()) == {"pmt": 7}


def test_a_pmt_over_several_packets() -> None:
    film = Film(4)
    film.pmt = pmt(1, VIDEO, {VIDEO: 0x1B, AUDIO: 0x0F, **{0x200 + n: 0x06 for n in range(120)}}, b"\x05\x04HDMV")
    assert len(packets_of(PMT, film.pmt)) == 4
    health = watch(datagrams_of(film.packets()))
    assert counts(health) == {}
    assert health.pids[AUDIO] == "AAC audio"
    film.pmt = film.pmt[:600] + bytes((film.pmt[600] ^ 1,)) + film.pmt[601:]
    assert faults_of(film.packets()) == {"crc": 40, "pmt": 7}


def test_a_sound_that_the_pmt_promises_and_that_never_comes() -> None:
    film = Film(11)
    del film.unit_ms[AUDIO]
    assert faults_of(film.packets()) == {"pid": 2}


def test_a_sound_of_sixteen_packets_a_unit_is_there() -> None:
    """Its counter is the same whenever it is looked at."""
    film = Film(8)
    film.packets_of_unit = 16
    film.unit_ms = {VIDEO: 40.0, AUDIO: 350.0}
    assert faults_of(film.packets()) == {}


def test_subtitles_may_stay_away() -> None:
    film = Film(6)
    film.pmt = pmt(1, VIDEO, {VIDEO: 0x1B, AUDIO: 0x0F, 0x103: 0x06})
    assert faults_of(film.packets()) == {}


def test_a_new_pmt_version_moves_the_sound() -> None:
    before, after = Film(3), Film(12, first_27m=3 * ts.PCR_HZ)
    before.pmt = pmt(1, VIDEO, {VIDEO: 0x1B, AUDIO: 0x0F})
    after.pmt = pmt(1, VIDEO, {VIDEO: 0x1B, 0x105: 0x04}, version=1)
    after.unit_ms = {VIDEO: 40.0, 0x105: 40.0}
    health = watch(datagrams_of(before.packets()))
    health.restart(3_000 * MS)
    watch(datagrams_of(after.packets()), health, from_ns=3_000 * MS)
    assert counts(health) == {}
    assert health.pids == {0: "PAT", PMT: "PMT", VIDEO: "H.264 video", 0x105: "MPEG-2 audio"}


@pytest.mark.parametrize("pid", [0, PMT])
def test_a_table_with_a_wrong_checksum(clean: list[bytes], pid: int) -> None:
    at = at_of(clean, pid)
    packet = clean[at][:16] + bytes((clean[at][16] ^ 1,)) + clean[at][17:]
    assert faults_of([*clean[:at], packet, *clean[at + 1 :]]) == {"crc": 1}


@given(st.binary(min_size=8, max_size=200))
def test_the_checksum_is_the_one_of_annex_a(body: bytes) -> None:
    whole = body + crc32(body).to_bytes(4, "big")
    assert psi.crc_is_right(whole)
    assert not psi.crc_is_right(whole[:-1] + bytes((whole[-1] ^ 1,)))


# 2.6 CAT


def scrambled(packets: list[bytes]) -> list[bytes]:
    return [
        packet[:3] + bytes((packet[3] | 0x80,)) + packet[4:] if ts.pid_of(packet, 0) == AUDIO and packet[3] & 0x10 else packet
        for packet in packets
    ]


def test_scrambled_packets_without_a_cat(clean: list[bytes]) -> None:
    assert set(faults_of(scrambled(clean))) == {"cat"}


def test_scrambled_packets_with_a_cat(clean: list[bytes]) -> None:
    film, counter = scrambled(clean), 0
    stuffing = [at for at, packet in enumerate(film) if packet == ts.NULL_PACKET]
    for at in [b for a, b in pairwise(stuffing) if a // 1_000 < b // 1_000]:
        cat = bytearray(packets_of(1, section(1, 0xFFFF, b"\x09\x04\x0b\x00\xe1\xf0"))[0])
        cat[3] |= counter
        counter = counter + 1 & 15
        film[at] = bytes(cat)
    assert counter > 4
    assert faults_of(film) == {}


def test_another_table_where_the_cat_should_be(clean: list[bytes]) -> None:
    at = at_of(clean, ts.NULL_PID)
    assert faults_of([*clean[:at], packets_of(1, section(0x42, 1, b"\0" * 8))[0], *clean[at + 1 :]]) == {"cat": 1}
