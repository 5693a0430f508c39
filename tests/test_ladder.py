"""What is tried for a camera that is there and gives no picture, and when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firmware.ladder import EVERY_S, RUNGS, SECOND_NS, Ladder


def climbed(seconds: int, *, well_at: frozenset[int] = frozenset(), away_at: frozenset[int] = frozenset()) -> list[tuple[int, str]]:
    ladder = Ladder()
    steps = [(s, ladder.look(well=s in well_at, present=s not in away_at, now_ns=s * SECOND_NS)) for s in range(seconds)]
    return [(s, step) for s, step in steps if step]


def test_the_rungs_in_their_order_and_then_the_port_now_and_then() -> None:
    steps = climbed(300 + 3 * EVERY_S)
    assert steps[: len(RUNGS)] == [(after, step) for after, step in RUNGS]
    assert [s for s, _ in steps[len(RUNGS) :]] == [300 + EVERY_S, 300 + 2 * EVERY_S]
    assert {step for _, step in steps[len(RUNGS) :]} == {"power-cycle"}
    assert [step for _, step in steps].count("reboot") == 1, "one for each time that it fails; the hour's bound is kept by who does it"


def test_a_picture_brings_the_first_rung_back() -> None:
    assert climbed(120, well_at=frozenset({50})) == [
        (10, "restart"),
        (30, "power-cycle"),
        (61, "restart"),
        (81, "power-cycle"),
        (111, "restart"),
    ]


def test_nothing_is_done_for_a_camera_that_is_away() -> None:
    assert climbed(2000, away_at=frozenset(range(2000))) == []
    assert climbed(70, away_at=frozenset(range(5, 60))) == []


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 20)), max_size=60))
def test_no_step_while_it_is_well_and_no_two_at_once(looks: list[tuple[bool, bool, int]]) -> None:
    ladder, now_s, last_s = Ladder(), 0, -100
    for well, present, passed_s in looks:
        now_s += passed_s
        step = ladder.look(well=well, present=present, now_ns=now_s * SECOND_NS)
        if step:
            assert present
            assert not well
            assert now_s > last_s
            last_s = now_s
