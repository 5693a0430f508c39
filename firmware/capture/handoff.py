"""One list a picture, from the capture worker to the flow worker, over a Unix stream socket; the other way orders, one line each."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

HEADER = struct.Struct("!4sIQ")  # magic, length of the payload, capture time in ns of CLOCK_MONOTONIC
MAGIC = b"PBL1"
LARGEST_LIST = 4 << 20
LONGEST_ORDER = 4096
RETRY_S = 0.1


class HandoffError(ValueError):
    """What came is not ours; close the connection."""


class Receiver:
    """Bytes in, lists out."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The lists that are whole now, as (capture_ns, payload); raises `HandoffError`."""
        self._waiting += data
        lists, at = [], 0
        while len(self._waiting) - at >= HEADER.size:
            magic, length, capture_ns = HEADER.unpack_from(self._waiting, at)
            if magic != MAGIC:
                raise HandoffError(f"a list starts with {magic!r}; it must start with {MAGIC!r}")
            if length > LARGEST_LIST:
                raise HandoffError(f"a list of {length} bytes; {LARGEST_LIST} are allowed")
            end = at + HEADER.size + length
            if len(self._waiting) < end:
                break
            lists.append((capture_ns, bytes(self._waiting[at + HEADER.size : end])))
            at = end
        del self._waiting[:at]
        return lists


class Sender:
    """Gives lists to whoever listens at `path`. Late ones are dropped whole and counted; nothing is ever cut in two."""

    def __init__(self, path: Path, patience_s: float) -> None:
        self._path = path
        self._patience_s = patience_s
        self._socket: socket.socket | None = None
        self._rest = b""  # of a list that has gone in part
        self._heard = b""  # of an order that has come in part
        self._retry_at = 0.0
        self.dropped = 0

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> bool:
        """Try, at most every `RETRY_S`; True when this very call brought the connection."""
        now = time.monotonic()
        if self._socket is not None or now < self._retry_at:
            return False
        self._retry_at = now + RETRY_S
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            fresh.setblocking(False)
            fresh.connect(str(self._path))
        except OSError:
            fresh.close()
            return False
        self._socket, self._rest, self._heard = fresh, b"", b""
        return True

    def send(self, capture_ns: int, payload: bytes) -> bool:
        """False when the list was dropped. Takes at most `patience_s`."""
        until = time.monotonic() + self._patience_s
        self._rest = self._write(self._rest, until)
        if not self._rest and self._socket is not None:
            whole = HEADER.pack(MAGIC, len(payload), capture_ns) + payload
            rest = self._write(whole, until)
            if self._socket is not None and len(rest) < len(whole):
                self._rest = rest
                return True
        self.dropped += 1
        return False

    def orders(self) -> list[bytes]:
        """What the flow worker said since the last call. Never waits."""
        if self._socket is None:
            return []
        try:
            self._socket.settimeout(0)
            self._heard += self._socket.recv(LONGEST_ORDER)
        except BlockingIOError:
            return []
        except OSError:
            self.close()
            return []
        *lines, self._heard = self._heard.split(b"\n")
        if len(self._heard) >= LONGEST_ORDER:
            self._heard = b""
        return lines

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest, self._heard = None, b"", b""

    def _write(self, data: bytes, until: float) -> bytes:
        """What could not be written by then."""
        left = memoryview(data)
        try:
            while left and self._socket is not None:
                self._socket.settimeout(max(0.0, until - time.monotonic()))
                left = left[self._socket.send(left) :]
        except (BlockingIOError, TimeoutError):
            return bytes(left)
        except OSError:
            self.close()
        return b""
