"""The bitrate rule of belacoder, for comparison: written anew from the constants and conditions that it publishes.

Every 20 ms: the send buffer (packets) and the round trip are each held against a mean, a peak that fades (jitter) and, for the round
trip, a least value that creeps up. Far beyond: to the minimum at once. Beyond a fifth of the latency or a high mark: down by a tenth
and
100 kb/s, four times a second. Beyond a low mark: down by 100 kb/s, five times a second. With a low and steady round trip: up by a
thirtieth and 30 kb/s, twice a
second.
"""

from __future__ import annotations

STEP_DOWN, STEP_UP = 100_000, 30_000
DOWN_SHARE, UP_SHARE = 10, 30
DOWN_MS, FAST_DOWN_MS, UP_MS = 200, 250, 500
ROUND = 100_000


class Belacoder:
    def __init__(self, floor_bps: int, ceiling_bps: int, latency_ms: int) -> None:
        self._floor, self._ceiling, self._latency_ms = floor_bps, ceiling_bps, latency_ms
        self._bps = ceiling_bps  # it begins at the floor, and takes most of a minute
        self._buffer_mean = self._buffer_peak = self._rtt_peak = self._throughput = 0.0
        self._buffer_was = 0
        self._rtt_mean = self._rtt_drift = 0.0
        self._rtt_was, self._rtt_least = 300, 200.0
        self._up_ms = self._down_ms = 0

    def look(self, buffered: int, rtt_ms: float, send_bps: float, now_ms: int) -> int:
        rtt = int(rtt_ms)
        rise = buffered - self._buffer_was
        self._buffer_was = buffered
        self._buffer_mean += (buffered - self._buffer_mean) * 0.01
        self._buffer_peak = max(self._buffer_peak * 0.99, rise)
        step = rtt - self._rtt_was
        self._rtt_was = rtt
        self._rtt_mean = self._rtt_mean * 0.99 + rtt * 0.01 if self._rtt_mean else float(rtt)
        self._rtt_drift = self._rtt_drift * 0.8 + step * 0.2
        self._rtt_least *= 1.001
        if rtt != 100 and rtt < self._rtt_least and self._rtt_drift < 1.0:
            self._rtt_least = rtt
        self._rtt_peak = max(self._rtt_peak * 0.99, step)
        self._throughput = self._throughput * 0.97 + send_bps / 1024 * 0.03
        self._bps = min(max(self._wish(buffered, rtt, now_ms), self._floor), self._ceiling)
        return max(self._bps // ROUND * ROUND, self._floor)

    def _wish(self, buffered: int, rtt: int, now_ms: int) -> int:
        mean, peak = self._buffer_mean, self._buffer_peak
        full = (mean + peak) * 4
        high = min(max(50, mean + max(peak * 3, mean)), self._throughput / 8 * (self._latency_ms / 2) / 1316)
        low = max(50, mean + peak * 2.5)
        slow = self._rtt_mean + max(self._rtt_peak * 4, self._rtt_mean * 0.15)
        calm = self._rtt_least + max(1, self._rtt_peak * 2)
        bps = self._bps
        if bps > self._floor and (rtt >= self._latency_ms // 3 or buffered > full):
            self._down_ms = now_ms + DOWN_MS
            return self._floor
        if now_ms > self._down_ms and (rtt > self._latency_ms // 5 or buffered > high):
            self._down_ms = now_ms + FAST_DOWN_MS
            return bps - STEP_DOWN - bps // DOWN_SHARE
        if now_ms > self._down_ms and (rtt > slow or buffered > low):
            self._down_ms = now_ms + DOWN_MS
            return bps - STEP_DOWN
        if now_ms > self._up_ms and rtt < calm and self._rtt_drift < 0.01:
            self._up_ms = now_ms + UP_MS
            return bps + STEP_UP + bps // UP_SHARE
        return bps
