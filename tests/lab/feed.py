"""An encoder that never tires: a transport stream of constant rate, no two datagrams alike, in UDP. It costs next to nothing.

A process of its own: `python tests/lab/feed.py HOST:PORT BPS`, until its standard input ends. PAT and PMT come every 100 ms, PCR
every 30 ms, and every other packet carries its own number, so that whatever is lost, doubled or swapped further on shows.
"""

from __future__ import annotations

import argparse
import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.lab.analyse import PACKET, crc32

PMT_PID, VIDEO_PID = 0x1000, 0x100
PCR_HZ = 27_000_000
TABLES_MS, PCR_MS = 100, 30
IN_A_DATAGRAM = 7
LATE_S = 0.5  # a sender that was held up for longer goes on from there


def stream(rate_bps: float) -> Iterator[bytes]:
    """Its datagrams, without end."""
    filler = random.Random(1).randbytes(PACKET)
    tables = (_section(0, b"\0\1" + _pid(PMT_PID), 0), _section(PMT_PID, _pid(VIDEO_PID) + b"\xf0\0\x1b" + _pid(VIDEO_PID) + b"\xf0\0", 2))
    tables_due = pcr_due = 0.0
    counters = {0: 0, PMT_PID: 0, VIDEO_PID: 0}
    number = 0
    while True:
        packets: list[bytes] = []
        while len(packets) < IN_A_DATAGRAM:
            at_ms = number * PACKET * 8000 / rate_bps
            if at_ms >= tables_due and len(packets) <= IN_A_DATAGRAM - len(tables):
                tables_due += TABLES_MS
                packets += [_packet(pid, counters, body, begins=True) for pid, body in zip((0, PMT_PID), tables, strict=True)]
                number += len(tables)
                continue
            body = number.to_bytes(8, "big") + filler
            if at_ms >= pcr_due:
                pcr_due += PCR_MS
                packets.append(_packet(VIDEO_PID, counters, body, pcr=number * PACKET * 8 * PCR_HZ // int(rate_bps)))
            else:
                packets.append(_packet(VIDEO_PID, counters, body))
            number += 1
        yield b"".join(packets)


def _packet(pid: int, counters: dict[int, int], body: bytes, *, begins: bool = False, pcr: int | None = None) -> bytes:
    counter = counters[pid] = counters[pid] + 1 & 15
    adaptation = b""
    if pcr is not None:
        base, extension = divmod(pcr, 300)
        adaptation = b"\x07\x10" + ((base % 2**33) << 15 | 0x3F << 9 | extension).to_bytes(6, "big")
    kind = 0x30 if adaptation else 0x10
    return (bytes((0x47, begins << 6 | pid >> 8, pid & 0xFF, kind | counter)) + adaptation + body)[:PACKET].ljust(PACKET, b"\xff")


def _section(pid: int, body: bytes, table: int) -> bytes:
    section = bytes((table, 0xB0, len(body) + 9)) + b"\0\1\xc1\0\0" + body
    return b"\0" + section + crc32(section).to_bytes(4, "big")


def _pid(pid: int) -> bytes:
    return (0xE000 | pid).to_bytes(2, "big")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", help="host:port")
    parser.add_argument("rate_bps", type=float)
    wish = parser.parse_args()
    host, _, port = wish.target.rpartition(":")
    step_s = PACKET * IN_A_DATAGRAM * 8 / wish.rate_bps
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((host, int(port)))
        due_s = time.monotonic()
        for datagram in stream(wish.rate_bps):
            wait_s = due_s - time.monotonic()
            if wait_s > 0 and select.select([sys.stdin], [], [], wait_s)[0]:
                return
            if wait_s < -LATE_S:
                due_s -= wait_s
            with suppress(ConnectionRefusedError):  # nobody listens yet
                out.send(datagram)
            due_s += step_s


if __name__ == "__main__":
    main()
