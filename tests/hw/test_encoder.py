from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from hw.camera.clip import Film, Fit
from hw.camera.pattern import Pattern
from hw.encoder import EncoderError
from hw.encoder.aac import Aac
from hw.encoder.x264 import VBV_MS, X264
from hw.frame import AccessUnit, Frame, Sound

IDR, SEI, SPS, PPS, AUD, SLICE = 5, 6, 7, 8, 9, 1


def nal_types(unit: AccessUnit) -> list[int]:
    data = bytes(unit.packet)
    found, at = [], data.find(b"\0\0\1")
    while at >= 0:
        found.append(data[at + 3] & 0x1F)
        at = data.find(b"\0\0\1", at + 3)
    return found


def frames_of(path: Path, width: int, height: int) -> Iterator[Frame]:
    """A film without the wait, 30 a second."""
    film = Film(str(path))
    fit = Fit(width, height, film.pixel_aspect)
    for number in itertools.count():
        yield Frame(number, fit(film.at(number / 30)), 10**15 + number * 10**9 // 30)


@pytest.fixture
def bikes(film: Callable[[str], Path]) -> Iterator[Frame]:
    return frames_of(film("bikes.mp4"), 640, 360)


def test_one_access_unit_a_frame_at_once_with_its_time(bikes: Iterator[Frame]) -> None:
    encoder = X264(640, 360, 30, 1_500_000, 1000, "superfast")
    for frame in itertools.islice(bikes, 40):
        (unit,) = encoder.encode(frame)
        assert unit.pts_90k == unit.packet.dts == frame.capture_ns * 9 // 100_000


def test_closed_gops_with_parameter_sets_at_every_idr(bikes: Iterator[Frame]) -> None:
    encoder = X264(640, 360, 30, 1_500_000, 500, "superfast")
    units = [encoder.encode(frame)[0] for frame in itertools.islice(bikes, 46)]
    assert [number for number, unit in enumerate(units) if unit.key] == [0, 15, 30, 45]
    for unit in units:
        kinds = nal_types(unit)
        assert kinds[0] == AUD
        if unit.key:
            assert kinds.index(SPS) < kinds.index(PPS) < kinds.index(IDR)
            assert SLICE not in kinds
        else:
            assert IDR not in kinds
            assert SLICE in kinds


def test_a_key_frame_on_request(bikes: Iterator[Frame]) -> None:
    encoder = X264(640, 360, 30, 1_500_000, 10_000, "superfast")
    units = [encoder.encode(frame, key=frame.number == 7)[0] for frame in itertools.islice(bikes, 20)]
    assert [number for number, unit in enumerate(units) if unit.key] == [0, 7]
    assert {SPS, PPS, IDR} <= set(nal_types(units[7]))


def test_the_bitrate_follows_within_two_seconds(bikes: Iterator[Frame]) -> None:
    encoder = X264(640, 360, 30, 2_000_000, 1000, "superfast")
    for wanted in (2_000_000, 500_000, 1_600_000, 800_000, 2_000_000):
        encoder.bitrate_bps = wanted
        for frame in itertools.islice(bikes, 60):
            encoder.encode(frame)
        size = sum(unit.packet.size for frame in itertools.islice(bikes, 90) for unit in encoder.encode(frame))
        assert size * 8 / 3 == pytest.approx(wanted, rel=0.1)
        assert encoder.bitrate_bps == wanted


def test_the_ceiling_is_the_rate_it_was_opened_with() -> None:
    encoder = X264(640, 360, 30, 2_000_000, 1000, "superfast")
    encoder.bitrate_bps = 9_000_000
    assert encoder.bitrate_bps == encoder.ceiling_bps == 2_000_000


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
    assert max(steps) == 480_000 * 15 // 8 - 3 * 1920, "whole blocks before the gap, and the first one after it in its own time"


def test_the_pattern_gives_the_encoder_real_work() -> None:
    camera, encoder = Pattern(1280, 720, 60), X264(1280, 720, 60, 8_000_000, 1000, "ultrafast")
    size = sum(encoder.encode(camera.read())[0].packet.size for _ in range(60))
    assert size * 8 > 6_000_000
