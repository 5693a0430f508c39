"""One stream out of one or two legs: straight through, merged, or one at a time."""

from __future__ import annotations

from typing import Protocol

from firmware.model import Flow, RistSource, RtpFecSource, RtpSource, Source, SrtCallerSource, SrtListenerSource
from firmware.status import Account, EndStatus, MergeStatus
from firmware.wire.merge import Merge

SILENT_NS = 1_000_000_000  # a leg that delivered nothing for so long helps nobody
REORDER_NS = 40_000_000  # how long a hole in one RTP stream waits for a straggler
STEADY_NS = 5_000_000_000  # how long the primary source must have been well before it plays again
LONGEST_STEADY_NS = 60_000_000_000
NUMBERED = (RtpSource, SrtListenerSource, SrtCallerSource, RistSource)


class Recover(Protocol):
    """`number` is the leg's own, unwrapped; -1 where the protocol has none. Times are monotonic ns."""

    events: list[str]
    """What happened since somebody emptied it, in words."""

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None: ...

    def restart(self, leg: int) -> None: ...

    def pop(self, now_ns: int) -> list[bytes]: ...

    def due_ns(self) -> int | None: ...

    def wait_for_repairs(self, repair_ns: int) -> str:
        """A source's FEC needs so long; what is wrong in words when it will not get it."""
        ...

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None: ...

    def account(self, sources: list[EndStatus]) -> Account: ...


def recover_for(flow: Flow) -> Recover:
    sources = flow.sources
    if len(sources) == 1:
        if not isinstance(sources[0], RtpSource):
            return Straight()
        # With FEC everything waits as long as a repair may take, so that a repaired datagram leaves at its own time
        return Merged(Merge(REORDER_NS, legs=1, prompt=not isinstance(sources[0], RtpFecSource)), REORDER_NS)
    if flow.recover == "merge" and all(isinstance(source, NUMBERED) for source in sources):
        window_ns = flow.window_ms * 1_000_000
        return Merged(Merge(window_ns, legs=len(sources), shared_numbers=_both_rtp(sources)), window_ns)
    names = [source.name for source in sources]
    return Failover(flow.failover_ms * 1_000_000, names, names.index(flow.primary) if flow.primary else None)


def _both_rtp(sources: list[Source]) -> bool:
    return all(isinstance(source, RtpSource) for source in sources)


def _carried(sources: list[EndStatus]) -> Account:
    """What the sources themselves know."""
    return Account(
        carried=sum(source.packets for source in sources),
        lost=sum(source.lost for source in sources),
        by_retransmission=sum(source.repaired for source in sources),
    )


