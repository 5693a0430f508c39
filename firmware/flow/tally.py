"""Counters of one end, and the rate since the last look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    refused: int = 0
    rate_bps: float = 0.0
    _seen_bytes: int = 0
    _seen_ns: int = 0

    def look(self, now_ns: int) -> float:
        """The rate since the last look, remembered in `rate_bps`."""
        passed_ns = now_ns - self._seen_ns
        if passed_ns > 0:
            self.rate_bps = (self.bytes - self._seen_bytes) * 8e9 / passed_ns if self._seen_ns else 0.0
            self._seen_bytes, self._seen_ns = self.bytes, now_ns
        return self.rate_bps
