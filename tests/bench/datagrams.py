"""Both ends of the cpu bench, as processes of their own, and Python's own floor for what is between them.

python -m tests.bench.datagrams pace FILE RATE_BPS SECONDS PORT   evenly spaced datagrams; prints {"datagrams": …}
python -m tests.bench.datagrams sink FIRST_PORT COUNT             counts until interrupted; prints {"datagrams": [a port]}
python -m tests.bench.datagrams relay IN_PORT FIRST_PORT COUNT    recv_into and sendto, nothing else
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from pathlib import Path

from firmware.net.udp import enlarge_receive_buffer
from firmware.wire.ts import DATAGRAM

BUFFER_BYTES = 4 << 20
LOOK_EVERY_S = 0.002  # a sink asleep in recv() would have each send() wake it, and the sender pay for that


def pace(file: str, rate_bps: float, seconds: float, port: int) -> int:
    stream = memoryview(Path(file).read_bytes())
    size = len(stream) // DATAGRAM
    count = min(size, int(seconds * rate_bps / 8 / DATAGRAM))
    gap_ns = DATAGRAM * 8e9 / rate_bps
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        start_ns = time.monotonic_ns()
        for number in range(count):
            left_ns = start_ns + int(number * gap_ns) - time.monotonic_ns()
            if left_ns > 0:
                time.sleep(left_ns / 1e9)
            out.sendto(stream[number * DATAGRAM : (number + 1) * DATAGRAM], ("127.0.0.1", port))
    return count


def sink(first_port: int, count: int) -> list[int]:
    ports = [_receiver(first_port + offset) for offset in range(count)]
    counts = [0] * count
    try:
        while True:
            time.sleep(LOOK_EVERY_S)
            select.select(ports, [], [])
            for place, port in enumerate(ports):
                counts[place] += _drain(port)
    except KeyboardInterrupt:
        return counts


def _drain(port: socket.socket) -> int:
    count = 0
    try:
        while port.recv(2048):
            count += 1
    except BlockingIOError:
        return count
    return count


def relay(port: int, first_port: int, count: int) -> None:
    source, out = _receiver(port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.setblocking(True)
    places = [("127.0.0.1", first_port + offset) for offset in range(count)]
    buffer = memoryview(bytearray(2048))
    while True:
        datagram = buffer[: source.recv_into(buffer)]
        for place in places:
            out.sendto(datagram, place)


def _receiver(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    enlarge_receive_buffer(opened, BUFFER_BYTES)
    opened.bind(("127.0.0.1", port))
    opened.setblocking(False)
    return opened


def main() -> None:
    match sys.argv[1:]:
        case ["pace", file, rate, seconds, port]:
            print(json.dumps({"datagrams": pace(file, float(rate), float(seconds), int(port))}))
        case ["sink", first_port, count]:
            print(json.dumps({"datagrams": sink(int(first_port), int(count))}))
        case ["relay", port, first_port, count]:
            relay(int(port), int(first_port), int(count))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
