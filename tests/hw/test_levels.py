from __future__ import annotations

import math
from array import array

import pytest

from hw.frame import SAMPLE_RATE_HZ, Sound
from hw.levels import FLOOR_DB, Levels

PERIOD = 48


def sine(level: float, seconds: float) -> bytes:
    one = array("f", [level * math.sin(2 * math.pi * n / PERIOD) for n in range(PERIOD)]).tobytes()
    return one * round(seconds * SAMPLE_RATE_HZ / PERIOD)


def play(levels: Levels, left: bytes, right: bytes | None = None) -> Levels:
    """In pieces of 33 ms."""
    right = left if right is None else right
    for at in range(0, len(left), 1600 * 4):
        levels.push(Sound(0, left[at : at + 1600 * 4], right[at : at + 1600 * 4]))
    return levels


def test_peak_and_rms_of_each_channel() -> None:
    levels = play(Levels(), sine(0.5, 1.2), sine(0.01, 1.2))
    assert levels.peak_db == pytest.approx([-6.0, -40.0], abs=0.2)
    assert levels.rms_db == pytest.approx([-9.0, -43.0], abs=0.2)


def test_nothing_is_the_floor_and_the_last_half_second_counts() -> None:
    levels = play(Levels(), sine(0.5, 1))
    play(levels, bytes(48_000 * 4))
    assert levels.peak_db == levels.rms_db == [FLOOR_DB, FLOOR_DB]


@pytest.mark.parametrize(
    ("level", "seconds", "verdict"), [(0.0, 9.9, "heard"), (0.0, 10, "silent"), (0.0009, 10, "silent"), (0.0011, 30, "heard")]
)
def test_silence_is_ten_seconds_below_60_db(level: float, seconds: float, verdict: str) -> None:
    levels = play(Levels(), sine(0.3, 1) + sine(level, seconds))
    assert levels.verdict == verdict
    assert play(levels, sine(0.3, 0.1)).verdict == "heard"


def test_one_channel_that_is_heard_is_enough() -> None:
    assert play(Levels(), sine(0, 12), sine(0.1, 12)).verdict == "heard"


def test_clipping_is_told_for_five_seconds() -> None:
    levels = play(Levels(), sine(0.99, 1))
    assert not levels.clipping
    play(levels, sine(1.2, 0.1))
    assert play(levels, sine(0.5, 4)).clipping
    assert not play(levels, sine(0.5, 2)).clipping
