"""One stream for each fault of TR 101 290 that has that fault and no other, and one that has none."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.wire import psi, ts
from firmware.wire.checks import CHECKS
from firmware.wire.health import Health
from firmware.wire.pcr import PcrLine

from ..lab.analyse import crc32

MS = 1_000_000
RATE_BPS = 4_000_000
PMT, VIDEO, AUDIO = 0x100, 0x101, 0x102
PACKET_27M = ts.PACKET * 8 * ts.PCR_HZ / RATE_BPS


def section(table: int, number: int, body: bytes, *, version: int = 0, part: int = 0) -> bytes:
    length = 5 + len(body) + 4
    head = bytes((table, 0xB0 | length >> 8, length & 0xFF, number >> 8, number & 0xFF, 0xC1 | version << 1, part, part))
    return head + body + crc32(head + body).to_bytes(4, "big")


def pat(programmes: dict[int, int], **more: int) -> bytes:
    return section(0, 1, b"".join(n.to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big") for n, pid in programmes.items()), **more)


def pmt(number: int, pcr_pid: int, streams: dict[int, int], descriptors: bytes = b"", **more: int) -> bytes:
    body = (0xE000 | pcr_pid).to_bytes(2, "big") + (0xF000 | len(descriptors)).to_bytes(2, "big") + descriptors
    body += b"".join(bytes((kind,)) + (0xE000 | pid).to_bytes(2, "big") + b"\xf0\x00" for pid, kind in streams.items())
    return section(2, number, body, **more)


def packets_of(pid: int, table: bytes) -> list[bytes]:
    """The section in packets, their counters 0."""
    data = b"\0" + table
    cut = [data[at : at + 184] for at in range(0, len(data), 184)]
    return [bytes((0x47, (0x40 if n == 0 else 0) | pid >> 8, pid & 0xFF, 0x10)) + part.ljust(184, b"\xff") for n, part in enumerate(cut)]


def unit(pid: int, pts_90k: int, fill: int) -> bytes:
    pts = bytearray(b"\x21\0\1\0\1")
    ts.write_timestamp(pts, 0, pts_90k)
    return bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10)) + (b"\0\0\1\xe0\0\0\x80\x80\x05" + pts).ljust(184, bytes((fill & 0x7F,)))


class Film:
    """A programme at a constant rate: tables every 100 ms, PCR every 30, a picture and a sound every 40. Times are those of the packet."""

    def __init__(self, seconds: float, *, first_27m: int = 0, seed: int = 1) -> None:
        self.tables_ms = self.pmt_ms = 100.0
        self.pcr_ms = 30.0
        self.unit_ms = {VIDEO: 40.0, AUDIO: 40.0}
        self.pat: bytes | None = pat({1: PMT})
        self.pmt: bytes | None = pmt(1, VIDEO, {VIDEO: 0x1B, AUDIO: 0x0F})
        self.pcr_of: Callable[[int], int] = lambda place: round(place * PACKET_27M)
        self.seconds = seconds
        self.first_27m = first_27m
        self._chance = random.Random(seed)

    def packets(self) -> list[bytes]:
        counters: dict[int, int] = {}
        waiting: list[bytes] = []
        due = {"pat": 0.0, "pmt": 0.0, "pcr": 0.0, **{str(pid): 20.0 for pid in self.unit_ms}}
        every = {"pat": self.tables_ms, "pmt": self.pmt_ms, "pcr": self.pcr_ms, **{str(pid): ms for pid, ms in self.unit_ms.items()}}
        out: list[bytes] = []
        for place in range(int(self.seconds * RATE_BPS / 8 / ts.PACKET)):
            now_ms = place * PACKET_27M / 27_000
            ripe = [name for name, at in due.items() if at <= now_ms]
            for name in ripe:
                due[name] += every[name]
            if "pcr" in ripe:
                out.append(ts.pcr_packet(VIDEO, counters.get(VIDEO, 0) - 1 & 15, self.first_27m + self.pcr_of(place)))
            for name in ripe:
                if name == "pat" and self.pat:
                    waiting += packets_of(0, self.pat)
                elif name == "pmt" and self.pmt:
                    waiting += packets_of(PMT, self.pmt)
                elif name.isdigit():
                    pts_90k = self.first_27m // 300 + round(now_ms * 90) + 90_000
                    waiting.append(unit(int(name), pts_90k, place))
                    waiting += [
                        bytes((0x47, int(name) >> 8, int(name) & 0xFF, 0x10)) + self._chance.randbytes(184)
                        for _ in range(self._chance.randrange(1, 30))
                    ]
            if "pcr" in ripe:
                continue
            if not waiting:
                out.append(ts.NULL_PACKET)
                continue
            packet = bytearray(waiting.pop(0))
            pid = ts.pid_of(packet, 0)
            packet[3] |= counters.get(pid, 0)
            counters[pid] = counters.get(pid, 0) + 1 & 15
            out.append(bytes(packet))
        return out


def datagrams_of(packets: Iterable[bytes]) -> list[bytes]:
    data = b"".join(packets)
    return [data[at : at + ts.DATAGRAM] for at in range(0, len(data) - ts.DATAGRAM + 1, ts.DATAGRAM)]


def watch(datagrams: Iterable[bytes], health: Health | None = None, *, from_ns: int = 0, rate_bps: int = RATE_BPS) -> Health:
    """Let them pass at their rate, with ten ticks a second."""
    health = health or Health()
    tick_ns = from_ns
    for n, datagram in enumerate(datagrams):
        now_ns = from_ns + n * ts.DATAGRAM * 8_000_000_000 // rate_bps
        while tick_ns <= now_ns:
            health.tick(tick_ns)
            tick_ns += 100 * MS
        health.push([datagram], now_ns)
    health.tick(tick_ns)
    return health


def counts(health: Health) -> dict[str, int]:
    return {name: fault.count for name, fault in health.faults().items()}


def faults_of(packets: Iterable[bytes]) -> dict[str, int]:
    return counts(watch(datagrams_of(packets)))


def at_of(packets: list[bytes], pid: int, after: int = 300, *, plain: bool = False) -> int:
    """Where the first packet of the PID behind `after` is; `plain`: one without adaptation field or unit start."""
    return next(
        at
        for at in range(after, len(packets))
        if ts.pid_of(packets[at], 0) == pid and (not plain or (not packets[at][1] & 0x40 and packets[at][3] & 0x30 == 0x10))
    )


@pytest.fixture(scope="module")
def clean() -> list[bytes]:
    return Film(4).packets()


def changed(packets: list[bytes], at: int, **bits: int) -> list[bytes]:
    """A copy of the stream; `b1=0x80` sets that bit in byte 1 of the packet at `at`."""
    packet = bytearray(packets[at])
    for name, mask in bits.items():
        packet[int(name[1:])] |= mask
    return [*packets[:at], bytes(packet), *packets[at + 1 :]]


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


# 1.3 PAT


def test_a_pat_that_stays_away() -> None:
    film = Film(4)
    film.pat = None
    assert faults_of(film.packets()) == {"pat": 7}, "one for each half second without it, but for the last"


@pytest.mark.parametrize(("every_ms", "expected"), [(499, {}), (502, {"pat": 7})])
def test_a_pat_every_half_second(every_ms: float, expected: dict[str, int]) -> None:
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
    datagrams = datagrams_of(clean)
    assert counts(watch([*datagrams[:100], datagrams[99], *datagrams[100:]])) == {}


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


# 1.5 PMT, 1.6 PID


def test_a_pmt_that_stays_away() -> None:
    film = Film(4)
    film.pmt = None
    assert faults_of(film.packets()) == {"pmt": 7}


@pytest.mark.parametrize(("every_ms", "expected"), [(499, {}), (502, {"pmt": 7})])
def test_a_pmt_every_half_second(every_ms: float, expected: dict[str, int]) -> None:
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


# 2.1 and 2.2


def test_a_packet_marked_as_damaged(clean: list[bytes]) -> None:
    assert faults_of(changed(clean, at_of(clean, VIDEO, plain=True), b1=0x80)) == {"transport": 1}
    assert faults_of(changed(clean, at_of(clean, ts.NULL_PID), b1=0x80)) == {"transport": 1}


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


# 2.3 to 2.5


@pytest.mark.parametrize(("every_ms", "expected"), [(39.9, {}), (50, {"pcr_repetition": 79})])
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


def test_lost_stuffing_is_no_error_of_the_clock(clean: list[bytes]) -> None:
    stuffing = [at for at, packet in enumerate(clean) if packet == ts.NULL_PACKET]
    gone = {at for start in stuffing[400::700] for at in stuffing[stuffing.index(start) :][:7]}
    assert len(gone) >= 28
    health = watch(datagrams_of(packet for at, packet in enumerate(clean) if at not in gone))
    assert counts(health) == {}
    assert health.constant_rate is True


@given(
    errors=st.lists(st.integers(-10, 10), min_size=34, max_size=34),
    wrong=st.dictionaries(st.integers(1, 32), st.sampled_from([-50_000, -3_000, -100, 100, 3_000, 50_000]), max_size=3),
)
def test_the_line_finds_every_wrong_pcr_among_right_ones(errors: list[int], wrong: dict[int, int]) -> None:
    wrong = {at: off for at, off in wrong.items() if at - 1 not in wrong and at - 2 not in wrong}
    line = PcrLine()
    found: list[float] | None = []
    for at, error in enumerate(errors):
        found = line.push(at * 80, round(at * 80 * PACKET_27M) + error // 3 + wrong.get(at, 0))
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
    for at in [at for at, packet in enumerate(film) if packet == ts.NULL_PACKET and at % 400 < 50][::20]:
        cat = bytearray(packets_of(1, section(1, 0xFFFF, b"\x09\x04\x0b\x00\xe1\xf0"))[0])
        cat[3] |= counter
        counter = counter + 1 & 15
        film[at] = bytes(cat)
    assert counter > 4
    assert faults_of(film) == {}


def test_another_table_where_the_cat_should_be(clean: list[bytes]) -> None:
    at = at_of(clean, ts.NULL_PID)
    assert faults_of([*clean[:at], packets_of(1, section(0x42, 1, b"\0" * 8))[0], *clean[at + 1 :]]) == {"cat": 1}


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


def packet_like() -> st.SearchStrategy[bytes]:
    head = st.builds(
        lambda flags, pid, control, length, af: bytes((0x47, flags << 5 | pid >> 8, pid & 0xFF, control, length, af)),
        st.integers(0, 7),
        st.sampled_from([0, 0, 1, PMT, PMT, VIDEO, 0x1FFF]),
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 255),
    )
    table = st.sampled_from(
        [
            pat({1: PMT}),
            pat({1: PMT, 2: VIDEO, 3: 0x1FFF, 4: 0}),
            pmt(1, VIDEO, {VIDEO: 0x1B, PMT: 2, 0: 3}),
            section(0, 1, b""),
            section(2, 1, b""),
        ]
    )
    tables = st.builds(
        lambda pid, table, counter: bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10 | counter, 0)) + table,
        st.sampled_from([0, 1, PMT]),
        table,
        st.integers(0, 15),
    )
    return st.builds(lambda start, rest: (start + rest)[:188].ljust(188, b"\xff"), st.one_of(head, tables), st.binary(max_size=190))


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.binary(max_size=1500), st.lists(packet_like(), min_size=1, max_size=7).map(b"".join)), max_size=30), st.randoms()
)
def test_no_bytes_raise(datagrams: list[bytes], chance: random.Random) -> None:
    health, now_ns = Health(), 0
    for datagram in datagrams:
        now_ns += chance.choice((0, MS, 100 * MS, 6_000 * MS, -MS))
        health.push([datagram], now_ns)
        health.tick(now_ns)
    health.restart(now_ns)
    assert health.faults().keys() <= CHECKS.keys()
    assert health.pids == {}


@given(st.lists(packet_like(), min_size=7, max_size=70))
def test_the_size_of_datagrams_changes_no_count(packets: list[bytes]) -> None:
    whole, single = Health(), Health()
    whole.push(datagrams_of(packets), 0)
    single.push(packets[: len(packets) // 7 * 7], 0)
    assert counts(whole) == counts(single)
    assert whole.pids == single.pids


def test_a_hostile_stream_fills_no_memory() -> None:
    """Every PID, a PAT of 10,000 programmes, a new PMT each time, sections that never end."""
    chance = random.Random(5)
    programmes = {n: 0x20 + n % 8000 for n in range(1, 10_001)}
    numbers = list(programmes)
    parts = [dict((n, programmes[n]) for n in numbers[at : at + 250]) for at in range(0, len(numbers), 250)]
    packets = [packet for part, chosen in enumerate(parts) for packet in packets_of(0, pat(chosen, part=part))]
    for n in range(6_000):
        number = chance.randrange(1, 257)
        packets += packets_of(
            programmes[number], pmt(number, 0x30 + n % 7000, {0x20 + (n * 60 + k) % 8000: 0x1B for k in range(30)}, version=n % 32)
        )
        packets.append(bytes((0x47, 0x40 | n % 8191 >> 8, n % 8191 & 0xFF, 0x10 | n & 15, 0, 0x02, 0xBF, 0xFD)) + chance.randbytes(180))
    counters: dict[int, int] = {}
    for at, packet in enumerate(packets):
        pid = ts.pid_of(packet, 0)
        counters[pid] = counters.get(pid, 0) + 1
        packets[at] = packet[:3] + bytes((0x10 | counters[pid] & 15,)) + packet[4:]
    datagrams = datagrams_of(packets)
    tracemalloc.start()
    try:
        health = watch(datagrams)
        half, _ = tracemalloc.get_traced_memory()
        watch(datagrams, health, from_ns=60_000 * MS)
        whole, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(health.pids) > 7_000
    assert half < 6_000_000
    assert whole < half + 500_000
