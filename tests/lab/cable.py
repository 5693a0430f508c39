"""Sees full packets come out of a cable, from whom and when: sooner and surer than any status can tell it. Needs root."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Self

ETH_P_IP = 0x0800
FULL_BYTES = 1000  # control packets are shorter
_HEADERS = 14 + 20  # Ethernet and IP without options

Sender = tuple[str, int]


class Cable:
    """Opened in the network namespace that the thread is in. `forget`, then ask when somebody's first full packet came."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
        self._socket.bind((interface, ETH_P_IP))
        self._socket.settimeout(0.2)
        self._first_s: dict[Sender, float] = {}
        self._open = True
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    def forget(self) -> None:
        self._first_s = {}

    def first_s(self, sender: Sender) -> float | None:
        """Monotonic seconds; None while none came."""
        return self._first_s.get(sender)

    def close(self) -> None:
        self._open = False
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while self._open:
            try:
                frame, (_, _, kind, _, _) = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            if kind != socket.PACKET_OUTGOING and len(frame) >= FULL_BYTES:
                (port,) = struct.unpack_from("!H", frame, _HEADERS)
                self._first_s.setdefault((socket.inet_ntoa(frame[26:30]), port), time.monotonic())
