"""The constant-rate clock: exact PCR, unbroken counters, and a slate when the camera falls silent."""

from __future__ import annotations

import itertools

import pytest

from firmware.wire import ts
from firmware.wire.health import Health
from firmware.wire.playout import HEADROOM_NS, Playout, Slate
from tests.lab import feed

from .streams import MS, S

RATE = 5_000_000
FRAME = S // 30
VIDEO, AUDIO = 0x100, 0x101


def pes_packet(pid: int, counter: int, pts_90k: int, *, key: bool = False, pcr: int | None = None) -> bytes:
    """One packet that begins a PES with a PTS."""
    flags = (0x40 if key else 0) | (0x10 if pcr is not None else 0)
    field = bytes([flags]) + (b"\0" * 6 if pcr is not None else b"") + b"\xff" * 4
    packet = bytearray([0x47, 0x40 | pid >> 8, pid & 255, 0x30 | counter & 15, len(field)]) + field
    pes = len(packet)
    packet += b"\0\0\1\xe0\0\0\x80\x80\5" + b"\x21\0\1\0\1"
    packet += bytes(188 - len(packet))
    ts.write_timestamp(packet, pes + 9, pts_90k)
    if pcr is not None:
        ts.write_pcr(packet, 0, pcr)
    return bytes(packet)


