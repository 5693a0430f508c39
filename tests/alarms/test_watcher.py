"""What the recommended set makes of a flow's snapshots, and that a restart of the watcher makes no notice twice."""

from __future__ import annotations

import resource

import msgspec
import pytest

from firmware.alarms.board import acknowledge, read_alarms
from firmware.alarms.journal import Notice
from firmware.alarms.rules import Rule
from firmware.alarms.settings import changing
from firmware.model import parse_flow
from firmware.status import FlowStatus, MergeStatus, write_snapshot
from firmware.store import Store
from tests.alarms.watching import NOON, Scene, end


@pytest.fixture
def scene(places):
    made = Scene(places)
    yield made
    made.watcher.close()


def change(places, **fields):
    with changing(places.state, lambda before, after: None) as settings:
        for name, value in fields.items():
            setattr(settings, name, value)


def test_a_flow_that_is_well_raises_nothing(scene):
    scene.tick(60)
    assert scene.raised == {}
    assert scene.notices() == []
    assert scene.events() == []


@pytest.mark.parametrize(
    ("wrong", "alarms"),
    [
        ({"sources": [end("path-a"), end("path-b", "connecting")]}, {"source-down/path-b"}),
        ({"sources": [end("path-a", "waiting"), end("path-b", "waiting")]}, {"no-source", "source-down/path-a", "source-down/path-b"}),
        ({"sources": [end("path-a", rate_bps=2e5), end("path-b")]}, {"source-bitrate-low/path-a"}),
        ({"merge": MergeStatus(state="one leg", window_ms=200)}, {"merge-lost"}),
        ({"merge": MergeStatus(state="merged", window_ms=200, differing=["path-b"])}, {"sources-differ/path-b"}),
        ({"outputs": [end("wall", "connecting")]}, {"output-down/wall"}),
        ({"outputs": [end("wall", "waiting", "srt-listener")]}, set()),
        ({"state": "ERROR", "pid": 0, "message": "the secret `x` is missing"}, {"flow-error", "no-source"}),
        ({"lost": 5}, {"not-recovered"}),
        ({"faults": 3}, {"tr101290-priority-1"}),
    ],
    ids=["one source", "all sources", "bitrate", "merge", "mismatch", "output", "nobody called", "error", "lost", "TR 101 290"],
)
def test_what_is_wrong_raises_its_alarm_and_no_other(scene, wrong, alarms):
    scene.tick(15)
    scene.tick(12, **wrong)
    assert set(scene.raised) - {"output-disconnected/wall"} == alarms
    for alarm in scene.raised.values():
        assert alarm.flow == "studio"
        assert alarm.reason
        assert alarm.advice.endswith(".")
    if "lost" not in wrong and "faults" not in wrong:
        scene.tick(60)
        assert scene.raised == {}


def test_a_switch_of_a_failover_and_a_lost_connection_are_told_and_over_again(scene):
    playing = {"merge": MergeStatus(state="failover", playing="path-a", switches=0)}
    scene.tick(15, outputs=[end("wall", protocol="srt-listener")], **playing)
    playing = {"merge": MergeStatus(state="failover", playing="path-b", switches=1)}
    scene.tick(2, outputs=[end("wall", "waiting", "srt-listener")], **playing)
    assert set(scene.raised) == {"failover", "output-disconnected/wall"}
    scene.tick(45, outputs=[end("wall", protocol="srt-listener")], **playing)
    assert scene.raised == {}
    assert [event.what for event in scene.events()] == ["output-health", "flow-health", "output-health", "flow-health"]


def test_the_reason_has_the_figure_and_the_threshold_and_what_the_flow_says(scene):
    scene.tick(15)
    scene.tick(12, outputs=[end("wall", "connecting", message="nobody answers at 192.0.2.7:5000")])
    told = scene.raised["output-down/wall"].reason
    assert told == (
        "this output reaches nobody: Maximum of OutputConnected was 0 over 1 s; "
        "the alarm is at Maximum of OutputConnected < 1 over 1 s, 5 times running; nobody answers at 192.0.2.7:5000"
    )


