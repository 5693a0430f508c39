"""The table of the lamps and its rules: what may be shown, what can be told from what, and that ON AIR never says more than the far end."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.boxstate import Known, Told, box_state, camera_state, path_states
from appliance.lights import HELD, LAMPS, NUMBERS, ORDER, TABLE, Air, BoxState, Doing, Fault, In, Lamp, Path, show, system
from firmware.model import Camera, Flow, UdpOutput
from firmware.status import CaptureStatus, EndStatus, FlowStatus
from hw.network import Network
from hw.rhythm import OFF, SOLID, Pattern, Rhythm
from hw.strain import RULES, Finding

PATTERNS = [entry.pattern for entries in TABLE.values() for entry in entries.values()] + [pattern for pattern, _ in HELD.values()]


def test_the_table_has_a_line_for_every_state() -> None:
    wanted = {"in": get_args(In), "a": get_args(Path), "b": get_args(Path), "on-air": get_args(Air)}
    assert {lamp: tuple(TABLE[lamp]) for lamp in wanted} == wanted  # type: ignore[index]
    assert set(TABLE["sys"]) == {"dark", "notice", "identify", *get_args(Doing), *get_args(Fault)}
    assert set(ORDER) == set(NUMBERS) == set(get_args(Fault))
    assert sorted(NUMBERS.values()) == list(range(2, 11)), "nine faults, and none of a single flash, which could be a wink"


def gait(rhythm: Rhythm) -> tuple[int, float, float]:
    """How somebody tells rhythms apart: flashes in a period, how long the first lasts, how long the period is."""
    lit = [step.ms for step in rhythm.steps if step.level >= 0.5]
    return len(lit), lit[0] if lit else 0.0, rhythm.period_ms


@pytest.mark.parametrize("lamp", LAMPS)
def test_any_two_states_of_a_lamp_differ_in_rhythm_alone(lamp: Lamp) -> None:
    """So that nobody has to see colours, and a lamp may have one colour."""
    for one, other in combinations(TABLE[lamp].values(), 2):
        if OFF in (one.pattern.rhythm, other.pattern.rhythm):
            assert one.pattern.rhythm is not other.pattern.rhythm
            continue
        (flashes, lit_ms, period_ms), (other_flashes, other_lit_ms, other_period_ms) = gait(one.pattern.rhythm), gait(other.pattern.rhythm)
        different = (
            flashes != other_flashes
            or max(lit_ms, other_lit_ms) >= 1.6 * min(lit_ms, other_lit_ms)
            or max(period_ms, other_period_ms) >= 1.6 * min(period_ms, other_period_ms)
        )
        assert different, f"{one.state} and {other.state} of {lamp}"


def test_no_green_and_red_on_one_lamp_alone() -> None:
    """Red is the tally's, on a lamp of its own; faults are amber."""
    for lamp, entries in TABLE.items():
        for entry in entries.values():
            assert ("red" in entry.pattern.colours) <= (lamp == "on-air"), f"{entry.state} of {lamp}"


def test_what_is_lit_while_the_button_is_held_does_something_and_nothing_else_is() -> None:
    assert {zone for zone, (pattern, _) in HELD.items() if pattern.rhythm is SOLID} == {"press", "start-stop", "set-up", "factory"}
    assert {words for pattern, words in HELD.values() if pattern.rhythm is not SOLID} == {"nothing"}


states = st.builds(
    BoxState,
    doing=st.sampled_from(get_args(Doing)),
    faults=st.lists(st.sampled_from(get_args(Fault)), unique=True).map(tuple),
    notices=st.booleans(),
    camera=st.sampled_from(get_args(In)),
    paths=st.tuples(st.sampled_from(get_args(Path)), st.sampled_from(get_args(Path))),
    air=st.sampled_from(get_args(Air)),
    identify=st.booleans(),
    dark=st.booleans(),
    dark_keeps_on_air=st.booleans(),
)


