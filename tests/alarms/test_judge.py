"""Raised when it breaches, cleared when all was well for the hold, and never a flood of notices."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware.alarms.judge import MOST_IN_10_MIN, Judge
from firmware.alarms.rules import Rule

PATIENT = settings(deadline=None, max_examples=60)
DOWN = Rule(name="down", metric="Connected", statistic="Maximum", comparison="<", threshold=1, period_s=1, periods=3)
LOST = Rule(name="lost", metric="NotRecoveredPackets", statistic="Sum", comparison=">=", threshold=5, period_s=10)
RULES = st.builds(
    Rule,
    name=st.just("down"),
    metric=st.just("Connected"),
    statistic=st.sampled_from(["Average", "Minimum", "Maximum"]),
    comparison=st.sampled_from(["<", "<="]),
    threshold=st.just(0.5),
    period_s=st.integers(1, 30),
    periods=st.integers(1, 5),
    missing=st.sampled_from(["breaching", "ignored", "not breaching"]),
)


def fed(judge: Judge, points: list[float | None], since_s: float = 0.0) -> list[tuple[float, str]]:
    """What changed, and after how many seconds."""
    told = [(at, judge.push(since_s + at, point)) for at, point in enumerate(points)]
    return [(at, change) for at, change in told if change]


def test_it_is_raised_after_its_periods_and_cleared_after_its_hold():
    judge = Judge(DOWN)
    assert judge.state == "INSUFFICIENT_DATA"
    assert fed(judge, [1, 0, 0, 1]) == []
    assert judge.state == "OK"
    assert fed(judge, [0, 0, 0], 4) == [(2, "raised")]
    assert (judge.state, judge.value) == ("ALARM", 0)
    assert fed(judge, [1] * 9, 7) == []
    assert fed(judge, [1, 1], 16) == [(0, "cleared")]
    assert judge.state == "OK"


def test_what_is_certain_is_not_waited_for():
    judge = Judge(LOST)
    assert fed(judge, [0, 2, 3]) == [(2, "raised")]
    assert judge.value == 5
    judge = Judge(LOST)
    assert fed(judge, [0, 2, 2] + [0] * 30) == []


def test_some_of_the_last_periods():
    judge = Judge(Rule(name="x", metric="FlowError", statistic="Maximum", comparison=">=", threshold=1, period_s=1, periods=3, of=10))
    assert fed(judge, [1, 0, 0, 0, 1, 0, 0, 0, 1]) == [(8, "raised")]
    judge = Judge(judge.rule)
    assert fed(judge, ([1] + [0] * 5) * 10) == []


@pytest.mark.parametrize(("missing", "state"), [("breaching", "ALARM"), ("ignored", "INSUFFICIENT_DATA"), ("not breaching", "OK")])
def test_points_that_are_missing(missing, state):
    judge = Judge(Rule(name="x", metric="Connected", comparison="<", threshold=1, period_s=5, missing=missing))
    fed(judge, [None] * 20)
    assert judge.state == state


def test_missing_points_neither_hold_nor_clear_an_alarm_that_ignores_them():
    judge = Judge(DOWN)
    assert fed(judge, [0, 0, 0] + [None] * 100) == [(2, "raised")]
    assert fed(judge, [1] * 11, 103) == [(9, "cleared")]


def test_each_flap_is_held_twice_as_long():
    judge = Judge(DOWN)
    held, now_s = [], 0.0
    for _ in range(8):
        assert fed(judge, [0, 0, 0], now_s) == [(2, "raised")]
        cleared = fed(judge, [1] * 400, now_s + 3)
        held.append(cleared[0][0] + 1)
        now_s += 3 + 400
    assert held == [10, 20, 40, 80, 160, 300, 300, 300]
    now_s += 300
    assert fed(judge, [1] * 650 + [0] * 3, now_s) == [(652, "raised")]
    assert fed(judge, [1] * 12, now_s + 653) == [(9, "cleared")]


def test_one_that_another_process_raised_is_not_raised_again():
    judge = Judge(DOWN)
    judge.was_raised(100, flaps=1)
    assert fed(judge, [0] * 5, 101) == []
    assert fed(judge, [1] * 20, 106) == [(19, "cleared")]


def test_another_threshold_holds_from_the_next_period_on():
    judge = Judge(DOWN)
    assert fed(judge, [0] * 3) == [(2, "raised")]
    judge.become(Rule(name="down", metric="Connected", statistic="Maximum", comparison="<", threshold=0, period_s=1))
    assert fed(judge, [0] * 12, 3) == [(9, "cleared")]


@PATIENT
@given(RULES, st.integers(1, 400), st.integers(1, 400), st.integers(0, 100), st.booleans())
@example(DOWN, 3, 10, 0, False)
@example(DOWN, 4, 20, 0, True)
def test_a_square_wave_makes_a_bounded_number_of_notices(rule, bad_s, good_s, phase_s, missing):
    judge = Judge(rule)
    wave = ([None if missing else 0.0] * bad_s + [1.0] * good_s) * (6000 // (bad_s + good_s) + 1)
    raised = [at for at, change in fed(judge, wave[phase_s:]) if change == "raised"]
    for place, at in enumerate(raised):
        assert len([later for later in raised[place:] if later < at + 600]) <= MOST_IN_10_MIN


@PATIENT
@given(RULES, st.lists(st.sampled_from([0.0, 1.0, None]), max_size=120))
def test_a_condition_that_lasts_is_always_told_and_a_good_one_always_cleared(rule, before):
    judge = Judge(rule)
    fed(judge, before)
    bad_s = rule.period_s * (rule.periods + 1) + 1
    fed(judge, [0.0] * bad_s, len(before))
    assert judge.state == "ALARM"
    fed(judge, [1.0] * (int(judge.hold_s) + 2 * rule.period_s + 2), len(before) + bad_s)
    assert judge.state == "OK"


@PATIENT
@given(RULES, st.lists(st.sampled_from([0.0, 1.0, None]), max_size=300))
def test_raised_and_cleared_take_turns(rule, points):
    told = [change for _, change in fed(Judge(rule), points)]
    assert all(first != second for first, second in pairwise(["cleared", *told]))
