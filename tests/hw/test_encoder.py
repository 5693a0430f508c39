from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from hw.camera.clip import Film
from hw.camera.pattern import Pattern
from hw.encoder import EncoderError
from hw.encoder.aac import Aac
from hw.encoder.x264 import VBV_MS, X264
from hw.fit import Fit
from hw.frame import Frame, Sound


def frames_of(path: Path, width: int, height: int) -> Iterator[Frame]:
    """A film without the wait, 30 a second."""
    film = Film(str(path))
    fit = Fit(width, height)
    for number in itertools.count():
        yield Frame(number, fit(film.at(number / 30), film.pixel_aspect), 10**15 + number * 10**9 // 30)


@pytest.fixture
def bikes(film: Callable[[str], Path]) -> Iterator[Frame]:
    return frames_of(film("bikes.mp4"), 640, 360)


def test_no_picture_is_larger_than_the_buffer(bikes: Iterator[Frame]) -> None:
    encoder = X264(640, 360, 30, 1_500_000, 1000, "superfast")
    largest = max(encoder.encode(frame)[0].packet.size for frame in itertools.islice(bikes, 120))
    assert largest * 8 <= 1_500_000 * VBV_MS / 1000


def test_what_cannot_be_encoded_is_said() -> None:
    with pytest.raises(EncoderError, match=r"^x264 cannot encode 640 x 360 at 30 frames a second"):
        X264(640, 360, 30, 2_000_000, 1000, "hyperfast")


def test_the_name_says_what_runs() -> None:
    assert X264(640, 360, 30, 2_000_000, 1000, "veryfast").name == "x264 veryfast, software"


def tone(first: int, count: int) -> Sound:
    samples = array("f", (0.5 * math.sin((first + sample) * 0.13) for sample in range(count))).tobytes()
    return Sound(first, samples, samples)


def test_sound_keeps_the_time_of_its_samples() -> None:
    aac, first = Aac(128_000), 7 * 10**12
    units = [unit for at in range(0, 48_000, 1600) for unit in aac.encode(tone(first + at, 1600))]
    assert {after.pts_90k - before.pts_90k for before, after in itertools.pairwise(units)} == {1920}
    assert units[0].pts_90k == (first - 1024) * 15 // 8
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = aac.extradata
    decoded = [block for unit in units for block in decoder.decode(unit.packet)]
    left = array("f", b"".join(bytes(block.planes[0])[: block.samples * 4] for block in decoded))
    wanted = array("f", tone(first, 48_000).left)
    error = [got - want for got, want in zip(left[1024 + 4096 : 40_000], wanted[4096:], strict=False)]
    assert max(map(abs, error)) < 0.1, "the sample at a packet's time is the sample that was given for that time"


def test_a_gap_in_the_sound_is_a_gap_in_its_time() -> None:
    aac = Aac(128_000)
    units = [unit for at in (0, 1600, 3200, 480_000, 481_600, 483_200, 484_800) for unit in aac.encode(tone(at, 1600))]
    steps = [after.pts_90k - before.pts_90k for before, after in itertools.pairwise(units)]
    assert steps.count(1920) == len(steps) - 1
    behind = [unit.pts_90k for unit in units if unit.pts_90k > 4800 * 15 // 8]
    assert behind[0] == (480_000 - 1024) * 15 // 8, "nothing of before the gap comes out behind it"


def test_the_pattern_gives_the_encoder_real_work() -> None:
    camera, encoder = Pattern(1280, 720, 60), X264(1280, 720, 60, 8_000_000, 1000, "ultrafast")
    size = sum(encoder.encode(camera.read())[0].packet.size for _ in range(60))
    assert size * 8 > 6_000_000