class Capture:
    """A capture worker's lists: one key picture a second, 20 packets a frame, continuity from 0."""

    def __init__(self) -> None:
        self.counters = {VIDEO: 0, AUDIO: 0}

    def count(self, pid: int) -> int:
        self.counters[pid] += 1
        return self.counters[pid] - 1 & 15

    def frame(self, at_ns: int, *, key: bool) -> bytes:
        out = [pes_packet(AUDIO, self.count(AUDIO), at_ns * 9 // 100_000)]
        out.append(pes_packet(VIDEO, self.count(VIDEO), at_ns * 9 // 100_000, key=key, pcr=at_ns * 27 // 1000))
        out += [bytes((0x47, 1, 0, 0x10 | self.count(VIDEO))) + bytes(184) for _ in range(18)]
        return b"".join(out)


def slate() -> Slate:
    capture = Capture()
    return Slate(b"".join(capture.frame(n * FRAME, key=n == 0) for n in range(32)))


def play(playout: Playout, lists: list[tuple[int, bytes]], until_ns: int, step_ns: int = MS) -> list[tuple[int, bytes]]:
    """(ns, datagram) of everything popped from 0 on, the lists pushed when their time comes."""
    out, waiting = [], list(lists)
    for now in range(0, until_ns, step_ns):
        while waiting and waiting[0][0] <= now:
            playout.push(waiting.pop(0)[1], now)
        out += [(now, datagram) for datagram in playout.pop(now)]
    return out


def lists(capture: Capture, start_ns: int, end_ns: int) -> list[tuple[int, bytes]]:
    return [(at, capture.frame(at, key=n % 30 == 0)) for n, at in enumerate(range(start_ns, end_ns, FRAME))]


def check(datagrams: list[bytes], *, rate_bps: int = RATE) -> list[tuple[int, int]]:
    """Every rule a receiver holds us to; returns (position, PCR) pairs."""
    counters: dict[int, int] = {}
    pcrs = []
    for position, packet in enumerate(ts.packets(b"".join(datagrams))):
        assert packet[0] == 0x47
        pid = ts.pid_of(packet, 0)
        if pid == ts.NULL_PID:
            continue
        pcr = ts.pcr_of(packet, 0)
        if pcr is not None:
            assert pid == VIDEO
            pcrs.append((position, pcr))
        if packet[3] & 0x10:
            if pid in counters:
                assert packet[3] & 15 == counters[pid] + 1 & 15, f"continuity of {pid:#x} at {position}"
            counters[pid] = packet[3] & 15
        elif pid in counters:
            assert packet[3] & 15 == counters[pid]
    for (a, x), (b, y) in itertools.pairwise(pcrs):
        step = (y - x) % ts.PCR_MODULUS
        assert abs(step - (b - a) * 1504 * ts.PCR_HZ / rate_bps) <= 1
        assert step / 27_000 <= 35
    return pcrs


def test_constant_rate_exact_pcr_and_all_content():
    playout = Playout(RATE)
    capture = Capture()
    fed = lists(capture, 0, 10 * S - 2 * FRAME)
    out = play(playout, fed, 10 * S)
    datagrams = [d for _, d in out]
    assert all(len(d) == 1316 for d in datagrams)
    assert abs(len(datagrams) - 10 * RATE / 8 / 1316) <= 1
    check(datagrams)
    sent = [p for p in ts.packets(b"".join(datagrams)) if ts.pid_of(p, 0) in (VIDEO, AUDIO) and ts.pcr_of(p, 0) is None]
    assert len(sent) == 20 * len(fed)


def test_a_list_that_the_capture_worker_had_to_drop_leaves_no_hole_in_the_counters():
    """The machine stood still and the socket was full: the next list is a key picture."""
    fed = lists(Capture(), 0, 4 * S - 2 * FRAME)
    left = [one for number, one in enumerate(fed) if number % 30 < 23]
    datagrams = [d for _, d in play(Playout(RATE), left, 4 * S)]
    check(datagrams)
    sent = [p for p in ts.packets(b"".join(datagrams)) if ts.pid_of(p, 0) in (VIDEO, AUDIO) and ts.pcr_of(p, 0) is None]
    assert len(sent) == 20 * len(left)


@pytest.mark.parametrize("rate_bps", [333_333, 1_000_000, 5_555_555, 20_000_001])
def test_odd_rates_keep_pcr_exact(rate_bps):
    playout = Playout(rate_bps)
    frames = [(n * FRAME, Capture().frame(n * FRAME, key=True)[: 188 * 2]) for n in range(90)]
    for n in range(90):
        playout.push(frames[n][1], frames[n][0])
        playout.restart()
    out = play(playout, [], 3 * S)
    pcrs = check([d for _, d in out], rate_bps=rate_bps) if rate_bps > 400_000 else None
    assert pcrs is None or len(pcrs) > 80


def test_presentation_time_stays_ahead_of_the_clock_by_the_headroom():
    playout = Playout(RATE)
    out = play(playout, lists(Capture(), 5 * S, 7 * S), 7 * S)
    pcr, worst = None, 10**12
    for packet in ts.packets(b"".join(d for _, d in out)):
        if (found := ts.pcr_of(packet, 0)) is not None:
            pcr = found
        elif ts.pid_of(packet, 0) == VIDEO and (places := ts.timestamps_at(packet, 0)):
            assert pcr is not None
            worst = min(worst, ts.read_timestamp(packet, places[0]) * 300 - pcr)
    assert 0.8 * HEADROOM_NS < worst * 1000 / 27 <= 1.1 * HEADROOM_NS


def test_slate_plays_when_the_camera_falls_silent_and_leaves_when_it_returns():
    playout = Playout(RATE, slate())
    first, second = Capture(), Capture()
    fed = lists(first, 0, 3 * S) + lists(second, 8 * S, 12 * S)
    states = []

    def watched(now):
        states.append((now, playout.picture))
        return playout

    out, waiting = [], fed
    for now in range(0, 12 * S, MS):
        while waiting and waiting[0][0] <= now:
            if waiting[0][0] == 8 * S:
                playout.restart()
            playout.push(waiting.pop(0)[1], now)
        out += playout.pop(now)
        watched(now)
    check(out)
    shown = [at for at, picture in states if picture == "slate"]
    assert 3 * S < shown[0] < 3.6 * S
    assert 8 * S - MS <= shown[-1] <= 8 * S
    assert playout.slates == 1
    assert abs(len(out) - 12 * RATE / 8 / 1316) <= 1


def test_timestamps_grow_through_slate_loops_and_the_return():
    playout = Playout(RATE, slate())
    out = play(playout, lists(Capture(), 0, 2 * S) + lists(Capture(), 7 * S, 9 * S), 9 * S)
    for pid in (VIDEO, AUDIO):
        stamps = [
            ts.read_timestamp(p, ts.timestamps_at(p, 0)[0])
            for p in ts.packets(b"".join(d for _, d in out))
            if ts.pid_of(p, 0) == pid and ts.timestamps_at(p, 0)
        ]
        assert all(a < b for a, b in itertools.pairwise(stamps))
        assert max(b - a for a, b in itertools.pairwise(stamps)) < 90_000


def test_a_camera_that_returns_in_mid_gop_waits_for_its_key_picture():
    playout = Playout(RATE, slate())
    capture = Capture()
    late = [(at, capture.frame(at, key=n == 10)) for n, at in enumerate(range(4 * S, 5 * S, FRAME))]
    play(playout, [*lists(Capture(), 0, S), *late[:10]], 4 * S + 10 * FRAME)
    assert playout.picture == "slate"
    playout.push(late[10][1], 4 * S + 10 * FRAME)
    assert playout.picture == "live"


def test_without_a_camera_from_the_start_the_slate_plays():
    playout = Playout(RATE, slate())
    playout.begin(0)
    out = play(playout, [], 2 * S)
    check([d for _, d in out])
    assert playout.picture == "slate"


def test_a_loop_that_slept_jumps_and_says_so_in_the_stream():
    playout = Playout(RATE, slate())
    play(playout, lists(Capture(), 0, S), S)
    after = playout.pop(4 * S)
    flagged = [p for p in ts.packets(b"".join(after + playout.pop(4 * S + 100 * MS))) if ts.pcr_of(p, 0) is not None]
    assert flagged[0][5] & 0x80
    assert not flagged[1][5] & 0x80
    assert len(after) < 10
    assert playout.skipped_slots > 1000


def test_a_camera_beyond_its_rate_is_bounded():
    playout = Playout(500_000)
    capture = Capture()
    for n in range(300):
        playout.push(capture.frame(n * FRAME, key=n % 30 == 0) * 3, n * FRAME)
        playout.pop(n * FRAME)
    assert playout.overruns > 0
    assert playout._queued <= 2 * 500_000 / 8 + 20_000


def test_a_slate_without_pictures_is_refused():
    with pytest.raises(ValueError, match="no moving picture"):
        Slate(ts.NULL_PACKET * 10)


def test_unstuffed_pictures_leave_at_once_with_a_clock_that_is_right():
    line_bps = 4 * RATE
    playout = Playout(line_bps, slate(), stuffed=False)
    out = play(playout, lists(Capture(), 0, 4 * S) + lists(Capture(), 6 * S, 8 * S), 8 * S, step_ns=MS // 4)
    counters: dict[int, int] = {}
    clocks: list[tuple[int, int]] = []
    for at, datagram in out:
        assert len(datagram) <= 1316
        for packet in ts.packets(datagram):
            pid = ts.pid_of(packet, 0)
            assert pid != ts.NULL_PID
            pcr = ts.pcr_of(packet, 0)
            if pcr is not None:
                clocks.append((at, pcr))
            elif pid in counters:
                assert packet[3] & 15 == counters[pid] + 1 & 15
            counters[pid] = packet[3] & 15
    for (a, x), (b, y) in itertools.pairwise(clocks):
        assert (y - x) % ts.PCR_MODULUS / 27_000 <= 40
        assert abs((y - x) % ts.PCR_MODULUS * 1000 / 27 - (b - a)) <= 1.5 * MS
    live = [at for at, _ in out if at < 3 * S]
    assert max(at % FRAME for at in live[5:]) < 8 * MS  # 21 packets at 20 Mb/s, and a clock alone where a picture is late
    assert playout.slates == 1


def test_the_line_rests_while_there_is_nothing_to_send():
    playout = Playout(4 * RATE, stuffed=False)
    playout.push(Capture().frame(0, key=True), 0)
    while playout._queued:
        playout.pop(playout.due_ns() or 0)
    due = playout.due_ns()
    assert due is not None
    assert due > 20 * MS


@pytest.mark.parametrize("silent_ms", [0, 1500])
def test_tables_come_twice_a_second_from_a_camera_that_is_held_up(silent_ms):
    """Its lists come often enough for the slate not to play, and bring no tables for two seconds."""
    pat, pmt, *_ = ts.packets(next(feed.stream(RATE)))
    capture = Capture()
    capture.counters |= {0: 0, feed.PMT_PID: 0}
    given = []
    for n, at in enumerate(range(0, 6 * S, 300 * MS)):
        if 4 * S < at < 4 * S + silent_ms * MS:
            continue
        tables = () if 2 * S <= at < 4 * S else (pat, pmt)
        counted = [table[:3] + bytes((0x10 | capture.count(ts.pid_of(table, 0)),)) + table[4:] for table in tables]
        given.append((at, b"".join(counted) + capture.frame(at, key=n % 3 == 0)))
    sent = [datagram for _, datagram in play(Playout(RATE), given, 6 * S)]
    check(sent)
    for pid in (0, feed.PMT_PID):
        places = [place for place, packet in enumerate(ts.packets(b"".join(sent))) if ts.pid_of(packet, 0) == pid]
        gaps_ms = [(b - a) * 188 * 8000 / RATE for a, b in itertools.pairwise([*places, len(sent) * 7])]
        assert 300 < max(gaps_ms) <= 500


def at_bitrate(capture: Capture, at_ns: int, bps: int, *, key: bool) -> bytes:
    """A picture of that bitrate; of 900 kb/s at least."""
    frame = capture.frame(at_ns, key=key)
    more = [bytes((0x47, 1, 0, 0x10 | capture.count(VIDEO))) + bytes(184) for _ in range(bps // 30 // 1504 - 20)]
    return frame + b"".join(more)


class Follower:
    """An encoder that follows the bitrate after `lag` pictures, and the line that it feeds."""

    def __init__(self, rate_bps: int, lag: int, *, stuffed: bool = True) -> None:
        self.playout = Playout(rate_bps, slate(), stuffed=stuffed)
        self.sent: list[tuple[int, bytes]] = []
        self.waits: list[tuple[int, float]] = []  # when pushed, and ms until the last of it left
        self._lag = lag

    def run(self, changes: dict[int, int], until_ns: int) -> None:
        """`changes`: line rates by time."""
        capture, bps, follows = Capture(), int(self.playout.top_bps * 0.85), dict[int, int]()
        for now in range(0, until_ns, MS):
            for at in [at for at in changes if at <= now]:
                rate = changes.pop(at)
                self.playout.set_rate(rate, now)
                follows[at + self._lag * FRAME] = int(rate * 0.85)
            for at in [at for at in follows if at <= now]:
                bps = follows.pop(at)
            if now % (33 * MS) == 0:
                self.playout.push(at_bitrate(capture, now, bps, key=now % (990 * MS) == 0), now)
                self.waits.append((now, self.playout._queued * 8000 / self.playout.rate_bps))
            self.sent += [(now, datagram) for datagram in self.playout.pop(now)]

    def rate_bps(self, from_ns: int, to_ns: int) -> float:
        return sum(len(datagram) for at, datagram in self.sent if from_ns <= at < to_ns) * 8e9 / (to_ns - from_ns)


def check_clock(sent: list[tuple[int, bytes]]) -> None:
    """PCR says when its packet leaves, to the millisecond in which it was popped, never stays away and counters run on."""
    counters: dict[int, int] = {}
    pcrs: list[tuple[int, int]] = []
    for at, datagram in sent:
        for packet in ts.packets(datagram):
            pid, pcr = ts.pid_of(packet, 0), ts.pcr_of(packet, 0)
            if pcr is not None:
                assert not packet[5] & 0x80, "a discontinuity is announced"
                pcrs.append((at, pcr))
            elif pid != ts.NULL_PID:
                assert packet[3] & 15 == counters.get(pid, packet[3] - 1) + 1 & 15
                counters[pid] = packet[3] & 15
    assert all(0 < (y - x) % ts.PCR_MODULUS <= 40 * 27_000 for (_, x), (_, y) in itertools.pairwise(pcrs))
    first_ns, first = pcrs[0]
    assert all(abs((pcr - first) % ts.PCR_MODULUS * 1000 / 27 - (at - first_ns)) < 1.1 * MS for at, pcr in pcrs)


def test_the_line_comes_down_and_climbs_again_on_one_clock():
    line = Follower(8_000_000, lag=3)
    line.run({3 * S: 1_000_000, 6 * S: 3_000_000, 8 * S: 8_000_000}, 11 * S)
    check_clock(line.sent)
    assert line.rate_bps(4 * S, 6 * S) == pytest.approx(1_000_000, rel=0.02)
    assert line.rate_bps(7 * S, 8 * S) == pytest.approx(3_000_000, rel=0.02)
    assert line.rate_bps(9 * S, 11 * S) == pytest.approx(8_000_000, rel=0.01)
    assert line.rate_bps(3 * S, 3 * S + 500 * MS) < 6_000_000


@pytest.mark.parametrize("lag", [0, 3, 15, 60])
def test_what_was_encoded_for_the_former_rate_leaves_in_time(lag: int):
    """However long the encoder takes: no picture leaves after its time, and the line is down half a second after the encoder."""
    line = Follower(8_000_000, lag)
    line.run({3 * S: 1_000_000}, 7 * S)
    check_clock(line.sent)
    assert max(ms for _, ms in line.waits) < HEADROOM_NS / MS - 50
    down_ns = 3 * S + lag * FRAME + 500 * MS
    assert line.rate_bps(down_ns, 7 * S) == pytest.approx(1_000_000, rel=0.05)


def test_a_climb_in_small_steps_is_a_line_of_few_pieces():
    line = Follower(8_000_000, lag=3)
    line.run({S: 1_000_000} | {2 * S + n * 100 * MS: int(1_000_000 * 1.026**n) for n in range(80)}, 10 * S + 500 * MS)
    check_clock(line.sent)
    assert line.rate_bps(10 * S, 10 * S + 500 * MS) == pytest.approx(1_000_000 * 1.026**79, rel=0.05)


def test_health_finds_a_line_that_changes_clean():
    line = Follower(8_000_000, lag=3)
    line.run({2 * S: 1_000_000, 5 * S: 2_500_000, 7 * S: 8_000_000}, 10 * S)
    tables = list(ts.packets(next(feed.stream(RATE))))[:2]  # in place of stuffing, now and then
    counter, due_ns, health = 0, 0, Health()
    for at, datagram in line.sent:
        packets = list(ts.packets(datagram))
        if at >= due_ns and packets[-2:] == [ts.NULL_PACKET] * 2:
            packets[-2:] = [table[:3] + bytes((0x10 | counter & 15,)) + table[4:] for table in tables]
            counter, due_ns = counter + 1, at + 100 * MS
        health.push([b"".join(packets)], at)
        assert health.constant_rate is not False, f"a line in pieces was taken for a variable rate at {at // MS} ms"
    faults = {name: fault.count for name, fault in health.faults().items()}
    assert not {"continuity_count", "pcr_accuracy", "pcr_repetition", "pcr_discontinuity", "pts"} & faults.keys(), faults
    assert health.constant_rate
    assert health.pcr_accuracy_ns_max is not None
    assert health.pcr_accuracy_ns_max < 80  # two ticks


def test_an_unstuffed_line_changes_too():
    line = Follower(16_000_000, lag=3, stuffed=False)
    line.run({3 * S: 4_000_000, 6 * S: 16_000_000}, 8 * S)
    counters: dict[int, int] = {}
    for _, datagram in line.sent:
        for packet in ts.packets(datagram):
            if packet[3] & 0x10:
                pid = ts.pid_of(packet, 0)
                assert packet[3] & 15 == counters.get(pid, packet[3] - 1) + 1 & 15
                counters[pid] = packet[3] & 15


def test_a_rate_stays_between_what_pcr_needs_and_the_first_one():
    playout = Playout(5_000_000)
    playout.set_rate(1, 0)
    assert playout.wanted_bps == 320_000
    playout.set_rate(50_000_000, 0)
    assert playout.rate_bps == playout.wanted_bps == 5_000_000
