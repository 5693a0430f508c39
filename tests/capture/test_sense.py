"""Black and frozen pictures are noticed, and nothing else is."""

from __future__ import annotations

import random

import av
import pytest

from firmware.capture.sense import BLACK_AFTER_NS, FROZEN_AFTER_NS, PictureSense
from hw.camera.pattern import Pattern
from hw.canvas import BLACK, WHITE, Canvas

FRAME_NS = 40_000_000


def card(colour: tuple[int, int, int] = BLACK) -> av.VideoFrame:
    picture = av.VideoFrame(640, 360, "yuv420p")
    Canvas(picture).fill(0, 0, 640, 360, colour)
    return picture


def with_noise(picture: av.VideoFrame, seed: int, sigma: float) -> av.VideoFrame:
    """What a sensor adds to the same scene: the last bits of some pixels."""
    plane = picture.planes[0]
    pixels, noise = memoryview(plane).cast("B"), random.Random(seed)
    for at in range(0, len(pixels), 7):
        pixels[at] = min(255, max(0, pixels[at] + round(noise.gauss(0, sigma))))
    return picture


def watched(pictures: list[av.VideoFrame], seconds: float) -> PictureSense:
    """`pictures` in turn, at 25 a second."""
    sense = PictureSense()
    for number in range(int(seconds * 25) + 1):
        sense.look(pictures[number % len(pictures)], number * FRAME_NS)
    return sense


def test_nothing_is_said_before_there_was_a_picture() -> None:
    assert PictureSense().verdict == "none"


def test_a_moving_picture_moves() -> None:
    camera = Pattern(640, 360, 25)
    sense = PictureSense()
    for number in range(350):
        camera.draw(number, number * FRAME_NS)
        sense.look(camera.picture, number * FRAME_NS)
        assert sense.verdict == "moving"


@pytest.mark.parametrize("seconds", [1, BLACK_AFTER_NS / 1e9 - 0.5])
def test_a_short_fade_to_black_is_none(seconds: float) -> None:
    assert watched([card()], seconds).verdict == "moving"


def test_black_is_told_after_its_time_even_with_noise_and_a_lamp_in_a_corner() -> None:
    dark = [with_noise(card(), seed, 2.0) for seed in range(5)]
    for picture in dark:
        Canvas(picture).fill(0, 0, 40, 20, WHITE)
    assert watched(dark, BLACK_AFTER_NS / 1e9 + 0.5).verdict == "black"


def test_a_dark_scene_is_not_black() -> None:
    dark = [card(), card()]
    for seed, picture in enumerate(dark):
        Canvas(picture).fill(0, 0, 640, 60, (60, 128, 128))
        with_noise(picture, seed, 2.0)
    assert watched(dark, 20).verdict == "moving"


def test_the_same_picture_again_and_again_is_frozen_and_not_before_its_time() -> None:
    picture = with_noise(card((120, 128, 128)), 1, 5.0)
    assert watched([picture], FROZEN_AFTER_NS / 1e9 - 0.5).verdict == "moving"
    assert watched([picture], FROZEN_AFTER_NS / 1e9 + 0.5).verdict == "frozen"


def test_a_still_scene_with_a_sensors_noise_is_never_frozen() -> None:
    """An hour, one look a quarter of a second."""
    scenes = [with_noise(card((120, 128, 128)), seed, 1.0) for seed in range(7)]
    sense = PictureSense()
    verdicts = set()
    for number in range(4 * 3600):
        sense.look(scenes[number % 7], number * 250_000_000)
        verdicts.add(sense.verdict)
    assert verdicts == {"moving"}


def test_it_moves_again_at_once() -> None:
    picture = with_noise(card((120, 128, 128)), 1, 5.0)
    sense = watched([picture], FROZEN_AFTER_NS / 1e9 + 1)
    sense.look(with_noise(picture, 2, 5.0), FROZEN_AFTER_NS + 2_000_000_000)
    assert sense.verdict == "moving"
    sense.restart()
    assert sense.verdict == "none"


def test_pictures_of_any_size_are_looked_at() -> None:
    for width, height in ((160, 90), (1920, 1080), (128, 36), (64, 36)):
        sense = PictureSense()
        sense.look(av.VideoFrame(width, height, "yuv420p"), 0)
        assert sense.verdict == "moving"
