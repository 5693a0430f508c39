"""Findings and the step down: no flapping, at most one change in 30 s, always recovers."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.health import Health
from hw.strain import (
    CALM_NS,
    CHANGE_NS,
    COOL,
    DISTRESS_NS,
    LONGEST_CALM_NS,
    LOWEST,
    MB,
    NEAR,
    RULES,
    SECOND_NS,
    Finding,
    Rule,
    StepDown,
    Watch,
)

S = SECOND_NS
WELL = Health(
    soc_celsius=50.0,
    limit_celsius=80.0,
    under_voltage_now=False,
    under_voltage_since_boot=False,
    throttled_now=False,
    disk_free_bytes=4000 * MB,
    disk_read_only=False,
    memory_available_bytes=500 * MB,
    clock_synchronised=True,
)
HOT = Health(soc_celsius=79.0, limit_celsius=80.0)
WARM = Health(soc_celsius=72.0, limit_celsius=80.0)  # in the band: neither hot nor cool
WEAK = Health(under_voltage_now=True, under_voltage_since_boot=True)


def after(watch: Watch, seconds: Iterable[float], health: Health) -> list[Finding]:
    found: list[Finding] = []
    for second in seconds:
        found = watch.push(health, int(second * S))
    return found


def kinds(found: list[Finding]) -> list[str]:
    return [finding.kind for finding in found]


def test_nothing_is_wrong_with_a_board_that_is_well_or_silent() -> None:
    watch = Watch()
    assert after(watch, range(0, 400, 5), WELL) == []
    assert after(watch, range(400, 800, 5), Health()) == []


WRONG = {
    "under-voltage": Health(under_voltage_now=True),
    "under-voltage-before": Health(under_voltage_now=False, under_voltage_since_boot=True),
    "slowed": Health(throttled_now=True),
    "hot": HOT,
    "disk": Health(disk_free_bytes=100 * MB),
    "disk-read-only": Health(disk_read_only=True),
    "memory": Health(memory_available_bytes=20 * MB),
    "clock": Health(clock_synchronised=False),
    "wear": Health(storage_wear_percent=90),
}


def test_every_rule_has_its_case() -> None:
    assert [rule.kind for rule in RULES] == list(WRONG)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_each_rule_rises_in_its_time_and_falls_in_its_time(rule: Rule) -> None:
    watch = Watch()
    wrong = WRONG[rule.kind]
    first = next(second for second in range(1000) if rule.kind in kinds(watch.push(wrong, second * S)))
    assert first == rule.rise_s
    found = watch.push(wrong, (first + 10) * S)
    assert found[0].since_ns == first * S
    assert found[0].words.endswith(".")
    assert len(found[0].words) < 160
    start = first + 11
    gone = next(second for second in range(start, start + 1000) if rule.kind not in kinds(watch.push(WELL, second * S)))
    assert gone == start + rule.fall_s


def test_the_worst_comes_first() -> None:
    health = Health(under_voltage_now=True, disk_free_bytes=10 * MB, soc_celsius=84, limit_celsius=80)
    assert kinds(after(Watch(), (0, 20), health)) == ["under-voltage", "hot", "disk"]


@given(st.lists(st.floats(80 - COOL + 0.1, 80 - NEAR - 0.1), min_size=1, max_size=60))
def test_a_reading_that_trembles_in_the_band_changes_nothing(readings: list[float]) -> None:
    cold, hot = Watch(), Watch()
    step = StepDown()
    assert kinds(after(hot, (0, 10), HOT)) == ["hot"]
    for at, celsius in enumerate(readings, 5):
        health = Health(soc_celsius=celsius, limit_celsius=80.0)
        assert cold.push(health, at * 5 * S) == []
        assert kinds(hot.push(health, at * 5 * S)) == ["hot"]
        assert step.push(health, at * 5 * S) == 0


@given(st.lists(st.tuples(st.floats(0.1, 20), st.floats(60, 90)), max_size=200))
def test_a_finding_stands_for_its_time_at_least(course: list[tuple[float, float]]) -> None:
    watch, now_ns, stood_ns, fell_ns = Watch(), 0, None, None
    for pause, celsius in course:
        now_ns += int(pause * S)
        stands = "hot" in kinds(watch.push(Health(soc_celsius=celsius, limit_celsius=80.0), now_ns))
        if stands and stood_ns is None:
            assert fell_ns is None or now_ns - fell_ns >= 10 * S
            stood_ns = now_ns
        elif not stands and stood_ns is not None:
            assert now_ns - stood_ns >= 60 * S
            stood_ns, fell_ns = None, now_ns


# the step down

READINGS = st.sampled_from([WELL, HOT, WARM, WEAK, Health(), Health(throttled_now=True), Health(soft_limit_now=True)])
COURSES = st.lists(st.tuples(st.floats(0.05, 40), READINGS), max_size=300)


def run(step: StepDown, health: Health, from_ns: int, for_ns: int, every_ns: int = 5 * S) -> int:
    for now_ns in range(from_ns, from_ns + for_ns + 1, every_ns):
        step.push(health, now_ns)
    return step.level


@given(COURSES)
@settings(max_examples=300)
def test_at_most_one_step_in_thirty_seconds_and_always_back(course: list[tuple[float, Health]]) -> None:
    step, now_ns, level, changed_ns = StepDown(), 0, 0, None
    for pause, health in course:
        now_ns += int(pause * S)
        fresh = step.push(health, now_ns)
        assert 0 <= fresh <= LOWEST
        if fresh != level:
            assert abs(fresh - level) == 1
            assert changed_ns is None or now_ns - changed_ns >= CHANGE_NS
            level, changed_ns = fresh, now_ns
        assert bool(step.why) == bool(step.level)
    assert run(step, WELL, now_ns, 3 * LONGEST_CALM_NS) == 0
    assert run(step, WELL, now_ns + 4 * LONGEST_CALM_NS, 10 * CALM_NS) == 0


@given(COURSES, st.sampled_from([HOT, WEAK]))
def test_trouble_that_stays_brings_the_board_down_all_the_way(course: list[tuple[float, Health]], trouble: Health) -> None:
    step, now_ns = StepDown(), 0
    for pause, health in course:
        now_ns += int(pause * S)
        step.push(health, now_ns)
    assert run(step, trouble, now_ns, CHANGE_NS * (LOWEST + 1) + DISTRESS_NS) == LOWEST


def test_ten_seconds_of_trouble_are_one_step_and_sixty_of_calm_undo_it() -> None:
    step = StepDown()
    assert run(step, HOT, 0, 9 * S, S) == 0
    assert step.push(HOT, 10 * S) == 1
    assert step.why == "it has 79 degrees"
    assert run(step, WELL, 11 * S, 59 * S, S) == 1
    assert step.push(WELL, 71 * S) == 0


def test_a_short_blink_of_the_supply_costs_nothing_but_blinks_without_end_do() -> None:
    step = StepDown()
    step.push(WEAK, 0)
    assert run(step, WELL, 1 * S, 100 * S) == 0
    for second in range(200, 240, 4):
        step.push(WEAK, second * S)
        step.push(WELL, (second + 2) * S)
    assert step.level >= 1


def test_a_board_in_the_sun_does_not_go_up_and_down_all_afternoon() -> None:
    """At full work it is hot within 20 s, a step lower it is well."""
    step, changes, level, since_ns = StepDown(), 0, 0, 0
    for now_ns in range(0, 4 * 3600 * S, 5 * S):
        hot = step.level == 0 and now_ns - since_ns > 20 * S
        fresh = step.push(HOT if hot else WELL, now_ns)
        if fresh != level:
            level, since_ns, changes = fresh, now_ns, changes + 1
    assert changes <= 2 * (5 + 4 * 60 // 16)  # a plain hysteresis would have changed 320 times


def test_a_jetson_that_tells_no_limit_is_hot_near_the_usual_one() -> None:
    assert kinds(after(Watch(), (0, 10), Health(soc_celsius=81.0))) == ["hot"]