class Straight:
    """What comes goes, at once."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._out: list[bytes] = []

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        self._out.append(datagram)

    def restart(self, leg: int) -> None:
        pass

    def pop(self, now_ns: int) -> list[bytes]:
        out, self._out = self._out, []
        return out

    def due_ns(self) -> int | None:
        return 0 if self._out else None

    def wait_for_repairs(self, repair_ns: int) -> str:
        return ""

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None:
        return None

    def account(self, sources: list[EndStatus]) -> Account:
        return _carried(sources)


class Merged:
    """One stream of numbers put in order, or two copies, hitless: `wire.merge`."""

    def __init__(self, merge: Merge, window_ns: int) -> None:
        self.merge = merge
        self.window_ns = window_ns
        self.events: list[str] = []
        self.push = merge.push
        self.restart = merge.restart
        self.pop = merge.pop
        self.due_ns = merge.due_ns
        self._helped: list[bool] = []

    def wait_for_repairs(self, repair_ns: int) -> str:
        if len(self.merge.legs) == 1:
            if repair_ns > self.merge.window_ns:
                self.merge.window_ns = repair_ns
            return ""
        if repair_ns > self.window_ns:
            needed_ms, window_ms = repair_ns / 1e6, self.window_ns // 1_000_000
            return f"its FEC repairs up to {needed_ms:.0f} ms late, and the merge waits {window_ms} ms: set window_ms higher"
        return ""

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None:
        merge = self.merge
        if len(names) < 2:
            return None
        skew_ns = merge.skew_ns()
        helping = [merge.locked(leg) and now_ns - (merge.legs[leg].delivered_ns or 0) < SILENT_NS for leg in range(len(names))]
        for name, helps, helped in zip(names, helping, self._helped, strict=False):
            if helps != helped:
                self.events.append(f"{name}: {'is merged' if helps else 'is not merged any more'}")
        self._helped = helping
        return MergeStatus(
            state="merged" if all(helping) else "one leg" if any(helping) else "waiting",
            message="; ".join(f"{name}: {told}" for leg, name in enumerate(names) if (told := self._report(leg))),
            skew_ms=None if skew_ns is None else round(skew_ns / 1e6, 1),
            window_ms=self.window_ns // 1_000_000,
            released=merge.released,
            lost=merge.lost,
            saved_by={name: merge.legs[leg].saved for leg, name in enumerate(names)},
        )

    def account(self, sources: list[EndStatus]) -> Account:
        merge = self.merge
        account = _carried(sources)
        account.carried, account.lost = merge.released, merge.lost
        account.by_fec = sum(source.fec_repaired for source in sources)
        if len(sources) > 1:
            account.by_merge = sum(leg.saved for leg in merge.legs)
            account.alone = {source.name: leg.missed for source, leg in zip(sources, merge.legs, strict=True)}
        if any(source.fec_matrix for source in sources):
            account.without_fec = merge.lost + merge.rebuilt
        return account

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
    """Both hot, one plays: the other takes over when it has been silent for `silence_ns`.

    The primary one plays again once it has been steady for STEADY_NS; each time it falls silent soon after that, it must be
    steady for twice as long, so that a source which comes and goes makes no picture that comes and goes.
    """

    def __init__(self, silence_ns: int, names: list[str], primary: int | None = None) -> None:
        super().__init__()
        self.silence_ns = silence_ns
        self.playing = primary or 0
        self.switches = 0
        self._names = names
        self._primary = primary
        self._heard_ns = [0] * len(names)
        self._steady_since_ns = [0] * len(names)
        self._must_be_steady_ns = STEADY_NS
        self._returned_ns = 0

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        if self._primary is not None and not any(self._heard_ns):
            self._heard_ns[self._primary] = now_ns  # at the start it has as long to come as after a silence
        if now_ns - self._heard_ns[leg] > self.silence_ns:
            self._steady_since_ns[leg] = now_ns
        self._heard_ns[leg] = now_ns
        if leg == self.playing or self._may_take_over(leg, now_ns):
            self._out.append(datagram)

    def _may_take_over(self, leg: int, now_ns: int) -> bool:
        if now_ns - self._heard_ns[self.playing] >= self.silence_ns:
            why = "fell silent"
            if self.playing == self._primary and now_ns - self._returned_ns < 2 * self._must_be_steady_ns and self._returned_ns:
                self._must_be_steady_ns = min(2 * self._must_be_steady_ns, LONGEST_STEADY_NS)
        elif leg == self._primary and now_ns - self._steady_since_ns[leg] >= self._must_be_steady_ns:
            why = f"gives way to the primary source, steady for {self._must_be_steady_ns / 1e9:.0f} s"
            self._returned_ns = now_ns
        else:
            return False
        if self._heard_ns[self.playing]:
            self.switches += 1
            self.events.append(f"{self._names[leg]} plays: {self._names[self.playing]} {why}")
        self.playing = leg
        return True

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None:
        hot = [name for name, heard_ns in zip(names, self._heard_ns, strict=True) if heard_ns and now_ns - heard_ns < self.silence_ns]
        return MergeStatus(
            state="failover" if any(self._heard_ns) else "waiting",
            message=f"{names[self.playing]} plays, {self.switches} switches" + ("" if len(hot) == len(names) else "; no second source"),
            playing=names[self.playing] if hot else "",
            switches=self.switches,
        )
