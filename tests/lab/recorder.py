"""Takes down what an output sends: every datagram, in order, with its arrival time."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from firmware.net.udp import enlarge_receive_buffer

BUFFER_BYTES = 16 << 20


class Recorder:
    """A UDP port and a thread. `strip` bytes (12 for RTP) are left out of what is kept."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0, *, strip: int = 0, see: Callable[[bytes], None] | None = None) -> None:
        self.datagrams: list[bytes] = []
        self.times: list[float] = []
        self._strip = strip
        self._see = see
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        enlarge_receive_buffer(self._socket, BUFFER_BYTES)
        self._socket.bind((address, port))
        self._socket.settimeout(0.2)
        self._open = True
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        self._open = False
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while self._open:
            try:
                datagram = self._socket.recv(2048)[self._strip :]
            except TimeoutError:
                continue
            self.times.append(time.monotonic())
            self.datagrams.append(datagram)
            if self._see is not None:
                self._see(datagram)

    def longest_silence_s(self, since: float = 0.0, until: float = float("inf")) -> float:
        times = [t for t in self.times if since <= t <= until]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


@dataclass(slots=True)
class Difference:
    """Of what came against what was sent, in datagrams, between the first and the last that came."""

    compared: int
    lost: int
    duplicated: int
    disordered: int

    def __bool__(self) -> bool:
        return bool(self.lost or self.duplicated or self.disordered)


def difference(sent: list[bytes], got: list[bytes]) -> Difference:
    """`got` may begin later and end earlier than `sent`; between, it should be the same. Alike datagrams (null packets) count by number."""
    if not got or not sent:
        return Difference(0, 0, 0, 0)
    unique = Counter(sent)
    places = {d: n for n, d in enumerate(sent) if unique[d] == 1}
    anchored = [(n, places[d]) for n, d in enumerate(got) if d in places]
    if not anchored:
        raise AssertionError("nothing that came was sent")
    (first_got, first_sent), (last_got, last_sent) = anchored[0], anchored[-1]
    part_sent, part_got = sent[first_sent : last_sent + 1], got[first_got : last_got + 1]
    disordered = sum(b[1] <= a[1] for a, b in itertools.pairwise(anchored))
    missing, extra = Counter(part_sent) - Counter(part_got), Counter(part_got) - Counter(part_sent)
    same = part_sent == part_got
    return Difference(len(part_got), missing.total(), extra.total(), disordered if not same else 0)
