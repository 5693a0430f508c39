"""Signatures that were used, so that a changing request is taken once.

A signature is good for five minutes either way of its date. Those of changing requests are remembered for as long, in memory and, so that a
restart forgets none, in a file of the run folder. At most `CAPACITY` are held. When there are more, the ones with the oldest dates go, and
from then on what was signed no later than the newest of them is refused too, because it can no longer be told from a replay.

A clock that is set back by more than `KEPT_S` - five minutes makes old signatures current again after they were forgotten. Nothing but the
clock could tell; behind TLS nobody has an old request to send.
"""

from __future__ import annotations

import heapq
import os
import threading
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from firmware.secrets import write_private

CAPACITY = 20_000
KEPT_S = 900


class Overfull(Exception):
    """So many changes within minutes that a request of this date cannot be told from a replay."""


class Replays:
    def __init__(self, kept: Path | None = None, capacity: int = CAPACITY) -> None:
        self._kept, self._capacity = kept, capacity
        self._first_use_s: dict[str, float] = {}
        self._by_date: list[tuple[int, str]] = []
        self._floor_s = 0
        self._lines = 0
        self._lock = threading.Lock()
        if kept:
            self._load(kept)

    def __len__(self) -> int:
        return len(self._first_use_s)

    def take(self, signature: str, date_s: int, now_s: float) -> float | None:
        """None for the first use, which is remembered; else when that was."""
        with self._lock:
            used_s = self._first_use_s.get(signature)
            if used_s is not None:
                return used_s
            self._forget(now_s)
            if date_s <= self._floor_s:
                raise Overfull
            self._remember(signature, date_s, now_s)
            self._write(f"{date_s} {now_s:.3f} {signature}\n")
            return None

    def _remember(self, signature: str, date_s: int, now_s: float) -> None:
        self._first_use_s[signature] = now_s
        heapq.heappush(self._by_date, (date_s, signature))
        while len(self._by_date) > self._capacity:
            self._floor_s = max(self._floor_s, self._drop())

    def _forget(self, now_s: float) -> None:
        while self._by_date and self._by_date[0][0] < now_s - KEPT_S:
            self._drop()
        if self._floor_s > now_s + KEPT_S:  # the clock was set back
            self._floor_s = 0

    def _drop(self) -> int:
        date_s, signature = heapq.heappop(self._by_date)
        del self._first_use_s[signature]
        return date_s

    def _load(self, kept: Path) -> None:
        try:
            lines = kept.read_text(errors="replace").splitlines()
        except OSError:
            return
        for line in lines:
            with suppress(ValueError):  # a line that a crash cut short
                date, used, signature = line.split(" ")
                if len(signature) == 64 and signature not in self._first_use_s:
                    self._remember(signature, int(date), float(used))
        self._rewrite(kept)

    def _write(self, line: str) -> None:
        """A run folder that is full costs the memory of a restart, not the change."""
        if self._kept is None:
            return
        if self._lines >= 2 * self._capacity:
            self._rewrite(self._kept)
            return
        with suppress(OSError):
            descriptor = os.open(self._kept, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        self._lines += 1

    def _rewrite(self, kept: Path) -> None:
        fresh = kept.with_name(f".{kept.name}.{token_hex(4)}")
        lines = [f"{date_s} {self._first_use_s[signature]:.3f} {signature}\n" for date_s, signature in self._by_date]
        self._lines = len(lines)
        try:
            write_private(fresh, "".join(lines).encode())
            os.replace(fresh, kept)
        except OSError:
            fresh.unlink(missing_ok=True)
