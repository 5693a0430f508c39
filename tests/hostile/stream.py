"""The right sender's stream, numbered, and the book that its far end keeps of it."""

from __future__ import annotations

import socket
import struct
import threading
import time

from firmware.wire.ts import PACKET

RATE_BPS = 4_000_000
PACKETS = 7
_MARK = b"SEQ!"
_NUMBER = struct.Struct("!4sQ")


def numbered(number: int) -> bytes:
    """A datagram of MPEG-TS: one PID, unbroken continuity counters, its number in each packet."""
    body = _NUMBER.pack(_MARK, number).ljust(PACKET - 4, b"\xa5")
    return b"".join(bytes((0x47, 0x01, 0x00, 0x10 | number * PACKETS + place & 15)) + body for place in range(PACKETS))


class RightSender:
    """Sends to a port of this machine until it is closed."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self._stop = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to = ("127.0.0.1", port)
        self._thread = threading.Thread(target=self._run, name="right sender", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        step_s, began = PACKETS * PACKET * 8 / RATE_BPS, time.monotonic()
        while not self._stop.wait(max(0.0, began + self.sent * step_s - time.monotonic())):
            self._socket.sendto(numbered(self.sent), self._to)
            self.sent += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()


class Ledger:
    """What came of it. Every figure is in datagrams; `take` is called by one thread."""

    def __init__(self) -> None:
        self.came = self.missing = self.again = self.strange = 0
        self.last = -1
        self.at = 0.0

    def take(self, datagram: bytes) -> None:
        number = self._number_of(datagram)
        if number is None:
            self.strange += 1
            return
        self.at = time.monotonic()
        self.came += 1
        if number <= self.last:
            self.again += 1
            return
        if self.last >= 0:
            self.missing += number - self.last - 1
        self.last = number

    def _number_of(self, datagram: bytes) -> int | None:
        if datagram[4:8] != _MARK:
            return None
        number = int(_NUMBER.unpack_from(datagram, 4)[1])
        return number if datagram == numbered(number) else None

    def harm(self) -> tuple[int, int, int]:
        """Missing; doubled or out of order; and not of the right sender."""
        return self.missing, self.again, self.strange
