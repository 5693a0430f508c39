"""One stream out of one or two legs: straight through, merged, or one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from firmware.model import Flow, RistSource, RtpFecSource, RtpSource, Source, SrtCallerSource, SrtListenerSource
from firmware.status import Account, EndStatus, MergeStatus
from firmware.wire.merge import MAX_AHEAD, Merge

SILENT_NS = 1_000_000_000  # a leg that delivered nothing for so long helps nobody
REORDER_NS = 40_000_000  # how long a hole in one RTP stream waits for a straggler
UNKNOWN_MATRIX_NS = 300_000_000  # how long a lone source with FEC waits until it knows: 100 packets at 4 Mb/s are 263 ms
STEADY_NS = 5_000_000_000  # how long the primary source must have been well before it plays again
LONGEST_STEADY_NS = 60_000_000_000
ALL = 1 << 62  # a time by which everything is due
NUMBERED = (RtpSource, SrtListenerSource, SrtCallerSource, RistSource)


class Recover(Protocol):
    """`number` is the leg's own, unwrapped; -1 where the protocol has none. Times are monotonic ns."""

    events: list[str]
    """What happened since somebody emptied it, in words."""

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None: ...

    def restart(self, leg: int) -> None: ...

    def pop(self, now_ns: int) -> list[bytes]: ...

    def due_ns(self) -> int | None: ...

    def wait_for_repairs(self, leg: int, repair_ns: int) -> str:
        """A source's FEC needs so long; what is wrong in words when it will not get it."""
        ...

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None: ...

    def account(self, sources: list[EndStatus]) -> Account: ...


def recover_for(flow: Flow) -> Recover:
    sources = flow.sources
    if len(sources) == 1:
        order = _order(sources[0])
        return Merged(order, REORDER_NS) if order is not None else Straight()
    if flow.recover == "merge" and all(isinstance(source, NUMBERED) for source in sources):
        window_ns = flow.window_ms * 1_000_000
        return Merged(Merge(window_ns, legs=len(sources), shared_numbers=_both_rtp(sources)), window_ns)
    names = [source.name for source in sources]
    primary = names.index(flow.primary) if flow.primary else None
    return Failover(flow.failover_ms * 1_000_000, names, primary, [_order(source) for source in sources])


def _order(source: Source) -> Merge | None:
    """What puts one source's datagrams in order, where they may come without it."""
    if not isinstance(source, RtpSource):
        return None
    # With FEC everything waits as long as a repair may take, so that a repaired datagram leaves at its own time
    fec = isinstance(source, RtpFecSource)
    return Merge(UNKNOWN_MATRIX_NS if fec else REORDER_NS, legs=1, prompt=not fec)


def _both_rtp(sources: list[Source]) -> bool:
    return all(isinstance(source, RtpSource) for source in sources)


def _carried(sources: list[EndStatus]) -> Account:
    """What the sources themselves know."""
    return Account(
        carried=sum(source.packets for source in sources),
        lost=sum(source.lost for source in sources),
        by_retransmission=sum(source.repaired for source in sources),
        by_fec=sum(source.fec_repaired for source in sources),
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

    def wait_for_repairs(self, leg: int, repair_ns: int) -> str:
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

    def wait_for_repairs(self, leg: int, repair_ns: int) -> str:
        if len(self.merge.legs) == 1:
            _wait_as_long(self.merge, repair_ns)
            return ""
        needed_ns = repair_ns + max(0.0, self.merge.legs[leg].lag_ns) if repair_ns else 0
        if needed_ns > self.window_ns:
            needed_ms, window_ms = needed_ns / 1e6, self.window_ns // 1_000_000
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
            differing=[name for leg, name in zip(merge.legs, names, strict=True) if leg.differs],
        )

    def account(self, sources: list[EndStatus]) -> Account:
        merge = self.merge
        account = _carried(sources)
        account.carried, account.lost = merge.released, merge.lost
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
        # Against the clock of the merge: a leg that is behind, and was there first, sets it, and the other one waits
        if own.lag_ns > self.window_ns:
            behind_ms = round(own.lag_ns / 1e6)
            return f"{behind_ms} ms behind the other source: it cannot help; the window needs {behind_ms + 50} ms"
        return ""


def _wait_as_long(order: Merge, repair_ns: int) -> None:
    if repair_ns:
        order.window_ns = max(repair_ns, REORDER_NS)


