"""What a flow tells about itself beside its counters: the health of its streams, alarms, and what happened."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import deque
from collections.abc import Sequence

from firmware.flow.outputs import CLEAR, FlowOutput
from firmware.flow.recover import Recover
from firmware.flow.sources import FlowSource
from firmware.model import is_public
from firmware.net.routes import RouteError, same_way, way_to
from firmware.status import EndStatus, Event, FaultStatus, HealthStatus, MergeStatus
from firmware.wire.checks import CHECKS
from firmware.wire.health import Health

EVENTS_KEPT = 50
WAYS_NS = 10_000_000_000  # how often the ways of the paths are looked at
SOME = 16  # datagrams: 17 ms of 10 Mb/s, which no interval that is told by arrival notices
RECENT_S = 10.0  # how long a fault of the stream is an alarm

log = logging.getLogger("pressbox.flow")


class Watch:
    """`left` and `arrived` are given the datagrams; `alarms` and `events` are for whoever reads the status."""

    def __init__(self, sources: int, *, straight: bool) -> None:
        """`straight`: what the one source brings is what the outputs get, and is looked at once."""
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.arrived: list[list[bytes]] = [[] for _ in range(sources)]
        self.left = Health()
        self._sent: list[bytes] = []
        self._of_sources = [self.left] if straight else [Health() for _ in range(sources)]
        self.straight = straight
        self._one_way = ""
        self._looked_ns = 0

    def sent(self, datagrams: list[bytes], now_ns: int) -> None:
        """What the outputs were given: looked at some at a time, for alone each costs twice as much."""
        self._sent += datagrams
        if len(self._sent) >= SOME:
            self._look_at_sent(now_ns)

    def _look_at_sent(self, now_ns: int) -> None:
        if self._sent:
            self.left.push(self._sent, now_ns)
            self._sent = []

    def take(self, now_ns: int) -> None:
        """Look at what arrived, some at a time. There is nothing to take where it is `straight`."""
        self._look_at_arrived(now_ns, SOME)

    def _look_at_arrived(self, now_ns: int, least: int = 1) -> None:
        for leg, datagrams in enumerate(self.arrived):
            if len(datagrams) >= least:
                self._of_sources[leg].push(datagrams, now_ns)
                self.arrived[leg] = []

    def restart(self, leg: int, now_ns: int) -> None:
        """Another sender, or another connection."""
        self._look_at_arrived(now_ns)
        self._look_at_sent(now_ns)
        self._of_sources[leg].restart(now_ns)

    def tick(self, now_ns: int) -> None:
        self._look_at_arrived(now_ns)
        self._look_at_sent(now_ns)
        self.left.tick(now_ns)
        if not self.straight:
            for health in self._of_sources:
                health.tick(now_ns)

    def happened(self, text: str) -> None:
        log.info("%s", text)
        self.events.append(Event(at=time.time(), text=text))

    def health_of(self, leg: int, now_ns: int) -> HealthStatus:
        return _told(self._of_sources[leg], now_ns)

    def health(self, now_ns: int) -> HealthStatus:
        """Of what the outputs get."""
        return _told(self.left, now_ns)

    def look_at_ways(self, outputs: Sequence[FlowOutput], now_ns: int, *, again: bool = False) -> None:
        """Whether two paths are really two."""
        if now_ns - self._looked_ns < WAYS_NS and not again:
            return
        self._looked_ns = now_ns
        paths = [output for output in outputs if output.far_address]
        before, self._one_way = self._one_way, _one_way(*paths) if len(paths) == 2 else ""
        if self._one_way and self._one_way != before:
            self.happened(self._one_way)

    def alarms(
        self,
        recover: Recover,
        sources: Sequence[FlowSource],
        heard: Sequence[EndStatus],
        sent: Sequence[EndStatus],
        merge: MergeStatus | None,
    ) -> list[str]:
        alarms = [
            f"{end.name}: {wrong}"
            for leg, (source, end) in enumerate(zip(sources, heard, strict=True))
            if (wrong := recover.wait_for_repairs(leg, source.repair_ns))
        ]
        if merge is not None and merge.state != "failover" and merge.message:
            alarms.append(merge.message)
        if self._one_way:
            alarms.append(self._one_way)
        peers = {end.peer.rpartition(":")[0].strip("[]") for end in heard}
        if len(heard) > 1 and len(peers) == 1 and (peer := peers.pop()) and not _is_this_machine(peer):
            alarms.append(f"both sources come from {peer}: at least the last part of their way is one")
        alarms += [f"{end.name}: goes {CLEAR} to a public address" for end in sent if end.encryption == CLEAR and _is_public(end.peer)]
        now = time.time()
        for fault in self.health(time.monotonic_ns()).faults:
            if fault.clause.startswith("1.") and now - fault.last_at < RECENT_S:
                alarms.append(f"the stream: {CHECKS[fault.name].words} (TR 101 290, {fault.clause})")
        return alarms


def _told(health: Health, now_ns: int) -> HealthStatus:
    now = time.time()

    def at(then_ns: int | None) -> float:
        return now if then_ns is None else round(now - (now_ns - then_ns) / 1e9, 3)

    faults = [
        FaultStatus(name=name, clause=CHECKS[name].number, count=fault.count, first_at=at(fault.first_ns), last_at=at(fault.last_ns))
        for name, fault in health.faults().items()
    ]
    return HealthStatus(
        rate_bps=health.rate_bps, pcr_interval_ms=health.pcr_interval_ms_max, pcr_accuracy_ns=health.pcr_accuracy_ns_max, faults=faults
    )


def _one_way(a: FlowOutput, b: FlowOutput) -> str:
    try:
        ways = [
            way_to(
                output.far_address,
                bind_address=getattr(output.spec, "bind_address", ""),
                bind_device=getattr(output.spec, "bind_device", ""),
            )
            for output in (a, b)
        ]
    except RouteError:
        return ""  # the path that has no way says so itself
    return "" if any(way.interface == "lo" for way in ways) else same_way(*ways)


def _is_this_machine(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _is_public(peer: str) -> bool:
    return is_public(peer.rpartition(":")[0].strip("[]"))
