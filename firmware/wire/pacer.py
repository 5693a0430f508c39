"""Smooths a received stream by its own clock: datagrams leave on the line that the PCRs draw, not in the bursts in which they came.

Between two PCRs the rate is constant (ISO/IEC 13818-1, 2.4.2.2), so a datagram's time is its place on the straight
line between them. The line is laid `delay_ns` behind the arrival of the first PCR, and is laid anew when the clock jumps
or when data come too late for it.
"""

from __future__ import annotations

from collections import deque

from firmware.wire import ts

LONGEST_STEP = ts.PCR_HZ // 5  # 200 ms between PCRs is a jump, not a step


class Pacer:
    """`push` lists of datagrams, `pop` what is due. Times are monotonic ns."""

    def __init__(self, delay_ns: int) -> None:
        self.delay_ns = delay_ns
        self.relaid = 0
        self._waiting: deque[bytes] = deque()  # since the last PCR: their time is not known yet
        self._ready: deque[tuple[int, bytes]] = deque()
        self._pid: int | None = None
        self._pcr: int | None = None
        self._pcr_ns = 0  # when the last PCR leaves

    def push(self, datagram: bytes, now_ns: int) -> None:
        self._waiting.append(datagram)
        if ts.is_transport_stream(datagram):
            for at in range(0, len(datagram), ts.PACKET):
                pcr = ts.pcr_of(datagram, at)
                if pcr is not None and self._pid in (None, ts.pid_of(datagram, at)):
                    self._pid = ts.pid_of(datagram, at)
                    self._on_pcr(pcr, now_ns)
                    return
        if len(self._waiting) * ts.DATAGRAM > 4_000_000:  # no PCR in 4 MB: there is nothing to pace by
            self._release_waiting(now_ns, now_ns)

    def pop(self, now_ns: int) -> list[bytes]:
        out = []
        while self._ready and self._ready[0][0] <= now_ns:
            out.append(self._ready.popleft()[1])
        return out

    def due_ns(self) -> int | None:
        return self._ready[0][0] if self._ready else None

    def _on_pcr(self, pcr: int, now_ns: int) -> None:
        step = (pcr - self._pcr) % ts.PCR_MODULUS if self._pcr is not None else LONGEST_STEP + 1
        self._pcr = pcr
        end_ns = self._pcr_ns + step * 1000 // 27
        if step > LONGEST_STEP or not now_ns <= end_ns <= now_ns + 2 * self.delay_ns:
            self.relaid += 1
            end_ns = now_ns + self.delay_ns
            begin_ns = self._ready[-1][0] if self._ready else now_ns
        else:
            begin_ns = self._pcr_ns
        self._release_waiting(min(begin_ns, end_ns), end_ns)
        self._pcr_ns = end_ns

    def _release_waiting(self, begin_ns: int, end_ns: int) -> None:
        """Spread what waits over (begin, end]; the last of it, which brought the PCR, leaves at the end."""
        count = len(self._waiting)
        for n, datagram in enumerate(self._waiting, 1):
            self._ready.append((begin_ns + (end_ns - begin_ns) * n // count, datagram))
        self._waiting.clear()