class Failover:
    """Both hot, one plays: the other takes over when it has been silent for `silence_ns`.

    The primary one plays again once it has been steady for STEADY_NS; each time it falls silent soon after that, it must be
    steady for twice as long, so that a source which comes and goes makes no picture that comes and goes.

    `orders` put each source in order where it may come without it; what is repaired there is repaired before one is chosen.
    """

    def __init__(self, silence_ns: int, names: list[str], primary: int | None = None, orders: Sequence[Merge | None] = ()) -> None:
        self.silence_ns = silence_ns
        self.playing = primary or 0
        self.switches = 0
        self.events: list[str] = []
        self._names = names
        self._primary = primary
        self._orders = list(orders) or [None] * len(names)
        self._out: list[bytes] = []
        self._begun_ns: int | None = None
        self._heard_ns = [0] * len(names)
        self._numbers: list[int | None] = [None] * len(names)  # the last ones, of sources that come in order
        self._steady_since_ns = [0] * len(names)
        self._must_be_steady_ns = STEADY_NS
        self._returned_ns = 0
        self._carried = self._lost = self._rebuilt = 0

    def push(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        if not rebuilt:
            self._hear(leg, now_ns)
        order = self._orders[leg]
        if order is not None:
            order.push(0, number, datagram, now_ns, rebuilt)
            return
        last, self._numbers[leg] = self._numbers[leg], number
        if leg == self.playing:
            if last is not None and 0 < number - last <= MAX_AHEAD:
                self._lost += number - last - 1
            self._out.append(datagram)

    def restart(self, leg: int) -> None:
        self._numbers[leg] = None
        order = self._orders[leg]
        if order is not None:
            order.restart(0)

    def pop(self, now_ns: int) -> list[bytes]:
        for leg, order in enumerate(self._orders):
            if order is not None:
                self._release(leg, order, now_ns)
        out, self._out = self._out, []
        self._carried += len(out)
        return out

    def _release(self, leg: int, order: Merge, now_ns: int) -> None:
        lost, rebuilt = order.lost, order.rebuilt
        released = order.pop(now_ns)
        if leg == self.playing:
            self._out += released
            self._lost += order.lost - lost
            self._rebuilt += order.rebuilt - rebuilt

    def due_ns(self) -> int | None:
        order = self._orders[self.playing]
        return 0 if self._out else order.due_ns() if order is not None else None

    def wait_for_repairs(self, leg: int, repair_ns: int) -> str:
        order = self._orders[leg]
        if order is not None:
            _wait_as_long(order, repair_ns)
        return ""

    def _hear(self, leg: int, now_ns: int) -> None:
        if self._begun_ns is None:
            self._begun_ns = now_ns
        if now_ns - self._heard_ns[leg] > self.silence_ns:
            self._steady_since_ns[leg] = now_ns
        self._heard_ns[leg] = now_ns
        if leg != self.playing:
            why = self._why_it_plays(leg, now_ns)
            if why:
                self._play(leg, why)

    def _why_it_plays(self, leg: int, now_ns: int) -> str:
        """In words, when it is time that this source takes over."""
        heard_ns = self._heard_ns[self.playing]
        if not heard_ns and self._primary is not None and self._begun_ns is not None:
            heard_ns = self._begun_ns  # at the start the primary one has as long to come as after a silence
        if now_ns - heard_ns >= self.silence_ns:
            if self.playing == self._primary and self._returned_ns:
                soon = now_ns - self._returned_ns < 2 * self._must_be_steady_ns
                self._must_be_steady_ns = min(2 * self._must_be_steady_ns, LONGEST_STEADY_NS) if soon else STEADY_NS
            return "fell silent" if self._heard_ns[self.playing] else "did not come"
        if leg == self._primary and now_ns - self._steady_since_ns[leg] >= self._must_be_steady_ns:
            self._returned_ns = now_ns
            return f"gives way to the primary source, steady for {self._must_be_steady_ns / 1e9:.0f} s"
        return ""

    def _play(self, leg: int, why: str) -> None:
        order = self._orders[self.playing]
        if order is not None:  # what came of it is still played
            self._release(self.playing, order, ALL)
        if self._primary is not None or self._heard_ns[self.playing]:
            self.events.append(f"{self._names[leg]} plays: {self._names[self.playing]} {why}")
        self.switches += bool(self._heard_ns[self.playing])
        self.playing = leg

    def status(self, names: list[str], now_ns: int) -> MergeStatus | None:
        hot = [name for name, heard_ns in zip(names, self._heard_ns, strict=True) if heard_ns and now_ns - heard_ns < self.silence_ns]
        playing = f"{names[self.playing]} plays, {self.switches} switches"
        return MergeStatus(
            state="failover" if any(self._heard_ns) else "waiting",
            message="" if not hot else playing if len(hot) == len(names) else f"{playing}; no second source",
            playing=names[self.playing] if names[self.playing] in hot else "",
            switches=self.switches,
            released=self._carried,
            lost=self._lost,
        )

    def account(self, sources: list[EndStatus]) -> Account:
        account = _carried(sources)
        account.carried, account.lost = self._carried, self._lost
        if any(source.fec_matrix for source in sources):
            account.without_fec = self._lost + self._rebuilt
        return account
