"""Events of flows, sources and outputs: what changed, once, and no flood of what flaps."""

from __future__ import annotations

import pytest

from appliance.alarms.shapes import Names, envelope
from firmware.model import parse_flow
from firmware.status import FlowStatus, write_snapshot
from firmware.store import Store
from tests.alarms.watching import Scene, end


@pytest.fixture
def scene(places):
    made = Scene(places)
    yield made
    made.watcher.close()


def told(scene: Scene) -> list[tuple[str, dict]]:
    names = Names(scene.places)
    return [(event["detail-type"].removeprefix("MediaConnect "), event["detail"]) for event in (envelope(e, names) for e in scene.events())]


def test_a_flow_that_is_started_and_stopped(scene):
    write_snapshot(scene.places.snapshot("studio"), FlowStatus(name="studio", state="STANDBY"))
    scene.tick(1, silent=True)
    scene.tick(2)
    write_snapshot(scene.places.snapshot("studio"), FlowStatus(name="studio", state="STANDBY"))
    scene.tick(1, silent=True)
    assert told(scene) == [
        ("Flow Status Change", {"currentStatus": "ACTIVE", "previousStatus": "STANDBY"}),
        ("Flow Status Change", {"currentStatus": "STANDBY", "previousStatus": "ACTIVE"}),
    ]


def test_an_output_that_goes_and_comes_back(scene):
    scene.tick(2)
    scene.tick(2, outputs=[end("wall", "connecting")])
    scene.tick(12)
    assert told(scene) == [
        ("Output Health", {"current": {"state": "DISCONNECTED"}, "previous": {"state": "CONNECTED"}}),
        ("Output Health", {"current": {"state": "CONNECTED"}, "previous": {"state": "DISCONNECTED"}}),
    ]
    names = Names(scene.places)
    arns = envelope(scene.events()[0], names)["resources"]
    assert [arn.split(":")[5] for arn in arns] == ["flow", "output"]
    assert arns[1].endswith(":wall")


def test_faults_of_the_stream_and_when_they_are_over(scene):
    scene.tick(2)
    scene.tick(1, faults=1)
    scene.tick(25, faults=1)
    kinds = [kind for kind, _ in told(scene)]
    assert kinds == ["Flow Health", "Flow Health"]
    first, second = (detail for _, detail in told(scene))
    assert first["unhealthy"]
    assert first["current"]["tr101"]["continuity_count_error"]
    assert not second["unhealthy"]
    assert second["previous"] == first["current"]


def test_what_flaps_is_told_now_and_then_and_as_it_is_in_the_end(scene):
    scene.tick(2)
    for _ in range(30):
        scene.tick(1, outputs=[end("wall", "connecting")])
        scene.tick(1)
    scene.tick(12)
    assert 2 <= len(told(scene)) <= 10
    assert told(scene)[-1][1]["current"] == {"state": "CONNECTED"}


def test_an_error_and_an_output_that_is_switched_off(scene):
    store = Store(scene.places.store)
    wall = {"name": "wall", "protocol": "udp", "host": "127.0.0.1", "port": 5000}
    flow = {"name": "studio", "sources": [{"name": "path-a", "protocol": "udp", "port": 5001}], "outputs": [wall]}
    store.create(parse_flow(flow), "ACTIVE")
    scene.tick(2)
    store.replace(parse_flow(flow | {"outputs": [wall | {"enabled": False}]}))
    scene.tick(1, outputs=[])
    scene.tick(1, state="ERROR", pid=0, message="the secret `x` is missing", sources=[], outputs=[])
    scene.tick(1)
    kinds = dict(told(scene))
    assert kinds["Output Status Change"] == {"currentStatus": "DISABLED", "previousStatus": "ENABLED"}
    alerts = [detail for kind, detail in told(scene) if kind == "Alert"]
    assert alerts == [
        {"errored": True, "error-code": "FlowError", "error-message": "the secret `x` is missing"},
        {"errored": False},
    ]
