"""An encoder that is not ours, as far as a flow can tell: MPEG-TS in datagrams, at its own rate, to one or more places."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence

DATAGRAM = 7 * 188


class Sender:
    """Sends `stream` once, at `rate_bps`, while `sent` grows. A multicast group is reached through the loopback interface."""

    def __init__(self, stream: bytes, targets: Sequence[tuple[str, int]], rate_bps: float = 1_000_000) -> None:
        self.sent: list[bytes] = []
        self._datagrams = [stream[at : at + DATAGRAM] for at in range(0, len(stream) - DATAGRAM + 1, DATAGRAM)]
        self._targets = targets
        self._step_s = DATAGRAM * 8 / rate_bps
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        due = time.monotonic()
        for datagram in self._datagrams:
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self.sent.append(datagram)
            for target in self._targets:
                self._socket.sendto(datagram, target)
            due += self._step_s

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()
