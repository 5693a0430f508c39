"""Sync, continuity and the whole: one stream for each fault of TR 101 290 that has that fault and no other, and one that has none."""

from __future__ import annotations

import pytest

from firmware.wire import ts
from firmware.wire.checks import CHECKS
from firmware.wire.health import Health

from .films import AUDIO, MS, PACKET_27M, PMT, RATE_BPS, VIDEO, Film, at_of, changed, counts, datagrams_of, faults_of, pat, pmt, watch


def test_a_clean_stream_has_no_fault(clean: list[bytes]) -> None:
    health = watch(datagrams_of(clean))
    assert health.faults() == {}
    assert abs(health.rate_bps - RATE_BPS) <= 7 * 188 * 8
    assert 30 <= health.pcr_interval_ms_max < 31
    assert health.constant_rate is True
    assert health.pcr_accuracy_ns_max is not None
    assert health.pcr_accuracy_ns_max < 40, "they are whole ticks of 37 ns"
    assert health.pids == {0: "PAT", PMT: "PMT", VIDEO: "H.264 video", AUDIO: "AAC audio"}


def test_pcr_and_pts_wrap_without_a_fault() -> None:
    assert faults_of(Film(4, first_27m=ts.PCR_MODULUS - 2 * ts.PCR_HZ).packets()) == {}
    assert faults_of(Film(4, first_27m=ts.PCR_MODULUS - 3 * ts.PCR_HZ).packets()) == {}


