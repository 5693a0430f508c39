"""One stream out of one or two legs: straight through, merged, or one at a time."""

from __future__ import annotations

from typing import Protocol

from firmware.model import Flow, RtpSource, Source, SrtCallerSource, SrtListenerSource
from firmware.status import MergeStatus
from firmware.wire.merge import Merge

SILENT_NS = 1_000_000_000  # a leg that delivered nothing for so long helps nobody
REORDER_NS = 40_000_000  # how long a hole in one RTP stream waits for a straggler
NUMBERED = (RtpSource, SrtListenerSource, SrtCallerSource)


class Recover(Protocol):
    """`number` is the leg's own, unwrapped; -1 where the protocol has none. Times are monotonic ns."""

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int) -> None: ...

    def restart(self, leg: int) -> None: ...

    def pop(self, now_ns: int) -> list[bytes]: ...

    def due_ns(self) -> int | None: ...

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None: ...


def recover_for(flow: Flow) -> Recover:
    sources = flow.sources
    if len(sources) == 1:
        return Straight() if not isinstance(sources[0], RtpSource) else Merged(Merge(REORDER_NS, legs=1, prompt=True), REORDER_NS)
    if flow.recover == "merge" and all(isinstance(source, NUMBERED) for source in sources):
        window_ns = flow.window_ms * 1_000_000
        return Merged(Merge(window_ns, legs=len(sources), shared_numbers=_both_rtp(sources)), window_ns)
    return Failover(flow.failover_ms * 1_000_000)


def _both_rtp(sources: list[Source]) -> bool:
    return all(isinstance(source, RtpSource) for source in sources)


class Straight:
    """What comes goes, at once."""

    def __init__(self) -> None:
        self._out: list[bytes] = []

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int) -> None:
        self._out.append(datagram)

    def restart(self, leg: int) -> None:
        pass

    def pop(self, now_ns: int) -> list[bytes]:
        out, self._out = self._out, []
        return out

    def due_ns(self) -> int | None:
        return 0 if self._out else None

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None:
        return None


class Merged:
    """Two copies, hitless: `wire.merge`."""

    def __init__(self, merge: Merge, window_ns: int) -> None:
        self.merge = merge
        self.window_ns = window_ns
        self.push = merge.push
        self.restart = merge.restart
        self.pop = merge.pop
        self.due_ns = merge.due_ns

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None:
        merge = self.merge
        if len(names) < 2:
            return None
        skew_ns = merge.skew_ns()
        helping = [merge.locked(leg) and now_ns - (merge.legs[leg].delivered_ns or 0) < SILENT_NS for leg in range(len(names))]
        return MergeStatus(
            state="merged" if all(helping) else "one leg" if any(helping) else "waiting",
            message="; ".join(f"{name}: {told}" for leg, name in enumerate(names) if (told := self._report(leg))),
            skew_ms=None if skew_ns is None else round(skew_ns / 1e6, 1),
            window_ms=self.window_ns // 1_000_000,
            released=merge.released,
            lost=merge.lost,
            saved_by={name: merge.legs[leg].saved for leg, name in enumerate(names)},
        )

    def _report(self, leg: int) -> str:
        """Why the leg does not help, in words; empty when it does."""
        own = self.merge.legs[leg]
        if own.offset is None:
            return own.report
        behind_ns = own.lag_ns - min(other.lag_ns for other in self.merge.legs if other.offset is not None)
        if behind_ns > self.window_ns:
            behind_ms = round(behind_ns / 1e6)
            return f"{behind_ms} ms behind the other source: it cannot help; the window needs {behind_ms + 50} ms"
        return ""


class Failover(Straight):
    """Both hot, one plays: the other takes over when it has been silent for `silence_ns`."""

    def __init__(self, silence_ns: int) -> None:
        super().__init__()
        self.silence_ns = silence_ns
        self.playing = 0
        self.switches = 0
        self._heard_ns = 0  # last datagram of the leg that plays

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int) -> None:
        if leg != self.playing:
            if now_ns - self._heard_ns < self.silence_ns:
                return
            self.playing = leg
            self.switches += bool(self._heard_ns)
        self._heard_ns = now_ns
        self._out.append(datagram)

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None:
        return MergeStatus(
            state="failover" if self._heard_ns else "waiting", message=f"{names[self.playing]} plays, {self.switches} switches"
        )
