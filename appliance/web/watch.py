"""What the pages know: the snapshots, read at most twice a second however many look, and the last minute of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from appliance.locks import Lock, lock_of
from appliance.verdict import SINCE_S, Verdict, judge
from firmware.model import Flow
from firmware.places import Places
from firmware.status import STALE_S, CaptureStatus, FlowStatus, read_snapshot
from firmware.store import Kept, Store, StoreError

LOOK_EVERY_S = 0.45
MINUTE_S = 60.0
FORGOTTEN_S = 60.0  # a flow that is not in the store and gives no news

Series = deque[tuple[float, float]]


@dataclass(slots=True)
class View:
    """One flow as the pages show it."""

    name: str
    flow: Flow | None  # its definition, where it is a stored one
    desired: str
    status: FlowStatus | None
    capture: CaptureStatus | None
    age_s: float
    verdict: Verdict
    series: dict[str, Series]  # bits a second over the last minute, by `sources/NAME` and `outputs/NAME`
    lock: Lock | None = None
    cuts: dict[str, float] = field(default_factory=dict)  # seconds left of a rehearsed cut, by output

    @property
    def stale(self) -> bool:
        return self.status is not None and self.status.stale

    @property
    def capture_stale(self) -> bool:
        return self.capture is not None and time.time() - self.capture.at > STALE_S

    @property
    def switched_off(self) -> list[str]:
        """Outputs that are defined and disabled."""
        return [output.name for output in self.flow.outputs if not output.enabled] if self.flow else []

    def may_cut(self, output: str) -> bool:
        """Whether the picture still arrives while this output does not, and nobody has locked the flow."""
        carrying = [end.name for end in self.status.outputs if end.state == "connected"] if self.status and not self.stale else []
        return output in carrying and len(carrying) > 1 and self.lock is None


class Watch:
    def __init__(self, places: Places) -> None:
        self.places = places
        self.problem = ""  # with the store, in words
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._views: list[View] = []
        self._series: dict[str, dict[str, Series]] = {}
        self._lost: dict[str, Series] = {}
        self._cut_until: dict[tuple[str, str], float] = {}

    def views(self) -> list[View]:
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = now
                self._views = self._look(now)
            return self._views

    def view(self, name: str) -> View | None:
        return next((view for view in self.views() if view.name == name), None)

    def note_cut(self, flow: str, output: str, seconds: int) -> None:
        with self._lock:
            self._cut_until[flow, output] = time.monotonic() + seconds
            self._looked_at = float("-inf")

    def follow(self) -> None:
        """Keep the last minute even while nobody looks."""

        def follow() -> None:
            while True:
                self.views()
                time.sleep(1)

        threading.Thread(target=follow, name="watch", daemon=True).start()

    def _look(self, now: float) -> list[View]:
        stored = self._stored()
        statuses = {path.name.removesuffix(".flow.json"): read_snapshot(path, FlowStatus) for path in _snapshots(self.places.run)}
        names = {name for name, status in statuses.items() if status and time.time() - status.at < FORGOTTEN_S} | set(stored)
        for known in (self._series, self._lost):
            for gone in set(known) - names:
                del known[gone]
        self._cut_until = {key: until for key, until in self._cut_until.items() if until > now}
        views = [self._view(name, stored.get(name), statuses.get(name), now) for name in names]
        return sorted(views, key=lambda view: (view.capture is None, view.name))  # what this box films comes first

    def _view(self, name: str, kept: Kept | None, status: FlowStatus | None, now: float) -> View:
        desired = kept.desired if kept else ""
        series = self._series.setdefault(name, {})
        lost = self._lost.setdefault(name, deque())
        if status and not status.stale:
            ends = [(f"sources/{end.name}", end) for end in status.sources] + [(f"outputs/{end.name}", end) for end in status.outputs]
            for key, end in ends:
                series.setdefault(key, deque()).append((now, end.rate_bps))
            lost.append((now, _lost(status)))
        for samples in series.values():
            _forget(samples, now - MINUTE_S)
        _forget(lost, now - SINCE_S)
        age_s = max(0.0, time.time() - status.at) if status else 0.0
        capture = read_snapshot(self.places.capture_snapshot(name), CaptureStatus)
        return View(
            name=name,
            flow=kept.flow if kept else None,
            desired=desired,
            status=status,
            capture=capture,
            age_s=age_s,
            verdict=judge(status, desired, age_s, _grown(lost), capture),
            lock=lock_of(kept) if kept else None,
            series={key: samples.copy() for key, samples in series.items()},
            cuts={output: until - now for (of, output), until in self._cut_until.items() if of == name},
        )

    def _stored(self) -> dict[str, Kept]:
        self.problem = ""
        store = Store(self.places.store)
        if not store.path.exists() and not store.good.exists():
            return {}
        try:
            return {kept.flow.name: kept for kept in store.list()}
        except StoreError as error:
            self.problem = str(error)
            return {}


def _lost(status: FlowStatus) -> int:
    """What the picture lost."""
    if status.account:
        return status.account.lost
    return status.merge.lost if status.merge else sum(end.lost for end in status.sources)


def _snapshots(run: Path) -> list[Path]:
    return sorted(run.glob("*.flow.json"))


def _forget(samples: Series, before: float) -> None:
    while samples and samples[0][0] < before:
        samples.popleft()


def _grown(samples: Series) -> int:
    """By how much a counter went up within its samples; a restart from 0 is no growth."""
    values = [value for _, value in samples]
    return int(sum(max(0.0, later - earlier) for earlier, later in pairwise(values)))
