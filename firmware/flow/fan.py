"""One stream to many outputs: RTP numbers given once, and datagrams gathered for those outputs that want them together.

Outputs with the same `gather_ms` form a group. A group without one gets every list as it comes; another gets what came since
it was last served, once the first of it has waited that long. Outputs with the same `smooth_ms` share a pacer.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from firmware.flow.batch import Batch
from firmware.flow.outputs import FlowOutput
from firmware.net.srtp import Seal
from firmware.wire.pacer import Pacer
from firmware.wire.rtp import Numberer

EARLY_NS = 500_000  # a group is served this much before its time rather than woken for once more


@dataclass(slots=True)
class _Group:
    gather_ns: int
    pacer: Pacer | None = None
    paced: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    """What the pacer holds, in its order: a datagram, and the RTP packet that carries it."""
    plain: list[FlowOutput] = field(default_factory=list)
    rtp: list[FlowOutput] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    due_ns: int | None = None

    def pace(self, datagrams: list[bytes], packets: list[bytes], now_ns: int) -> None:
        assert self.pacer is not None  # noqa: S101
        for datagram in datagrams:
            self.pacer.push(datagram, now_ns)
        self.paced.extend(zip(datagrams, packets or [b""] * len(datagrams), strict=True))
        self.due_ns = self.pacer.due_ns()

    def take(self, now_ns: int) -> tuple[list[bytes], list[bytes]]:
        """What is to leave now: datagrams, and the packets of them."""
        if self.pacer is None:
            self.due_ns = None
            datagrams, self.datagrams = self.datagrams, []
            packets, self.packets = self.packets, []
            return datagrams, packets
        left = [self.paced.popleft() for _ in self.pacer.pop(now_ns)]
        self.due_ns = self.pacer.due_ns()
        return [datagram for datagram, _ in left], [packet for _, packet in left if packet]


class Fan:
    def __init__(self) -> None:
        # The first number is in the lower half, so that a receiver sees the turn of it (RFC 3711, 3.3.1)
        self.number = Numberer(int.from_bytes(os.urandom(4), "big"), int.from_bytes(os.urandom(2), "big") >> 1)
        self.gather_ns = 0
        """What every output gathers for at least."""
        self.waited_ns = 0
        """How long what is sent has waited already: groups that want no more than that are served at once."""
        self.waits = False
        """True while something gathered is to be served."""
        self._groups: dict[tuple[int, int], _Group] = {}
        self._seals: dict[bytes, Seal] = {}
        self._used: set[bytes] = set()  # digests of the keys that were ever in use
        self._wants_rtp = False

    def seal(self, key: bytes) -> Seal:
        """The one that all outputs with this key share, so that both paths carry the same packets."""
        if key not in self._seals:
            digest = hashlib.sha256(key).digest()
            # A key that is new begins in turn 0, where every receiver looks first; one that comes back goes on beyond what it sealed
            index = self.number.index if digest in self._used else self.number.index & 0xFFFF
            self._used.add(digest)
            self._seals[key] = Seal(key, self.number.ssrc, index)
        return self._seals[key]

    def arrange(self, outputs: Iterable[FlowOutput]) -> None:
        """Serve these from now on. What a group had gathered is kept for those that stay."""
        for group in self._groups.values():
            group.plain, group.rtp = [], []
        for output in outputs:
            gather_ns, smooth_ns = (getattr(output.spec, key, 0) * 1_000_000 for key in ("gather_ms", "smooth_ms"))
            group = self._groups.setdefault((gather_ns, smooth_ns), _Group(gather_ns, Pacer(smooth_ns) if smooth_ns else None))
            (group.rtp if output.wants_rtp else group.plain).append(output)
        self._groups = {key: group for key, group in self._groups.items() if group.plain or group.rtp}
        self._wants_rtp = any(group.rtp for group in self._groups.values())
        self.gather_ns = min((group.gather_ns for group in self._groups.values()), default=0)
        self._see_who_waits()
        self._keep_seals(outputs)

    def _keep_seals(self, outputs: Iterable[FlowOutput]) -> None:
        """A seal that nobody uses falls behind the numbers: it is made anew, further on, when its key comes back."""
        used = {id(output.seal) for output in outputs}
        self._seals = {key: seal for key, seal in self._seals.items() if id(seal) in used}

    def send(self, datagrams: list[bytes], now_ns: int) -> None:
        number = self.number
        packets = [number(datagram, now_ns) for datagram in datagrams] if self._wants_rtp else []
        for group in self._groups.values():
            if group.pacer is not None:
                group.pace(datagrams, packets, now_ns)
                self.waits = self.waits or group.due_ns is not None
                continue
            if group.gather_ns <= self.waited_ns and group.due_ns is None:
                _serve(group, datagrams, packets, now_ns)
                continue
            if group.plain:
                group.datagrams += datagrams
            if group.rtp:
                group.packets += packets
            if group.due_ns is None:
                group.due_ns = now_ns + group.gather_ns - self.waited_ns - EARLY_NS
                self.waits = True

    def due_ns(self) -> int | None:
        """When a group must be served next."""
        return min(group.due_ns for group in self._groups.values() if group.due_ns is not None) if self.waits else None

    def serve(self, now_ns: int) -> None:
        """Whatever is due."""
        for group in self._groups.values():
            if group.due_ns is not None and group.due_ns <= now_ns:
                _serve(group, *group.take(now_ns), now_ns)
        self._see_who_waits()

    def _see_who_waits(self) -> None:
        self.waits = any(group.due_ns is not None for group in self._groups.values())


def _serve(group: _Group, datagrams: list[bytes], packets: list[bytes], now_ns: int) -> None:
    if group.plain:
        batch = Batch(datagrams)
        for output in group.plain:
            output.send(batch, now_ns)
    if group.rtp:
        batch = Batch(packets)
        for output in group.rtp:
            output.send(batch, now_ns)
