"""What librist counts, with our names. It counts from report to report; here the counts go on from the beginning."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec

MAX_REPORTS = 256  # not yet looked at: a minute of four peers' twice a second


@dataclass(slots=True)
class PathStatistics:
    """One way to the far end. `heard_ns` is the monotonic time of the last report in which it had said something; 0: never."""

    rtt_ms: float | None = None
    heard_ns: int = 0
    packets: int = 0  # data packets, sent or received, each copy
    repeated: int = 0  # of a sender: sent again
    not_repeated: int = 0  # of a sender: asked for, and too late or too much to send again
    rate_bps: float = 0.0


@dataclass(slots=True)
class ReceiverStatistics:
    """Datagrams of all paths together. `missing` counts what was asked for again, `repaired` what came then, `lost` what never came."""

    received: int = 0  # each once
    missing: int = 0
    repaired: int = 0
    lost: int = 0
    late: int = 0  # came after their time
    duplicates: int = 0
    quality_percent: float = 100.0  # of the last report
    paths: dict[int, PathStatistics] = field(default_factory=dict)  # by librist's peer id: a new one for each peer that comes


@dataclass(slots=True)
class SenderStatistics:
    quality_percent: float = 100.0
    paths: list[PathStatistics] = field(default_factory=list)  # in the order they were given

    @property
    def heard_ns(self) -> int:
        return max((path.heard_ns for path in self.paths), default=0)


class Reports:
    """librist's reports as they come, on its own threads."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque(maxlen=MAX_REPORTS)

    def add(self, json: bytes, now_ns: int) -> None:
        self._waiting.append((now_ns, json))

    def __iter__(self) -> Reports:
        return self

    def __next__(self) -> tuple[int, dict[str, Any]]:
        try:
            now_ns, json = self._waiting.popleft()
        except IndexError:
            raise StopIteration from None
        return now_ns, msgspec.json.decode(json, type=dict[str, Any])


def add_to_receiver(total: ReceiverStatistics, report: dict[str, Any], now_ns: int) -> None:
    flow = report["receiver-stats"]["flowinstant"]
    counts = flow["stats"]
    total.received += int(counts["received"])
    total.missing += int(counts["missing"])
    total.repaired += int(counts["recovered_total"])
    total.lost += int(counts["lost"])
    total.late += int(counts["dropped_late"])
    total.duplicates += int(counts["duplicates"])
    total.quality_percent = float(counts["quality"])
    live = {}
    for peer in flow["peers"]:
        path = live[int(peer["id"])] = total.paths.get(int(peer["id"]), PathStatistics())
        path.rtt_ms = float(peer["stats"]["rtt"])
        path.rate_bps = float(peer["stats"]["bitrate"])
        path.packets += int(peer["stats"]["received_data"])
        if peer["stats"]["received_data"]:
            path.heard_ns = now_ns
    total.paths = live


def add_to_sender(total: SenderStatistics, report: dict[str, Any], now_ns: int, peers_per_path: int) -> None:
    """In simple profile a path is two peers, for data and for RTCP."""
    peer = report["sender-stats"]["peer"]
    place = (int(peer["id"]) - 1) // peers_per_path
    if place >= len(total.paths):
        return
    path, counts = total.paths[place], peer["stats"]
    total.quality_percent = float(counts["quality"])
    path.packets += int(counts["sent"])
    path.repeated += int(counts["retransmitted"])
    path.not_repeated += int(counts["retransmit_skipped"]) + int(counts["bandwidth_skipped"])
    if counts["received"]:
        path.heard_ns = now_ns
        path.rtt_ms = float(counts["rtt"])
    if peer["type"] == "data":
        path.rate_bps = float(counts["bandwidth"])
