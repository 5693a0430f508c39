"""RIST pairs over real librist on loopback, and packets as a stranger would forge them."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from firmware.net import rist

HOST = "127.0.0.1"
PASSPHRASE = "abcdefghijklmnopqrstuvwxyz"
LATENCY_MS = 150


class RistLab:
    """Opens receivers and senders, and closes them after the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def port(self) -> int:
        """An even port, free together with the next one."""
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
                first.bind((HOST, 0))
                port = int(first.getsockname()[1])
                if port % 2 == 0:
                    try:
                        second.bind((HOST, port + 1))
                    except OSError:
                        continue
                    return port

    def receiver(self, *ports: int, **wish: Any) -> rist.RistReceiver:
        settings: dict[str, Any] = {"latency_ms": LATENCY_MS, "admit": lambda _address, _port: True} | wish
        opened = rist.RistReceiver([rist.Address(HOST, port) for port in ports], **settings)
        self._stack.callback(opened.close)
        return opened

    def sender(self, *ports: int | rist.Path, **wish: Any) -> rist.RistSender:
        paths = [port if isinstance(port, rist.Path) else rist.Path(HOST, port) for port in ports]
        opened = rist.RistSender(paths, **({"latency_ms": LATENCY_MS} | wish))
        self._stack.callback(opened.close)
        return opened

    def pair(self, **wish: Any) -> tuple[rist.RistReceiver, rist.RistSender]:
        port = self.port()
        return self.receiver(port, **wish), self.sender(port, **wish)

    def feed(self, sender: rist.RistSender) -> Feed:
        return self._stack.enter_context(Feed(sender))


class Feed:
    """Numbered datagrams to a sender, one a millisecond, until the end of the `with`."""

    def __init__(self, sender: rist.RistSender) -> None:
        self.sent: list[bytes] = []
        self._sender = sender
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        due = time.monotonic()
        for number in itertools.count():
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            datagram = numbered(number)
            self._sender.send([datagram])
            self.sent.append(datagram)
            due += 0.001

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def numbered(number: int) -> bytes:
    return b"\x47%07d" % number + b"PRESSBOX" * 163 + b"%04d" % (number % 10_000)


def number_of(data: bytes) -> int:
    return int(data[1:8])


class Collect:
    """What a receiver gives, so far."""

    def __init__(self, receiver: rist.RistReceiver) -> None:
        self.receiver = receiver
        self.got: list[rist.Datagram] = []

    @property
    def numbers(self) -> list[int]:
        return [number_of(one.data) for one in self.got]

    def until(self, enough: Callable[[], object], what: str, timeout_s: float = 10.0) -> list[rist.Datagram]:
        deadline = time.monotonic() + timeout_s
        while not enough():
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {timeout_s:g} s, {len(self.got)} datagrams came; {list(self.receiver.log.lines)[-3:]}")
            self.got += self.receiver.receive(10)
        return self.got

    def count(self, wanted: int, timeout_s: float = 10.0) -> list[rist.Datagram]:
        goal = len(self.got) + wanted
        return self.until(lambda: len(self.got) >= goal, f"{wanted} datagrams", timeout_s)

    def during(self, seconds: float) -> list[rist.Datagram]:
        """All that comes in so long: for what must not come."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, "the time goes by")
        return self.got


def whole(numbers: list[int]) -> bool:
    """Nothing is missing, twice or out of order between the first and the last."""
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# Main profile, TR-06-2: GRE flags C 0x80, K 0x20, S 0x10; version 1 with the bit for AES-256; type 0x88B6; ports; RTP or RTCP.
_HEADERS: dict[str, Callable[[int], bytes]] = {
    "no sequence number": lambda _n: bytes((0x00, 0x08)) + b"\x88\xb6",
    "not encrypted": lambda n: bytes((0x10, 0x08)) + b"\x88\xb6" + struct.pack(">I", n),
    "nonce 0": lambda n: bytes((0x30, 0x48)) + b"\x88\xb6" + struct.pack(">II", 0, n),
    "checksum and nonce 0": lambda n: bytes((0xB0, 0x48)) + b"\x88\xb6" + struct.pack(">III", 0, 0, n),
}
FORGERIES = list(_HEADERS)
_PORTS = struct.pack(">HH", 1971, 1968)
_SSRC = 0x1234


def _rtcp() -> bytes:
    name = b"forger"
    sdes = struct.pack(">I", _SSRC) + bytes((1, len(name))) + name + b"\0"
    sdes += bytes(-len(sdes) % 4)
    return struct.pack(">BBHI", 0x80, 201, 1, _SSRC) + struct.pack(">BBH", 0x81, 202, len(sdes) // 4) + sdes


def _rtp(number: int) -> bytes:
    ticks = int(time.monotonic() * 90_000) & 0xFFFFFFFF
    return struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, ticks, _SSRC) + numbered(number)


def forge(kind: str, port: int, count: int = 150) -> int:
    """Send a whole session that was never encrypted; gives how many datagrams that was."""
    header = _HEADERS[kind]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        forger.connect((HOST, port))
        sent = 0
        for number in range(count):
            bodies = [_rtcp(), _rtp(number)] if number % 10 == 0 else [_rtp(number)]
            for body in bodies:
                forger.send(header(sent) + _PORTS + body)
                sent += 1
            time.sleep(0.001)
    return sent