@given(states)
def test_every_state_shows_something_on_every_lamp(state: BoxState) -> None:
    shown = show(state)
    assert set(shown) == set(LAMPS)
    assert (shown["on-air"].pattern.rhythm is SOLID) <= (state.air == "confirmed")
    if state.dark:
        lit = {lamp for lamp, entry in shown.items() if entry.pattern.rhythm is not OFF}
        assert lit <= {"on-air"} | ({"sys"} if state.identify else set())
    elif state.faults and state.doing == "running" and not state.identify:
        assert system(state) in state.faults
    assert (system(state) == "running") <= (not state.faults and not state.notices)


ends = st.builds(
    EndStatus,
    name=st.sampled_from(["path-a", "path-b", "wall"]),
    protocol=st.sampled_from(["srt-caller", "srt-listener", "rist", "rtp", "udp"]),
    state=st.sampled_from(["connected", "connecting", "waiting", "off", "failed"]),
    packets=st.sampled_from([0, 5, 10_000]),
    repaired=st.sampled_from([0, 3]),
    confirmed=st.sampled_from([None, False, True]),
)
flows = st.builds(
    FlowStatus,
    name=st.just("court-3"),
    state=st.sampled_from(["STANDBY", "STARTING", "ACTIVE", "UPDATING", "STOPPING", "ERROR"]),
    started_at=st.just(1000.0),
    at=st.sampled_from([1001.0, 1100.0]),
    picture=st.sampled_from(["live", "slate", "none"]),
    outputs=st.lists(ends, max_size=3, unique_by=lambda end: end.name),
)
captures = st.builds(
    CaptureStatus,
    pid=st.just(1),
    at=st.just(0.0),
    camera=st.just("v4l2:/dev/video0"),
    encoder=st.just("x264"),
    present=st.booleans(),
    picture=st.sampled_from(["moving", "black", "frozen", "none"]),
    sound=st.sampled_from(["heard", "silent", "none"]),
)
definition = Flow(
    name="court-3",
    sources=[Camera(name="cam", sound="alsa:hw:1,0")],
    outputs=[UdpOutput(name="path-a", host="127.0.0.1", port=5000), UdpOutput(name="path-b", host="127.0.0.1", port=5002)],
)
told = st.builds(
    Told,
    name=st.just("court-3"),
    flow=st.sampled_from([None, definition]),
    wanted=st.booleans(),
    status=st.none() | flows,
    silent_s=st.sampled_from([0.0, 4.0, 60.0]),
    capture=st.none() | captures,
    was_live=st.booleans(),
    strained=st.sets(st.sampled_from(["path-a", "path-b"])).map(frozenset),
)
findings = st.lists(st.sampled_from(RULES).map(lambda rule: Finding(rule.kind, rule.severity, rule.kind, 0)), max_size=3).map(tuple)
knowns = st.builds(
    Known,
    told=told,
    doing=st.sampled_from(get_args(Doing)),
    engine_silent_s=st.sampled_from([0.0, 60.0]),
    network=st.builds(Network, st.booleans(), st.booleans()),
    login=st.booleans(),
    findings=findings,
    alarms=st.sampled_from([(), ("output-down, output path-a of flow court-3",)]),
    seen=st.sets(st.sampled_from(get_args(Fault))).map(frozenset),
)


@given(knowns)
def test_the_lamps_never_say_more_than_is_known(known: Known) -> None:
    state = box_state(known)
    shown = show(state)
    status = known.told.status
    if shown["on-air"].pattern.rhythm is SOLID:
        assert status is not None
        assert status.state == "ACTIVE"
        assert status.picture == "live"
        assert any(end.confirmed and end.state == "connected" for end in status.outputs)
        assert all(path in ("unused", "clean", "repairing") for path in state.paths)
    for state_of in (state.camera, *state.paths, state.air):
        if status is None:
            assert state_of in ("unknown", "unused", "off"), "an old snapshot says nothing"
    if state.camera == "good":
        assert status is not None
        assert status.picture == "live"
        assert known.told.capture is not None
        assert known.told.capture.picture not in ("black", "frozen")
    if shown["sys"].state == "running":
        assert not known.alarms
        assert not state.faults


@given(st.sampled_from(get_args(Fault)), st.sampled_from(get_args(Fault)))
def test_two_faults_are_told_apart(one: Fault, other: Fault) -> None:
    shown = [show(BoxState(faults=(fault,)))["sys"].pattern for fault in (one, other)]
    assert (shown[0] == shown[1]) == (one == other)
    assert len({gait(pattern.rhythm)[0] for pattern in shown}) == len({one, other})


