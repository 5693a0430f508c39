"""Rhythms: what a lamp shows when, and that nothing flashes more than three times a second."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw import rhythm
from hw.rhythm import Calm, Light, Pattern, Rhythm, brightness, code

EVERY = [value for value in vars(rhythm).values() if isinstance(value, Rhythm)] + [code(number) for number in range(1, 13)]


def rises(lights: list[tuple[float, Light]]) -> list[float]:
    """When it grew brighter after it had grown darker."""
    found, falling, before = [], True, 0.0
    for ms, light in lights:
        now = brightness(light)
        if now > before and falling:
            found.append(ms)
            falling = False
        elif now < before:
            falling = True
        before = now
    return found


def most_in_a_second(moments: list[float]) -> int:
    return max((sum(begin <= ms < begin + 1000 for ms in moments) for begin in moments), default=0)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_no_rhythm_flashes_more_than_three_times_a_second(one: Rhythm) -> None:
    pattern = Pattern(one, ("white", "amber"))
    assert most_in_a_second(rises([(ms, pattern.at(ms)) for ms in range(0, 3 * one.period_ms, 5)])) <= 3


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_a_rhythm_repeats_and_says_when_it_changes(one: Rhythm) -> None:
    for ms in range(0, one.period_ms, 7):
        assert one.level_at(ms) == pytest.approx(one.level_at(ms + 5 * one.period_ms), abs=1e-6)
        after = one.changes_in_ms(ms)
        if math.isfinite(after) and not one.glides:
            assert one.level_at(ms + after / 2) == one.level_at(ms)
            assert one.step_at(ms + after)[0] is not one.step_at(ms)[0] or len(one.steps) == 1


@pytest.mark.parametrize("number", range(1, 11))
def test_a_code_can_be_counted(number: int) -> None:
    one = code(number)
    moments = rises([(ms, Pattern(one, ("amber",)).at(ms)) for ms in range(0, one.period_ms, 5)])
    assert len(moments) == number
    assert all(later - earlier >= 500 for earlier, later in pairwise(moments)), "slow enough to count"
    assert one.steps[-1].ms > 3 * rhythm.CODE_OFF_MS, "the pause cannot be taken for a gap"


lights = st.builds(Light, st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from(["white", "blue", "amber", "red"]))


@given(st.lists(st.tuples(st.integers(1, 700), lights), max_size=60))
def test_whatever_it_is_told_a_lamp_stays_calm(told: list[tuple[int, Light]]) -> None:
    calm, ms, shown = Calm(), 0.0, []
    for wait_ms, light in told:
        ms += wait_ms
        shown.append((ms, calm.light(light, ms)))
    assert most_in_a_second(rises(shown)) <= 3


@given(lights, lights)
def test_what_is_wanted_for_long_enough_is_shown(first: Light, second: Light) -> None:
    calm = Calm()
    calm.light(first, 0.0)
    calm.light(second, 10.0)
    assert calm.light(second, 10.0 + rhythm.SHORTEST_FLASH_MS) == second