@pytest.mark.parametrize("packets", [1, 3, 6, 8, 21])
def test_datagrams_of_other_sizes_are_read_alike(clean: list[bytes], packets: int) -> None:
    data = b"".join(clean)
    size = packets * ts.PACKET
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    health = Health()
    for n, datagram in enumerate(cut):
        health.push([datagram], n * size * 8_000_000_000 // RATE_BPS)
        health.tick(n * size * 8_000_000_000 // RATE_BPS)
    assert counts(health) == {}
    assert health.constant_rate is True


# 1.1 and 1.2


def test_a_lone_wrong_sync_byte(clean: list[bytes]) -> None:
    assert faults_of(changed(clean, at_of(clean, ts.NULL_PID), b0=0xFF)) == {"sync_byte": 1}


def test_two_wrong_sync_bytes_running_lose_sync_and_five_right_ones_find_it(clean: list[bytes]) -> None:
    at = at_of(clean, VIDEO, plain=True)
    health = watch(datagrams_of([*clean[:at], bytes(188), bytes(188), *clean[at + 2 :]]))
    assert counts(health) == {"sync_byte": 2, "sync_loss": 1}


def test_bytes_that_are_no_packets(clean: list[bytes]) -> None:
    datagrams = datagrams_of(clean)
    assert counts(watch([*datagrams[:200], b"", *datagrams[200:]])) == {"sync_byte": 1}
    assert counts(watch([*datagrams[:200], b"GET / HTTP/1.1", b"\x47" * 189, *datagrams[200:]])) == {"sync_byte": 2, "sync_loss": 1}


def test_silence_counts_once_and_says_how_long(clean: list[bytes]) -> None:
    health = watch(datagrams_of(clean))
    assert counts(health) == {}
    for ms in range(4_100, 64_000, 100):
        health.tick(ms * MS)
    assert counts(health) == {"sync_loss": 1}
    fault = health.faults()["sync_loss"]
    assert fault.first_ns is not None
    assert 4_450 * MS < fault.first_ns < 4_700 * MS
    assert fault.last_ns == 63_900 * MS
    assert health.rate_bps == 0


def test_a_network_that_halts_for_less_is_no_missing_table(clean: list[bytes]) -> None:
    datagrams = datagrams_of(clean)
    health = watch(datagrams[:400])
    watch(datagrams[400:], health, from_ns=400 * ts.DATAGRAM * 8_000_000_000 // RATE_BPS + 450 * MS)
    assert counts(health) == {}


def test_nothing_is_counted_before_the_first_packet() -> None:
    health = Health()
    for ms in range(0, 10_000, 100):
        health.tick(ms * MS)
    assert health.faults() == {}


# 1.4 continuity


def test_a_lost_packet(clean: list[bytes]) -> None:
    at = at_of(clean, VIDEO, plain=True)
    assert faults_of([*clean[:at], ts.NULL_PACKET, *clean[at + 1 :]]) == {"continuity_count": 1}


def test_fifteen_lost_packets_make_no_duplicate(clean: list[bytes]) -> None:
    """The next one has the counter of the last, as a duplicate has, but not its bytes."""
    video = [at for at, packet in enumerate(clean) if ts.pid_of(packet, 0) == VIDEO]
    gone = next(
        run for n in range(50, len(video)) if all(clean[at][3] & 0x10 for at in video[n : n + 17]) and (run := video[n + 1 : n + 16])
    )
    assert faults_of(ts.NULL_PACKET if at in gone else packet for at, packet in enumerate(clean)) == {"continuity_count": 1}


def test_swapped_packets(clean: list[bytes]) -> None:
    at = next(
        n
        for n in range(300, len(clean))
        if all(ts.pid_of(p, 0) == VIDEO and p[3] & 0x30 == 0x10 and not p[1] & 0x40 for p in clean[n : n + 2])
    )
    assert faults_of([*clean[:at], clean[at + 1], clean[at], *clean[at + 2 :]]) == {"continuity_count": 3}


def test_a_packet_may_come_twice_not_three_times(clean: list[bytes]) -> None:
    at = at_of(clean, VIDEO, plain=True)
    assert clean.count(ts.NULL_PACKET) > 4
    assert faults_of([*clean[:at], clean[at], *clean[at:]]) == {}
    assert faults_of([*clean[:at], clean[at], ts.NULL_PACKET, *clean[at:]]) == {}
    assert faults_of([*clean[:at], clean[at], clean[at], *clean[at:]]) == {"continuity_count": 1}


def test_a_datagram_that_came_twice(clean: list[bytes]) -> None:
    """Its packets are not next to their seconds: a decoder sees the counter go back, once for each PID with more than one."""
    datagrams = datagrams_of(clean)

    def most(at: int) -> int:
        return max(len([p for p in ts.packets(datagrams[at]) if ts.pid_of(p, 0) == pid and p[3] & 0x10]) for pid in (VIDEO, AUDIO, PMT, 0))

    alone, several = (next(at for at in range(100, len(datagrams)) if (most(at) > 1) is more) for more in (False, True))
    assert counts(watch([*datagrams[: alone + 1], *datagrams[alone:]])) == {}
    assert counts(watch([*datagrams[: several + 1], *datagrams[several:]])).keys() == {"continuity_count"}


def test_a_duplicate_may_have_another_pcr(clean: list[bytes]) -> None:
    packet = bytearray(clean[at_of(clean, VIDEO, plain=True)])
    packet[3:5] = bytes((packet[3] | 0x20, 7))
    packet[5] = 0x10
    second = bytearray(packet)
    at = next(n for n, p in enumerate(clean) if n > 300 and p[3] & 0x20 == 0 and ts.pid_of(p, 0) == VIDEO and not p[1] & 0x40)
    for n, own in enumerate((packet, second)):
        own[3] = own[3] & 0xF0 | clean[at][3] & 15
        ts.write_pcr(own, 0, round((at + n) * PACKET_27M))
    assert counts(watch(datagrams_of([*clean[:at], bytes(packet), bytes(second), *clean[at + 1 :]]))) == {}


def test_no_counting_without_payload(clean: list[bytes]) -> None:
    at = next(n for n in range(300, len(clean)) if clean[n][3] & 0x30 == 0x20)
    assert faults_of(changed(clean, at, b5=0x80)) == {}, "announced"
    ahead = bytearray(clean[at])
    ahead[3] = ahead[3] & 0xF0 | ahead[3] + 1 & 15
    assert faults_of([*clean[:at], bytes(ahead), *clean[at + 1 :]]) == {"continuity_count": 2}, "to there and back"


def test_an_announced_jump_of_the_counter_is_none() -> None:
    packets = Film(4).packets()
    shifted = []
    announced = False
    for at, packet in enumerate(packets):
        if at > 900 and ts.pid_of(packet, 0) == VIDEO:
            packet = packet[:3] + bytes((packet[3] & 0xF0 | packet[3] + 5 & 15,)) + packet[4:]
            if not announced and packet[3] & 0x20:
                packet = packet[:5] + bytes((packet[5] | 0x80,)) + packet[6:]
                announced = True
            elif not announced:
                packet = packets[at]
        shifted.append(packet)
    assert announced
    assert faults_of(shifted) == {}


# 2.1 and 2.2


def test_a_packet_marked_as_damaged(clean: list[bytes]) -> None:
    assert faults_of(changed(clean, at_of(clean, VIDEO, plain=True), b1=0x80)) == {"transport": 1}
    assert faults_of(changed(clean, at_of(clean, ts.NULL_PID), b1=0x80)) == {"transport": 1}


# several programmes, restarts, strangers


def test_two_programmes_with_their_own_clocks() -> None:
    first, second = Film(4), Film(4, first_27m=77 * ts.PCR_HZ, seed=2)
    first.pat = pat({1: PMT, 2: 0x200})
    second.pat = None
    second.pmt = pmt(2, 0x201, {0x201: 0x24, 0x202: 0x81})

    def moved(packet: bytes) -> bytes:
        pid = ts.pid_of(packet, 0)
        return packet if pid == ts.NULL_PID else bytes((0x47, packet[1] & 0xE0 | pid + 0x100 >> 8, pid + 0x100 & 0xFF)) + packet[3:]

    second.pmt_ms = 90.0
    both = [packet for pair in zip(first.packets(), map(moved, second.packets()), strict=True) for packet in pair]
    health = watch(datagrams_of(both), rate_bps=2 * RATE_BPS)
    assert counts(health) == {}
    assert health.constant_rate is True
    assert health.pids == {
        **{0: "PAT", PMT: "PMT", VIDEO: "H.264 video", AUDIO: "AAC audio"},
        **{0x200: "PMT", 0x201: "HEVC video", 0x202: "AC-3 audio"},
    }
    at = next(n for n in range(900, len(both)) if ts.pid_of(both[n], 0) == 0x201 and ts.pcr_of(both[n], 0) is not None)
    jumped = bytearray(both[at])
    ts.write_pcr(jumped, 0, 5)
    assert counts(watch(datagrams_of([*both[:at], bytes(jumped), *both[at + 1 :]]), rate_bps=2 * RATE_BPS)) == {"pcr_discontinuity": 2}


def test_a_restart_forgets_the_stream_and_keeps_the_counts(clean: list[bytes]) -> None:
    at = at_of(clean, VIDEO, plain=True)
    health = watch(datagrams_of([*clean[:at], ts.NULL_PACKET, *clean[at + 1 :]]))
    health.restart(60_000 * MS)
    watch(datagrams_of(Film(4, first_27m=12345).packets()[701:]), health, from_ns=60_000 * MS)
    assert counts(health) == {"continuity_count": 1}
    watch(datagrams_of(clean[701:]), health, from_ns=64_000 * MS)
    assert {"continuity_count", "pcr_discontinuity"} <= counts(health).keys(), "a new sender that nobody told of"


def test_a_fault_knows_its_first_and_last_time(clean: list[bytes]) -> None:
    datagrams = datagrams_of(clean)
    health = Health()
    health.push(datagrams[:10], 5 * MS)
    health.push([b"?"], 7 * MS)
    health.push(datagrams[10:12], 8 * MS)
    health.push([b"?"], 9 * MS)
    fault = health.faults()["sync_byte"]
    assert (fault.count, fault.first_ns, fault.last_ns) == (2, 7 * MS, 9 * MS)


def test_every_check_has_its_number() -> None:
    assert [check.number for check in CHECKS.values()] == [
        *("1.1", "1.2", "1.3", "1.4", "1.5", "1.6"),
        *("2.1", "2.2", "2.3a", "2.3b", "2.4", "2.5", "2.6"),
    ]
