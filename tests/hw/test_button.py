"""The button: what a hold means, where nothing happens, and what a stuck or bouncing one does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.button import DEBOUNCE_MS, Action, Button, zone_at


def held(ms: float, *, may_start: bool = True, button: Button | None = None) -> Action | None:
    """What comes of it when a button that was up is down for so long."""
    button = button or Button(may_start=may_start)
    assert button.push(False, 0.0) is None
    assert button.push(False, 100.0) is None
    assert button.push(True, 1000.0) is None
    assert button.push(True, 1000.0 + DEBOUNCE_MS) is None
    assert button.push(False, 1000.0 + ms) is None, "not before it is let go for good"
    return button.push(False, 1000.0 + ms + DEBOUNCE_MS)


@pytest.mark.parametrize(
    ("ms", "action"),
    [
        (60, "press"),
        (799, "press"),
        (801, None),
        (1999, None),
        (2001, "start-stop"),
        (2749, "start-stop"),
        (2751, None),
        (2999, None),
        (3001, "set-up"),
        (4999, "set-up"),
        (5001, None),
        (9999, None),
        (10_001, "factory"),
        (19_999, "factory"),
        (20_001, None),
        (3_600_000, None),
    ],
)
def test_the_borders(ms: float, action: Action | None) -> None:
    assert held(ms) == action


def test_start_and_stop_only_where_it_is_allowed() -> None:
    assert held(2400, may_start=False) is None


@given(st.floats(50, 25_000), st.floats(50, 25_000))
def test_between_two_actions_lies_a_gap(first: float, second: float) -> None:
    one, other = held(first), held(second)
    if one and other and one != other:
        assert abs(first - second) > 200, "no slip of a tenth of a second makes one of the other"


@given(st.lists(st.floats(0, DEBOUNCE_MS - 1), max_size=30), st.floats(100, 700))
def test_bouncing_contacts_are_one_press(bounces: list[float], ms: float) -> None:
    button, now, down, actions = Button(), 0.0, False, []
    for moment in (0.0, 100.0):
        button.push(False, moment)
    now = 200.0
    for wait_ms in bounces:
        down, now = not down, now + wait_ms
        actions.append(button.push(down, now))
    for down, wait_ms in ((True, 1.0), (True, DEBOUNCE_MS + 1), (True, ms), (False, 1.0), (False, DEBOUNCE_MS + 1)):
        now += wait_ms
        actions.append(button.push(down, now))
    assert [action for action in actions if action] == ["press"]


def test_a_button_that_is_stuck_at_the_start_does_nothing_until_it_was_up() -> None:
    button = Button()
    for ms in range(0, 60_000, 100):
        assert button.push(True, ms) is None
        assert button.hold(ms) is None
    assert button.stuck
    button.push(False, 60_000)
    assert button.push(False, 60_100) is None
    assert not button.stuck
    button.push(True, 61_000)
    button.push(True, 61_100)
    button.push(False, 61_200)
    assert button.push(False, 61_300) == "press"


def test_it_shows_what_letting_go_would_mean_and_says_when_that_changes() -> None:
    button, ms, zones = Button(may_start=True), 1000.0, []
    for moment in (0.0, 100.0):
        button.push(False, moment)
    button.push(True, ms)
    while math.isfinite(due_ms := button.due_ms(ms)):
        ms += due_ms
        assert button.push(True, ms) is None
        hold = button.hold(ms)
        assert hold
        zones.append(hold.zone)
    assert zones == ["press", "keep on", "start-stop", "gap", "set-up", "keep on, faster", "factory", "nothing"]
    assert zone_at(ms - 1000.0, may_start=True) == "nothing"