def live(**changes: object) -> Told:
    outputs = [EndStatus(name=name, protocol="srt-caller", state="connected", packets=9, confirmed=True) for name in ("path-a", "path-b")]
    status = FlowStatus(name="court-3", state="ACTIVE", picture="live", started_at=1.0, at=99.0, outputs=outputs)
    capture = CaptureStatus(pid=1, at=99.0, camera="c", encoder="x", picture="moving", sound="heard")
    fields: dict[str, object] = {
        "name": "court-3",
        "flow": definition,
        "wanted": True,
        "status": status,
        "capture": capture,
        "was_live": True,
    }
    return Told(**fields | changes)  # type: ignore[arg-type]


def air(told: Told) -> str:
    return box_state(Known(told=told)).air


def end(**changes: object) -> EndStatus:
    fields: dict[str, object] = {"name": "path-b", "protocol": "srt-caller", "state": "connected", "packets": 9, "confirmed": True}
    return EndStatus(**fields | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("second", "picture", "path", "said"),
    [
        (end(), "live", "clean", "confirmed"),
        (end(state="connecting"), "live", "down", "at-risk"),
        (end(state="off"), "live", "down", "at-risk"),
        (end(state="connecting", packets=0), "live", "connecting", "at-risk"),
        (end(confirmed=False), "live", "down", "at-risk"),
        (end(protocol="udp", confirmed=None), "live", "clean", "confirmed"),
        (end(), "slate", "clean", "at-risk"),
    ],
)
def test_on_air(second: EndStatus, picture: str, path: str, said: str) -> None:
    told = live()
    assert told.status
    told.status.outputs[1], told.status.picture = second, picture  # type: ignore[assignment]
    assert (path_states(told)[1], air(told)) == (path, said)


def test_off_air_in_its_ways() -> None:
    assert air(Told()) == "off"
    assert air(live(wanted=False, status=FlowStatus(name="court-3", state="STANDBY"))) == "off"
    assert air(live(status=None)) == "unknown"
    assert air(live(status=FlowStatus(name="court-3", state="STARTING"))) == "sent"
    assert air(live(status=FlowStatus(name="court-3", state="ERROR"))) == "lost"
    told = live()
    assert told.status
    told.status.outputs[:] = [end(name="path-a", state="connecting"), end(state="failed")]
    assert air(told) == "lost"
    told.status.outputs[:] = [end(name="path-a", protocol="udp", confirmed=None), end(protocol="udp", confirmed=None)]
    assert air(told) == "sent", "UDP cannot tell whether it arrives"


@pytest.mark.parametrize(
    ("capture", "said"),
    [
        ({}, "good"),
        ({"picture": "black"}, "part"),
        ({"picture": "frozen"}, "part"),
        ({"sound": "silent"}, "part"),
        ({"sound": "none"}, "part"),
    ],
)
def test_the_camera(capture: dict[str, str], said: str) -> None:
    fields = {"pid": 1, "at": 99.0, "camera": "c", "encoder": "x", "picture": "moving", "sound": "heard"}
    assert camera_state(live(capture=CaptureStatus(**fields | capture))) == said  # type: ignore[arg-type]


def test_a_network_that_carries_the_picture_is_no_fault() -> None:
    nowhere = Network(link=False, way_out=False)
    assert box_state(Known(told=live(), network=nowhere)).faults == ()
    assert box_state(Known(network=nowhere)).faults == ("link",)
    assert box_state(Known(network=Network(way_out=False))).faults == ("way-out",)


def test_a_fault_that_somebody_has_seen_flashes_no_more_and_is_not_forgotten() -> None:
    known = Known(network=Network(link=False), seen=frozenset({"link"}))
    assert system(box_state(known)) == "notice"
    assert system(box_state(Known())) == "running"


def test_patterns_have_as_many_colours_as_their_rhythm_uses() -> None:
    for pattern in PATTERNS:
        assert isinstance(pattern, Pattern)
        assert max(step.colour for step in pattern.rhythm.steps) == len(pattern.colours) - 1
