"""A lock that another one overrides is alarmed, from the audit log alone, over its rotation and over restarts of the watcher."""

from __future__ import annotations

import pytest

from firmware.alarms.world import Overrides
from firmware.audit import Audit
from firmware.status import FlowStatus, write_snapshot
from tests.alarms.watching import Scene

LOCK = {"by": "ann", "until": "2026-05-01T23:00:00Z", "why": "cup final"}


@pytest.fixture
def audit(places):
    return Audit(places.audit, max_bytes=3000, keep=3)


def unlock(audit: Audit, who: str, flow: str = "studio", **more: object) -> None:
    audit.record(who, "UnlockFlow", flow, **{"before": LOCK, "after": {"why": "wrong camera"}} | more)


def test_only_an_unlocking_by_another_is_an_override(audit, places):
    unlock(audit, "bob")
    overrides = Overrides(places.audit, None)
    assert overrides.look() == []
    unlock(audit, "ann")
    unlock(audit, "bob", before=None)
    unlock(audit, "bob", outcome="refused", why="no")
    audit.record("bob", "UpdateFlow", "studio", before=LOCK, after={"why": "UnlockFlow"})
    assert overrides.look() == []
    unlock(audit, "bob", "truck")
    found = overrides.look()
    assert [one.flow for one in found] == ["truck"]
    assert found[0].words == "bob unlocked what ann had locked until 2026-05-01T23:00:00Z: wrong camera"
    assert overrides.look() == []
    overrides.close()


def test_none_is_missed_or_told_twice_over_rotations_and_restarts(audit, places):
    overrides = Overrides(places.audit, 0)
    told = []
    for number in range(30):
        unlock(audit, "bob", f"flow-{number}")
        if number % 3 == 0:
            told += [one.flow for one in overrides.look()]
        if number % 7 == 0:
            overrides.close()
            overrides = Overrides(places.audit, overrides.number)
    told += [one.flow for one in overrides.look()]
    overrides.close()
    assert len(audit.trail.old()) > 1
    assert told == sorted(set(told), key=lambda flow: int(flow[5:]))
    assert set(told) >= {f"flow-{number}" for number in range(25, 30)}


@pytest.mark.parametrize("state", ["ACTIVE", "STANDBY"])
def test_it_raises_an_alarm_that_says_who_and_why(audit, places, state, request):
    scene = Scene(places)
    request.addfinalizer(lambda: scene.watcher.close())
    if state == "STANDBY":
        write_snapshot(places.snapshot("studio"), FlowStatus(name="studio", state="STANDBY"))
    scene.tick(3, silent=state == "STANDBY")
    unlock(audit, "bob")
    scene.tick(2, silent=state == "STANDBY")
    told = scene.raised["lock-overridden"]
    assert told.reason.endswith("bob unlocked what ann had locked until 2026-05-01T23:00:00Z: wrong camera")
    scene.new_watcher()
    scene.tick(30, silent=state == "STANDBY")
    assert scene.raised["lock-overridden"].id == told.id
    scene.tick(900, silent=True) if state == "STANDBY" else scene.tick(900)
    assert scene.raised == {}