def test_one_source_has_no_merge_to_lose(scene):
    scene.tick(40, sources=[end("camera", protocol="camera")], merge=None, account=None)
    assert scene.raised == {}


def test_a_flow_that_just_began_is_given_time(scene):
    down = {"sources": [end("path-a", "waiting"), end("path-b", "waiting")], "started_at": scene.at}
    scene.tick(9, **down)
    assert scene.raised == {}
    scene.tick(9, **down)
    assert "no-source" in scene.raised


def test_a_flow_that_is_stopped_raises_nothing_and_clears_what_was_raised(scene):
    scene.tick(12, outputs=[end("wall", "connecting")])
    assert set(scene.raised) == {"output-down/wall"}
    write_snapshot(scene.places.snapshot("studio"), FlowStatus(name="studio", state="STANDBY"))
    scene.tick(30, silent=True)
    assert scene.raised == {}
    assert read_alarms(scene.places).cleared[0].reason == "the flow was stopped"


def test_a_worker_that_hangs_is_missing(scene):
    store = Store(scene.places.store)
    store.create(parse_flow({"name": "studio", "sources": [{"name": "a", "protocol": "udp", "port": 5000}]}), "ACTIVE")
    scene.tick(15)
    scene.tick(15, silent=True)
    assert set(scene.raised) == {"flow-error", "no-source"}
    store.delete("studio")
    scene.places.snapshot("studio").unlink()
    scene.tick(1, silent=True)
    assert scene.raised == {}
    assert scene.events()[-1].detail == {"currentStatus": "DELETING", "previousStatus": "ERROR"}


def test_an_allowlist_of_everybody_is_taken_and_alarmed(scene):
    source = {"name": "path-a", "protocol": "udp", "port": 5000, "allow": ["192.0.2.0/24", "0.0.0.0/0"]}
    Store(scene.places.store).create(parse_flow({"name": "studio", "sources": [source]}), "ACTIVE")
    scene.tick(3, sources=[end("path-a", protocol="udp")], merge=None)
    assert set(scene.raised) == {"source-open-to-all/path-a"}


def test_an_end_that_is_taken_away_takes_its_alarm_with_it(scene):
    scene.tick(12, outputs=[end("wall"), end("truck", "connecting")])
    assert set(scene.raised) == {"output-down/truck"}
    scene.tick(1, outputs=[end("wall")])
    assert scene.raised == {}


def test_of_many_outputs_the_one_that_goes_is_told_however_long_all_was_calm(scene):
    names = [f"out-{number}" for number in range(20)]
    scene.tick(60, outputs=[end(name, packets=scene.carried) for name in names])
    scene.tick(1, outputs=[end(name, "connecting" if name == "out-7" else "connected") for name in names])
    assert set(scene.raised) == {"output-disconnected/out-7"}
    scene.tick(5, outputs=[end(name, "connecting" if name == "out-7" else "connected") for name in names])
    assert set(scene.raised) == {"output-disconnected/out-7", "output-down/out-7"}
    change(scene.places, own=[Rule(name="few", metric="ConnectedOutputs", comparison="<", threshold=20, period_s=5, flows="st*")])
    scene.tick(6, outputs=[end(name, "connecting" if name == "out-7" else "connected") for name in names])
    assert scene.raised["few"].reason.startswith("ConnectedOutputs is out of bounds: Average of ConnectedOutputs was 19 over 5 s")
    change(scene.places, own=[Rule(name="thin", metric="OutputBitrate", comparison="<", threshold=2e7, period_s=5, end="out-1?")])
    scene.tick(12, outputs=[end(name) for name in names])
    assert len([name for name in scene.raised if name.startswith("thin/")]) == 10


