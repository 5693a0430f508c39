"""Does a flow carry anything? A worker that writes snapshots is alive; one whose packets stopped is of no use all the same.

Judged by counters alone, from one snapshot to the next. Nothing is asked of a flow that has nobody to send to, or to which
nothing comes: its far ends are to blame, and starting it anew would mend nothing.
"""

from __future__ import annotations

from firmware.model import Flow
from firmware.status import FlowStatus

PATIENCE_NS = 5_000_000_000


class Progress:
    """`look` at each snapshot. Times are monotonic ns."""

    def __init__(self, flow: Flow, now_ns: int) -> None:
        self._patience_ns = PATIENCE_NS + 2_000_000 * (flow.window_ms + flow.failover_ms)
        self._pid = self._came = self._went = 0  # of the snapshot before: the worker, and packets
        self._idle_since_ns: int | None = None  # while something comes and nothing goes
        self.progressed_ns = now_ns

    def look(self, status: FlowStatus | None, now_ns: int) -> None:
        if status is None or not status.pid:  # no worker, and the parent knows why
            self._idle_since_ns, self.progressed_ns = None, now_ns
            return
        before, self._pid = self._pid, status.pid
        came, self._came = self._came, sum(end.packets for end in status.sources)
        went, self._went = self._went, sum(end.packets for end in status.outputs)
        if before != status.pid:  # that it started is no progress: it may hang each time
            self._idle_since_ns = None
            return
        to_send = status.picture in ("live", "slate") or self._came != came
        to_whom = any(end.state == "connected" for end in status.outputs)
        if self._went != went or not (to_send and to_whom):
            self._idle_since_ns, self.progressed_ns = None, now_ns
        elif self._idle_since_ns is None:
            self._idle_since_ns = now_ns

    def is_stalled(self, now_ns: int) -> bool:
        """Packets come, somebody is there to get them, and nothing goes."""
        return self._idle_since_ns is not None and now_ns - self._idle_since_ns > self._patience_ns
