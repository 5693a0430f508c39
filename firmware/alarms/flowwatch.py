"""One flow as alarms see it: whether it should run, whether it does, and a judge for each rule at each of its places."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from firmware.alarms.board import Kind
from firmware.alarms.health import Health
from firmware.alarms.journal import Notice
from firmware.alarms.judge import Judge
from firmware.alarms.ledger import Key, Ledger
from firmware.alarms.points import OF_CONNECTION, capture_points, points, words
from firmware.alarms.rules import Rule, reason
from firmware.alarms.world import Wanted
from firmware.metrics.measure import Dimension, Values, settled
from firmware.status import CaptureStatus, FlowStatus, read_snapshot

Place = tuple[str, str]
"""Kind and end."""

GRACE_S = 10.0  # of a flow that just began: its peers come one after the other
SILENT_S = 3.0  # a worker that wrote no snapshot for this long hangs
START_S = 20.0  # one that starts on a machine with much else to do does not
_LOCK = "LockOverrides"
_FLOW: Place = ("flow", "")


class Judges:
    """Those of one flow, or of the host."""

    def __init__(self, flow: str, ledger: Ledger) -> None:
        self._flow = flow
        self._ledger = ledger
        self._judges: dict[Place, list[Judge]] = {}
        self._made_of: tuple[list[Place], list[Rule]] | None = None
        self.calm_outputs: set[str] = set()
        """Those whose alarms are about the connection alone, and have nothing to do while that lasts."""

    def arrange(self, places: list[Place], rules: list[Rule], now: float, now_s: float, why_gone: str = "") -> None:
        """A judge for each rule at each place that it covers. What is raised where there is none any more is cleared."""
        if self._made_of == (places, rules):
            return
        known = {(judge.rule.name, *place): judge for place, judges in self._judges.items() for judge in judges}
        self._judges = {
            place: [self._judge(rule, place, known, now, now_s) for rule in rules if self._covers(rule, place)] for place in places
        }
        self._made_of = (places, rules)
        self.calm_outputs.clear()
        covered = {(judge.rule.name, *place) for place, judges in self._judges.items() for judge in judges}
        names = {rule.name for rule in rules}
        for key in self._raised():
            if (key[0], *key[2:]) not in covered:
                self._ledger.cleared(key, why_gone or _why_gone(key, places, names), now)

    def push(self, found: Iterable[tuple[Place, Values]], status: FlowStatus | None, now: float, now_s: float, note: str = "") -> None:
        for place, values in found:
            judges = self._judges.get(place, [])
            for judge in judges:
                if judge.rule.metric in values:  # else it does not apply here
                    self._judge_it(judge, place, values[judge.rule.metric], status, now, now_s, note)
            if place[0] == "output":
                calm = all(judge.calm and judge.rule.metric in OF_CONNECTION for judge in judges)
                (self.calm_outputs.add if calm else self.calm_outputs.discard)(place[1])

    def push_nothing(self, values: Values, status: FlowStatus | None, now: float, now_s: float) -> None:
        """The flow should tell and does not; `values` are of the flow itself."""
        self.calm_outputs.clear()
        for place, judges in self._judges.items():
            for judge in judges:
                if judge.rule.metric in values or judge.state != "INSUFFICIENT_DATA":  # what never had a point does not apply
                    self._judge_it(judge, place, values.get(judge.rule.metric), status, now, now_s)

    def clear(self, why: str, now: float) -> None:
        self._judges, self._made_of = {}, None
        self.calm_outputs.clear()
        for key in self._raised():
            self._ledger.cleared(key, why, now)

    def _judge_it(
        self, judge: Judge, place: Place, value: float | None, status: FlowStatus | None, now: float, now_s: float, note: str = ""
    ) -> None:
        before = judge.state
        change = judge.push(now_s, value)
        if change is None:
            return
        rule, key = judge.rule, self._key(judge.rule.name, place)
        if change == "cleared":
            self._ledger.cleared(key, f"all was well for {judge.hold_s:.0f} s", now, rule.condition)
            return
        said = note if rule.metric == _LOCK else words(rule, place[1], status)
        self._ledger.raised(key, rule, before, reason(rule, judge.value) + (f"; {said}" if said else ""), judge.flaps, now)

    def _judge(self, rule: Rule, place: Place, known: dict[tuple[str, str, str], Judge], now: float, now_s: float) -> Judge:
        judge = known.get((rule.name, *place))
        if judge is not None:
            if judge.rule != rule:
                judge.become(rule)
                self._ledger.reworded(self._key(rule.name, place), rule)
            return judge
        judge = Judge(rule)
        before = self._ledger.alarms.get(self._key(rule.name, place))
        if before is not None and before.active:
            judge.was_raised(now_s, before.flaps)
        elif before is not None:
            judge.was_cleared(now_s - max(0.0, now - before.since), before.flaps)
        return judge

    def _covers(self, rule: Rule, place: Place) -> bool:
        kind, end = place
        return rule.kind == kind and (rule.covers(self._flow, end) if kind != "host" else rule.covers("", end))

    def _raised(self) -> list[Key]:
        return [key for key, alarm in self._ledger.alarms.items() if alarm.flow == self._flow and alarm.active]

    def _key(self, name: str, place: Place) -> Key:
        kind: Kind = place[0]  # type: ignore[assignment]
        return name, self._flow, kind, place[1]


def _why_gone(key: Key, places: list[Place], names: set[str]) -> str:
    if key[0] not in names:
        return "the alarm was switched off"
    return "the alarm is not for this place any more" if key[2:] in places else f"the {key[2]} is not there any more"


class FlowWatch:
    def __init__(self, name: str, snapshot: Path, capture: Path, ledger: Ledger) -> None:
        self.name = name
        self._snapshot = snapshot
        self._capture = capture
        self._judges = Judges(name, ledger)
        self._health = Health()
        self._before: FlowStatus | None = None
        self._mtime_ns = 0
        self._fresh_s: float | None = None  # when a snapshot came last
        self._wanted_s: float | None = None  # since when it should run
        self._began: tuple[float, float] = (0.0, float("-inf"))  # as its worker says, and when we saw that first
        self._places: list[Place] = []
        self._overridden = ""  # that its lock was, until that has been judged

    def look(self, now: float, now_s: float, wanted: Wanted | None, rules: list[Rule], overridden: str) -> list[Notice]:
        status = self._read(now_s)
        self._overridden = overridden or self._overridden
        recent = self._fresh_s is not None and now_s - self._fresh_s <= SILENT_S
        runs = wanted.runs if wanted is not None else recent and status is not None and status.state != "STANDBY"
        if not runs:
            self._wanted_s, self._before = None, None
            self._stand_by(now, now_s, rules)
            return self._health.look(now_s, "STANDBY", None, [], wanted.outputs if wanted else {})
        self._wanted_s = now_s if self._wanted_s is None else self._wanted_s
        if status is not None and status.pid and not self._is_silent(now_s):
            return self._running(now, now_s, status, wanted, rules)
        failed = (status is not None and status.state == "ERROR") or self._is_silent(now_s)
        if failed:
            self._judges.arrange(self._places or [_FLOW], rules, now, now_s)
            self._judges.push_nothing({"FlowError": 1.0}, status, now, now_s)
        return self._health.look(now_s, "ERROR" if failed else "STARTING", status, [], wanted.outputs if wanted else {})

    def gone(self, now: float) -> list[Notice]:
        self._judges.clear("the flow was deleted", now)
        return [Notice(what="flow-status", at=now, detail={"currentStatus": "DELETING", "previousStatus": self._health.state})]

    def _running(self, now: float, now_s: float, status: FlowStatus, wanted: Wanted | None, rules: list[Rule]) -> list[Notice]:
        found: list[tuple[Dimension, Values]] = []
        if self._before is None or self._before.at != status.at:
            found = points(self._before, status, wanted.open_sources if wanted else (), self._judges.calm_outputs)
            self._before = settled(self._before, status)
            capture = read_snapshot(self._capture, CaptureStatus) if status.picture is not None else None
            if capture is not None:
                found[0][1].update(capture_points(capture, status.picture))
        if status.started_at != self._began[0]:
            self._began = status.started_at, now_s - min(max(0.0, now - status.started_at), GRACE_S)
        if found and now_s - self._began[1] >= GRACE_S:
            self._places = [_FLOW, *(("source", end.name) for end in status.sources), *(("output", end.name) for end in status.outputs)]
            self._judges.arrange(self._places, rules, now, now_s)
            self._judges.push(found, status, now, now_s)
            self._judge_lock(now, now_s)
        return self._health.look(now_s, status.state, status, found, wanted.outputs if wanted else {})

    def _stand_by(self, now: float, now_s: float, rules: list[Rule]) -> None:
        """Nothing is wrong with a flow that nobody wants to run; who may change it counts all the same."""
        self._places = []
        self._judges.arrange([_FLOW], [rule for rule in rules if rule.metric == _LOCK], now, now_s, "the flow was stopped")
        self._judge_lock(now, now_s)

    def _judge_lock(self, now: float, now_s: float) -> None:
        self._judges.push([(_FLOW, {_LOCK: float(bool(self._overridden))})], None, now, now_s, self._overridden)
        self._overridden = ""

    def _read(self, now_s: float) -> FlowStatus | None:
        try:
            mtime_ns = self._snapshot.stat().st_mtime_ns
        except OSError:
            return None
        status = read_snapshot(self._snapshot, FlowStatus)
        if status is not None and mtime_ns != self._mtime_ns:
            self._mtime_ns, self._fresh_s = mtime_ns, now_s
        return status

    def _is_silent(self, now_s: float) -> bool:
        """By our own clock: that of the snapshots may jump."""
        assert self._wanted_s is not None  # noqa: S101
        if self._fresh_s is None or self._fresh_s < self._wanted_s:
            return now_s - self._wanted_s > START_S
        return now_s - self._fresh_s > SILENT_S
