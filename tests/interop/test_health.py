"""Our health of a stream beside analysers that are not ours, over the same faults in a stream of FFmpeg.

tsreport (tstools) sees continuity, duplicates, PCR intervals and jumps, PCR against a constant rate, and steps of DTS, all of
pictures and sounds only. FFmpeg sees continuity of every PID that it reads. Neither says anything of checksums, of tables that stay
away, or of damaged packets: there `tests/lab/analyse.py`, which shares no code with the firmware, is what is compared.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest

from firmware.wire import ts
from firmware.wire.health import Health
from tests.lab.analyse import analyse
from tests.wire.films import at_of, counts, datagrams_of, watch

RATE_BPS = 1_000_000
PMT, VIDEO, AUDIO = 0x1000, 0x100, 0x101  # where FFmpeg puts them


@dataclass
class Panel:
    """What tsreport says."""

    continuity: int
    duplicates: int  # more than one running
    pcr_jumps: int  # by more than 100 ms
    pcr_off_90k: int  # worst against what the rate so far foretells
    dts_step_90k: int  # longest


@pytest.fixture(scope="module")
def packets(film_of_a_stranger: bytes) -> list[bytes]:
    data = film_of_a_stranger[: 14_000 * ts.PACKET]
    return [data[at : at + ts.PACKET] for at in range(0, len(data), ts.PACKET)]


@pytest.fixture
def report(tmp_path: Path) -> Callable[[Iterable[bytes]], Panel]:
    if not which("tsreport"):
        pytest.skip("tsreport is missing; apt install tstools")

    def run(packets: Iterable[bytes]) -> Panel:
        file = tmp_path / "film.ts"
        file.write_bytes(b"".join(packets))
        said = subprocess.run(["tsreport", "-b", str(file)], capture_output=True, text=True, check=True, timeout=60).stdout
        return Panel(
            continuity=sum(map(int, re.findall(r"CC error \* (\d+)", said))),
            duplicates=sum(map(int, re.findall(r"CC duplicate error \* (\d+)", said))),
            pcr_jumps=sum(map(int, re.findall(r"Bad \(>.1s\) gaps: (\d+)", said))),
            pcr_off_90k=max(abs(int(t)) for pair in re.findall(r"prediction errors: min=(-?\d+)t, max=(-?\d+)t", said) for t in pair),
            dts_step_90k=max(map(int, re.findall(r"DTS-last DTS: min=-?\d+t, max=(-?\d+)t", said))),
        )

    return run


def ours(packets: Iterable[bytes]) -> Health:
    return watch(datagrams_of(packets), rate_bps=RATE_BPS)


def breaks_by_ffmpeg(packets: Iterable[bytes]) -> int:
    """Through a pipe: of a file it reads the beginning twice, and counts it twice."""
    command = ["ffmpeg", "-nostdin", "-v", "debug", "-i", "-", "-map", "0", "-c", "copy", "-f", "null", "-"]
    said = subprocess.run(command, input=b"".join(packets), capture_output=True, check=True, timeout=60).stderr
    return said.count(b"Continuity check failed")


def without(packets: list[bytes], every: int) -> list[bytes]:
    """One datagram of `every` is lost, but none that holds a table, and none that tsreport misses: it begins late, and takes a counter of
    0 for one that it does not know yet."""
    kept: list[bytes] = []
    for n, at in enumerate(range(0, len(packets) - 6, 7)):
        seven = packets[at : at + 7]
        first = {ts.pid_of(packet, 0): packet[3] for packet in reversed(seven)}
        behind_zero = any(control & 15 == control >> 4 & 1 for pid, control in first.items() if pid != ts.NULL_PID)
        if n < 300 or n % every or behind_zero or not first.keys() <= {VIDEO, AUDIO, ts.NULL_PID}:
            kept += seven
    assert len(kept) < len(packets) - 7
    return kept


def moved(packets: list[bytes], by_27m: int, start: int, end: int = 1 << 30) -> list[bytes]:
    """Every PCR from packet `start` to `end` is another."""
    out = list(packets)
    for at in range(start, min(end, len(packets))):
        if (pcr := ts.pcr_of(packets[at], 0)) is not None:
            packet = bytearray(packets[at])
            ts.write_pcr(packet, 0, pcr + by_27m)
            out[at] = bytes(packet)
    return out


def test_nobody_finds_a_fault_where_there_is_none(packets, report) -> None:
    health, panel = ours(packets), report(packets)
    assert counts(health) == {}
    assert health.constant_rate is True
    assert health.pcr_accuracy_ns_max is not None
    assert health.pcr_accuracy_ns_max < 100
    assert (panel.continuity, panel.duplicates, panel.pcr_jumps, panel.pcr_off_90k) == (0, 0, 0, 0)
    assert analyse(b"".join(packets)).priority_1 == 0
    assert breaks_by_ffmpeg(packets) == 0


@pytest.mark.parametrize("every", [40, 97])
def test_lost_datagrams_are_counted_alike(packets, report, every: int) -> None:
    film = without(packets, every)
    found = counts(ours(film))["continuity_count"]
    assert found == report(film).continuity
    assert found == analyse(b"".join(film)).continuity_errors
    assert found == breaks_by_ffmpeg(film)


def test_datagrams_in_the_wrong_order_are_seen_by_all(packets, report) -> None:
    at = next(n for n in range(3_003, len(packets), 7) if all(ts.pid_of(p, 0) == VIDEO and p[3] & 0x10 for p in packets[n : n + 14]))
    film = [*packets[:at], *packets[at + 7 : at + 14], *packets[at : at + 7], *packets[at + 14 :]]
    found = counts(ours(film))
    assert found["continuity_count"] == 3, "there, back and on"
    assert found["continuity_count"] == report(film).continuity
    assert found["continuity_count"] == analyse(b"".join(film)).continuity_errors
    assert breaks_by_ffmpeg(film) == 3


def test_a_packet_may_come_twice_not_three_times(packets, report) -> None:
    at = at_of(packets, VIDEO, 3_000, plain=True)
    twice, thrice = [*packets[:at], packets[at], *packets[at:]], [*packets[:at], packets[at], packets[at], *packets[at:]]
    assert counts(ours(twice)) == {}
    assert report(twice).duplicates == report(twice).continuity == 0
    assert counts(ours(thrice)) == {"continuity_count": 1}
    assert report(thrice).duplicates == 1


@pytest.mark.parametrize("by_s", [2, -2])
def test_a_jump_of_the_clock(packets, report, by_s: int) -> None:
    film = moved(packets, by_s * ts.PCR_HZ, 7_000)
    assert counts(ours(film)) == {"pcr_discontinuity": 1}
    assert report(film).pcr_jumps == (by_s > 0), "it counts those ahead"
    assert report(film).pcr_off_90k >= 180_000


def test_a_clock_that_stays_away(packets, report) -> None:
    film = [
        packet[:5] + bytes((packet[5] & ~0x10,)) + packet[6:] if 7_000 <= at < 7_200 and ts.pcr_of(packet, 0) is not None else packet
        for at, packet in enumerate(packets)
    ]
    health, panel = ours(film), report(film)
    assert counts(health) == {"pcr_discontinuity": 1, "pcr_repetition": 1}
    assert panel.pcr_jumps == 1
    assert 290 < health.pcr_interval_ms_max < 350


def test_one_pcr_off_its_place(packets, report) -> None:
    """tsreport counts in 11 us and foretells from the last two, so that one wrong PCR makes several of its errors."""
    at = next(at for at in range(7_000, 8_000) if ts.pcr_of(packets[at], 0) is not None)
    film = moved(packets, 2_700, at, at + 1)
    health = ours(film)
    assert counts(health) == {"pcr_accuracy": 1}
    assert health.pcr_accuracy_ns_max is not None
    assert abs(health.pcr_accuracy_ns_max - 100_000) < 100
    assert report(film).pcr_off_90k >= 9


def test_a_picture_that_stops_for_a_second(packets, report) -> None:
    film = [
        ts.NULL_PACKET if 7_000 <= at < 7_700 and ts.pid_of(packet, 0) == VIDEO and packet[3] & 0x10 else packet
        for at, packet in enumerate(packets)
    ]
    assert counts(ours(film))["pts"] == 1
    assert report(film).dts_step_90k > 63_000
    assert report(packets).dts_step_90k < 63_000


@pytest.mark.parametrize(("pid", "name"), [(0, "pat"), (PMT, "pmt")])
def test_a_table_that_stays_away(packets, pid: int, name: str) -> None:
    film = [ts.NULL_PACKET if 6_650 <= at < 7_200 and ts.pid_of(packet, 0) == pid else packet for at, packet in enumerate(packets)]
    found, theirs = counts(ours(film)), analyse(b"".join(film))
    assert found[name] == 1
    assert 500 < getattr(theirs, f"{name}_gap_ms") < 1_100


@pytest.mark.parametrize("pid", [0, PMT])
def test_a_wrong_checksum(packets, pid: int) -> None:
    at = at_of(packets, pid, 3_000)
    film = [*packets[:at], packets[at][:14] + bytes((packets[at][14] ^ 1,)) + packets[at][15:], *packets[at + 1 :]]
    assert counts(ours(film)) == {"crc": 1}
    assert analyse(b"".join(film)).crc_errors == 1


def test_a_packet_marked_as_damaged(packets) -> None:
    at = at_of(packets, VIDEO, 3_000, plain=True)
    film = [*packets[:at], packets[at][:1] + bytes((packets[at][1] | 0x80,)) + packets[at][2:], *packets[at + 1 :]]
    assert counts(ours(film)) == {"transport": 1}
    assert analyse(b"".join(film)).transport_errors == 1
