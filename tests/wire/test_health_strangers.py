"""Health of bytes that nobody meant to be a stream."""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.wire import ts
from firmware.wire.checks import CHECKS
from firmware.wire.health import Health

from .films import MS, PMT, VIDEO, counts, datagrams_of, packets_of, pat, pmt, section, watch


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


@settings(max_examples=150, deadline=None)
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


@settings(max_examples=50, deadline=None)
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
    for n in range(250):
        number = chance.randrange(1, 257)
        packets += packets_of(
            programmes[number], pmt(number, 0x30 + n % 7000, {0x20 + (n * 60 + k) % 8000: 0x1B for k in range(30)}, version=n % 32)
        )
        for pid in range(n * 32, n * 32 + 32):
            packets.append(bytes((0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10 | n & 15, 0, 0x02, 0xBF, 0xFD)) + chance.randbytes(180))
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
        watch(datagrams[:300], health, from_ns=60_000 * MS)
        whole, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(health.pids) > 7_000
    assert half < 6_000_000
    assert whole < half + 500_000
