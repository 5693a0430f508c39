"""Which of the datagrams that were sent came out at the far end."""

from __future__ import annotations

import socket
import threading
from typing import Literal

from firmware.net.udp import enlarge_receive_buffer
from firmware.wire.seq import Unwrap
from tests.lab.feed import IN_A_DATAGRAM, VIDEO_PID
from tests.lab.recorder import BUFFER_BYTES

PACKET = 188


class Arrivals:
    """A port and a thread; numbers only, so that a long run takes no memory."""

    def __init__(self, kind: Literal["feed", "rtp"]) -> None:
        self._numbers: set[int] = set()
        self.newest = -1
        self.twice = 0
        self._number_of = feed_number if kind == "feed" else RtpNumbers()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        enlarge_receive_buffer(self._socket, BUFFER_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def __len__(self) -> int:
        return len(self._numbers)

    def missing(self, numbers: range) -> int:
        return sum(number not in self._numbers for number in numbers)

    def close(self) -> None:
        self._open = False
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while self._open:
            try:
                datagram = self._socket.recv(2048)
            except TimeoutError:
                continue
            number = self._number_of(datagram)
            if number is None:
                continue
            self.twice += number in self._numbers
            self._numbers.add(number)
            self.newest = max(self.newest, number)


def feed_number(datagram: bytes) -> int | None:
    """Of a datagram of tests/lab/feed.py: its tables are at one end of it at most."""
    for at in (0, PACKET * (IN_A_DATAGRAM - 1)):
        packet = datagram[at : at + PACKET]
        if len(packet) == PACKET and (packet[1] & 31) << 8 | packet[2] == VIDEO_PID:
            begin = 5 + packet[4] if packet[3] & 0x20 else 4
            return int.from_bytes(packet[begin : begin + 8], "big") // IN_A_DATAGRAM
    return None


class RtpNumbers:
    def __init__(self) -> None:
        self._unwrap = Unwrap(16)

    def __call__(self, datagram: bytes) -> int | None:
        return self._unwrap(int.from_bytes(datagram[2:4], "big")) if len(datagram) > 12 else None