def test_settings_hold_from_the_next_look_on(scene):
    scene.tick(15)
    change(scene.places, changed={"source-bitrate-low": {"threshold": 2e7, "severity": "critical"}})
    scene.tick(12)
    assert {alarm.severity for alarm in scene.raised.values()} == {"critical"}
    assert set(scene.raised) == {"source-bitrate-low/path-a", "source-bitrate-low/path-b"}
    change(scene.places, changed={"source-bitrate-low": {"threshold": 2e7}})
    scene.tick(1)
    assert {alarm.severity for alarm in scene.raised.values()} == {"warning"}
    change(scene.places, off=["source-bitrate-low"])
    scene.tick(1)
    assert scene.raised == {}
    (scene.places.state / "alarms/settings.json").write_text("{")
    scene.tick(12)
    assert scene.raised == {}


def test_whoever_acknowledges_it_stands_on_the_board(scene):
    scene.tick(12, outputs=[end("wall", "connecting")])
    assert acknowledge(scene.places, "no such id", "ann") is None
    assert acknowledge(scene.places, scene.raised["output-down/wall"].id, "ann")
    scene.tick(1, outputs=[end("wall", "connecting")])
    assert scene.raised["output-down/wall"].acknowledged.by == "ann"


@pytest.mark.parametrize("run_is_lost", [False, True], ids=["killed", "power cut"])
def test_a_watcher_after_another_tells_nothing_twice_and_forgets_nothing(scene, run_is_lost):
    scene.tick(12, outputs=[end("wall", "connecting")])
    first = scene.raised["output-down/wall"]
    if run_is_lost:
        (scene.places.run / "alarms.json").unlink()
    scene.new_watcher()
    scene.tick(12, outputs=[end("wall", "connecting")])
    assert scene.raised["output-down/wall"].id == first.id
    scene.new_watcher()
    scene.tick(15)
    assert scene.raised == {}
    assert scene.notices() == [("output-down", "ALARM"), ("output-down", "OK")]


def test_killed_between_journal_and_board_it_finds_in_the_journal_what_it_had_told(scene):
    board = scene.places.run / "alarms.json"
    scene.tick(6)
    before = board.read_bytes()
    scene.tick(12, outputs=[end("wall", "connecting")])
    first = scene.raised["output-down/wall"]
    board.write_bytes(before)
    scene.new_watcher()
    scene.tick(3, outputs=[end("wall", "connecting")])
    assert scene.raised["output-down/wall"].id == first.id
    during = board.read_bytes()
    scene.tick(15)
    board.write_bytes(during)
    scene.new_watcher()
    scene.tick(15)
    assert scene.raised == {}
    assert scene.notices() == [("output-down", "ALARM"), ("output-down", "OK")]


def test_what_the_disk_does_not_take_waits_and_is_told_later(scene, caplog):
    scene.tick(2)
    journal = scene.places.state / "alarms/notices.jsonl"
    notice = Notice(what="alert", at=NOON, detail={"filler": "x" * 20_000})
    with journal.open("ab") as file:
        file.write(msgspec.json.encode(notice) + b"\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 100, hard))
        scene.tick(12, outputs=[end("wall", "connecting")])
        assert set(scene.raised) == {"output-down/wall"}
        assert scene.notices() == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written, and wait" in caplog.text
    scene.tick(15)
    assert scene.notices() == [("output-down", "ALARM"), ("output-down", "OK")]


def test_a_merge_that_is_about_to_be_too_far_apart(scene):
    scene.tick(15, merge=MergeStatus(state="merged", window_ms=200, skew_ms=-150))
    assert scene.raised == {}
    scene.tick(35, merge=MergeStatus(state="merged", window_ms=200, skew_ms=-170))
    assert set(scene.raised) == {"merge-skew"}


def test_flaps_are_remembered_over_a_restart(scene):
    for _ in range(3):
        scene.tick(6, outputs=[end("wall", "connecting")])
        scene.new_watcher()
        scene.tick(45)
    assert len([name for name, state in scene.notices() if (name, state) == ("output-down", "ALARM")]) == 3
    scene.tick(6, outputs=[end("wall", "connecting")])
    assert scene.raised["output-down/wall"].flaps == 3
