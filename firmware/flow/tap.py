"""What leaves a flow, for its recorder: ten times a second, never waiting."""

from __future__ import annotations

from pathlib import Path

from firmware.capture.handoff import LARGEST_LIST, Sender
from firmware.wire.ts import PACKET


class Tap:
    """`push` what goes to the outputs, `tick` ten times a second. What the recorder does not take at once is dropped and counted."""

    def __init__(self, path: Path) -> None:
        self._sender = Sender(path, 0.0)
        self._waiting: list[bytes] = []
        self._size = 0
        self.dropped_bytes = 0

    def push(self, datagrams: list[bytes]) -> None:
        self._waiting += datagrams
        self._size += sum(map(len, datagrams))
        if self._size > LARGEST_LIST:  # the loop was held up for long
            self.dropped_bytes += self._size
            self._waiting, self._size = [], 0

    def tick(self, now_ns: int) -> None:
        self._sender.connect()
        if not self._size:
            return
        whole = b"".join(datagram for datagram in self._waiting if not len(datagram) % PACKET)
        self._waiting, self._size = [], 0
        if not self._sender.send(now_ns, whole):
            self.dropped_bytes += len(whole)

    def close(self) -> None:
        self._sender.close()
