from __future__ import annotations

import itertools
import random

import pytest

from hw.timeline import LEAST_STEP_NS, Timeline

FRAME_NS = 40_000_000
SECOND_NS = 1_000_000_000
DAY_S = 86_400


def test_times_rise_evenly_whatever_the_network_does() -> None:
    line, chance = Timeline(), random.Random(1)
    laid = [line.push(number * FRAME_NS, 5 * SECOND_NS + number * FRAME_NS + chance.randrange(60_000_000)) for number in range(2000)]
    steps = [after - before for before, after in itertools.pairwise(laid)]
    assert min(steps) >= LEAST_STEP_NS
    assert max(abs(step - FRAME_NS) for step in steps[500:]) < 2_000_000, "of 60 ms that the network added and took"
    assert 0 <= laid[-1] - (5 * SECOND_NS + 1999 * FRAME_NS) < 3_000_000, "as the quickest ones came"


@pytest.mark.parametrize("ppm", [-200, 200])
def test_a_quartz_that_is_off_does_not_add_up_in_a_day(ppm: int) -> None:
    line, chance, worst = Timeline(), random.Random(2), 0
    step_ns = 1_000_000_000  # one picture a second is enough to see it
    for number in range(DAY_S):
        truth_ns = number * step_ns
        arrived_ns = truth_ns + 20_000_000 + chance.randrange(30_000_000)
        laid_ns = line.push(truth_ns + truth_ns * ppm // 1_000_000, arrived_ns)
        if number > 60:
            worst = max(worst, abs(laid_ns - truth_ns - 20_000_000))
    assert worst < 40_000_000
    assert line.leaps == 0


@pytest.mark.parametrize("leap_s", [3600, -3600, 1.5, -0.7, -40_000])
def test_a_clock_that_is_set_is_no_step(leap_s: float) -> None:
    line, laid = Timeline(), []
    for number in range(200):
        carried_ns = number * FRAME_NS + (int(leap_s * SECOND_NS) if number >= 100 else 0)
        laid.append(line.push(carried_ns, SECOND_NS + number * FRAME_NS + number % 3 * 1_000_000))
    assert line.leaps == 1
    assert max(after - before for before, after in itertools.pairwise(laid)) < FRAME_NS * 2
    assert abs(laid[-1] - (SECOND_NS + 199 * FRAME_NS)) < 10_000_000


def test_what_stood_in_the_network_and_comes_in_a_burst_is_laid_as_it_was_taken() -> None:
    line, laid = Timeline(), []
    for number in range(200):
        held_ns = 2_400_000_000 if 100 <= number < 160 else 0
        arrived_ns = SECOND_NS + max(number * FRAME_NS, 100 * FRAME_NS + held_ns if held_ns else 0)
        laid.append(line.push(number * FRAME_NS, arrived_ns))
    assert line.leaps == 0
    assert {after - before for before, after in itertools.pairwise(laid)} == {FRAME_NS}


def test_pictures_that_were_lost_leave_their_time_empty() -> None:
    line = Timeline()
    laid = [line.push(number * FRAME_NS, SECOND_NS + number * FRAME_NS) for number in range(300) if not 100 <= number < 180]
    assert laid[100] - laid[99] == 81 * FRAME_NS
    assert line.leaps == 0


def test_a_way_that_becomes_shorter_is_followed_without_going_back() -> None:
    line = Timeline()
    laid = [line.push(number * FRAME_NS, SECOND_NS + number * FRAME_NS + (0 if number > 100 else 70_000_000)) for number in range(300)]
    assert min(after - before for before, after in itertools.pairwise(laid)) >= FRAME_NS // 2
    assert laid[-1] == SECOND_NS + 299 * FRAME_NS


def test_what_waited_before_the_first_picture_was_asked_for_does_not_count() -> None:
    line = Timeline()
    pairs = [(number * FRAME_NS, max(SECOND_NS, SECOND_NS // 2 + number * FRAME_NS)) for number in range(15)]
    line.begin(pairs)
    laid = [line.push(*pair) for pair in pairs]
    laid += [line.push(number * FRAME_NS, SECOND_NS // 2 + number * FRAME_NS) for number in range(15, 60)]
    assert laid == [SECOND_NS // 2 + number * FRAME_NS for number in range(60)]
