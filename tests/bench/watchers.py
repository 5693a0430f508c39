"""Threads of the latency bench: one reads frame numbers off a receiver's pictures, one taps our sender's wire."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from dataclasses import dataclass

from firmware.net.udp import enlarge_receive_buffer
from hw.camera.pattern import read_counter
from tests.bench.demux import Demux
from tests.bench.player import CORNER_HEIGHT, CORNER_WIDTH, Decoder

CORNER = CORNER_WIDTH * CORNER_HEIGHT


class Screen:
    """When each frame number was first to be seen, in monotonic ns."""

    def __init__(self, player: subprocess.Popen[bytes]) -> None:
        self.seen_ns: dict[int, int] = {}
        self._player = player
        threading.Thread(target=self._run, name="screen", daemon=True).start()

    def _run(self) -> None:
        assert self._player.stdout is not None
        pipe = self._player.stdout
        while len(luma := _read(pipe.fileno(), CORNER)) == CORNER:
            self.seen_ns.setdefault(read_counter(luma, CORNER_WIDTH), time.monotonic_ns())


def _read(descriptor: int, size: int) -> bytes:
    from os import read

    parts = b""
    while len(parts) < size and (part := read(descriptor, size - len(parts))):
        parts += part
    return parts


@dataclass(frozen=True, slots=True)
class OnTheWire:
    first_ns: int
    last_ns: int


class Tap:
    """A second output of our sender. Its pictures' PTS are their capture times; the burnt-in counter of the first says which is which."""

    def __init__(self, fps: int) -> None:
        self.fps = fps
        self.wire: dict[int, OnTheWire] = {}  # by frame number
        self.disagreeing = 0  # pictures whose number by PTS is not the one burnt in, of those looked at
        self.checked = 0
        self.start_ns: int | None = None  # capture of picture 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        enlarge_receive_buffer(self._socket, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self._open = True
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def number_of(self, pts_90k: int) -> int:
        """Frame number by capture time."""
        return round((self._ns(pts_90k) - (self.start_ns or 0)) * self.fps / 1e9)

    def close(self) -> None:
        self._open = False
        self._thread.join()
        self._socket.close()

    def _ns(self, pts_90k: int) -> int:
        """CLOCK_MONOTONIC of that PTS; it wraps after 26 hours."""
        now_90k = time.monotonic_ns() * 9 // 100_000
        return (now_90k - (now_90k - pts_90k) % (1 << 33)) * 100_000 // 9

    def _run(self) -> None:
        demux, decoder = Demux(), Decoder()
        while self._open:
            try:
                datagram = self._socket.recv(2048)
            except TimeoutError:
                continue
            for picture in demux.push(datagram, time.monotonic_ns()):
                if self.checked < self.fps:
                    self._check(decoder, picture.data, picture.pts_90k)
                self.wire[self.number_of(picture.pts_90k)] = OnTheWire(picture.first_ns, picture.last_ns)

    def _check(self, decoder: Decoder, data: bytes, pts_90k: int) -> None:
        """Read the number off the picture: the first lays the line, the next must lie on it."""
        for shown in decoder.decode(data):
            number = read_counter(memoryview(shown.planes[0]), shown.planes[0].line_size)
            if self.start_ns is None:
                self.start_ns = self._ns(pts_90k) - number * 1_000_000_000 // self.fps
            self.checked += 1
            self.disagreeing += self.number_of(pts_90k) != number
