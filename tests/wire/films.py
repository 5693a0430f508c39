"""Made-up transport streams for the tests of health: one that has no fault, and how it is given one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from firmware.wire import ts
from firmware.wire.health import Health

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
        self.packets_of_unit: int | None = None  # None: 2 to 30
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
                        for _ in range((self.packets_of_unit or self._chance.randrange(2, 31)) - 1)
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


def changed(packets: list[bytes], at: int, **bits: int) -> list[bytes]:
    """A copy of the stream; `b1=0x80` sets that bit in byte 1 of the packet at `at`."""
    packet = bytearray(packets[at])
    for name, mask in bits.items():
        packet[int(name[1:])] |= mask
    return [*packets[:at], bytes(packet), *packets[at + 1 :]]
