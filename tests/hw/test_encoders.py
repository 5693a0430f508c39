"""What every encoder holds to, whatever it runs on. A back end that can run here is one line in `backends.py`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from hw.camera.clip import Film
from hw.fit import Fit
from hw.frame import AccessUnit, Frame
from hw.h264 import AUD, IDR, PPS, SLICE, SPS, level_for, nal_types
from tests.hw.backends import BACK_ENDS, BackEnd
from tests.hw.sps import slice_type, sps_of

SIZE = 640, 360
FPS = 30
B_SLICE = 1


@pytest.fixture(params=[back_end.param() for back_end in BACK_ENDS])
def back_end(request: pytest.FixtureRequest) -> BackEnd:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def pictures(film: Callable[[str], Path]) -> Iterator[Frame]:
    """A film without the wait."""

    def play() -> Iterator[Frame]:
        pictures = Film(str(film("bikes.mp4")))
        fit = Fit(*SIZE)
        for number in itertools.count():
            yield Frame(number, fit(pictures.at(number / FPS), pictures.pixel_aspect), 10**15 + number * 10**9 // FPS)

    return play()


def encoded(back_end: BackEnd, pictures: Iterator[Frame], count: int, gop_ms: int, keys: tuple[int, ...] = ()) -> list[AccessUnit]:
    encoder = back_end.open(*SIZE, FPS, 2_000_000, gop_ms)
    units = [unit for frame in itertools.islice(pictures, count) for unit in encoder.encode(frame, frame.number in keys)]
    encoder.close()
    return units


def decoded(units: list[AccessUnit]) -> list[av.VideoFrame]:
    """Any damage raises."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"err_detect": "explode"}
    found = [picture for unit in units for picture in decoder.decode(av.Packet(bytes(unit.packet)))]
    return found + decoder.decode(None)


def luma(picture: av.VideoFrame) -> bytes:
    plane = picture.planes[0]
    return b"".join(bytes(plane)[row * plane.line_size :][: picture.width] for row in range(0, picture.height, 8))


def test_one_unit_for_each_picture_at_once_with_its_time(back_end: BackEnd, pictures: Iterator[Frame]) -> None:
    encoder, times = back_end.open(*SIZE, FPS, 2_000_000, 1000), []
    for frame in itertools.islice(pictures, 40):
        times.append(frame.capture_ns * 9 // 100_000)
        units = encoder.encode(frame)
        assert len(units) == (1 if frame.number >= back_end.held else 0)
        assert [(unit.pts_90k, unit.packet.pts, unit.packet.dts) for unit in units] == [(times[-1 - back_end.held],) * 3] * len(units)
    encoder.close()


def test_groups_of_pictures_are_closed_and_as_long_as_asked(back_end: BackEnd, pictures: Iterator[Frame]) -> None:
    units = encoded(back_end, pictures, 46, gop_ms=500)
    keys = [number for number, unit in enumerate(units) if unit.key]
    assert keys == [0, 15, 30, 45][: len(keys)]
    assert len(keys) >= 3
    for unit in units:
        kinds = nal_types(bytes(unit.packet))
        assert ((IDR in kinds), (SLICE in kinds)) == (unit.key, not unit.key)
        assert unit.packet.is_keyframe == unit.key
    assert len(decoded(units[15:])) == len(units[15:]), "a group is decoded without what was before it"


def test_a_key_frame_when_asked(back_end: BackEnd, pictures: Iterator[Frame]) -> None:
    units = encoded(back_end, pictures, 20, gop_ms=10_000, keys=(7, 8))
    assert [number for number, unit in enumerate(units) if unit.key] == [0, 7, 8]
    assert len(decoded(units[7:])) == len(units[7:])


def test_delimiters_and_parameter_sets(back_end: BackEnd, pictures: Iterator[Frame]) -> None:
    for unit in encoded(back_end, pictures, 31, gop_ms=500):
        kinds = nal_types(bytes(unit.packet))
        assert kinds.index(AUD) == 0
        assert kinds.count(AUD) == 1
        if unit.key:
            assert kinds.index(SPS) < kinds.index(PPS) < kinds.index(IDR)


def test_no_picture_waits_for_a_later_one(back_end: BackEnd, pictures: Iterator[Frame]) -> None:
    units = encoded(back_end, pictures, 31, gop_ms=1000)
    assert B_SLICE not in {slice_type(bytes(unit.packet)) for unit in units}
    assert sps_of(bytes(units[0].packet)).reorders in (0, None)


def test_it_decodes_to_the_pictures_that_went_in(back_end: BackEnd, film: Callable[[str], Path], pictures: Iterator[Frame]) -> None:
    encoder, given, units = back_end.open(*SIZE, FPS, 2_000_000, 1000), [], []
    for frame in itertools.islice(pictures, 45):
        given.append(luma(frame.picture))
        units += encoder.encode(frame)
    encoder.close()
    for before, after in zip(given, map(luma, decoded(units)), strict=False):
        assert sum(abs(one - other) for one, other in zip(before, after, strict=True)) / len(before) < 8


def test_the_rate_is_in_the_parameter_sets(back_end: BackEnd) -> None:
    for fps in (25, 30, 50):
        said = sps_of(first_unit(back_end, 320, 240, fps, 1_000_000))
        assert (said.fps, said.fixed_rate) == (fps, True)


@pytest.mark.parametrize(
    ("size", "fps", "bitrate_bps", "level"),
    [
        ((640, 360), 30, 2_000_000, 30),
        ((1280, 720), 30, 5_000_000, 31),
        ((1280, 720), 60, 8_000_000, 32),
        ((1920, 1080), 30, 8_000_000, 40),
        ((1920, 1080), 60, 12_000_000, 42),
    ],
)
def test_the_level_is_the_lowest_that_holds_it(back_end: BackEnd, size: tuple[int, int], fps: int, bitrate_bps: int, level: int) -> None:
    assert level_for(*size, fps, bitrate_bps) == level
    assert sps_of(first_unit(back_end, *size, fps, bitrate_bps)).level == level


def first_unit(back_end: BackEnd, width: int, height: int, fps: int, bitrate_bps: int) -> bytes:
    encoder, picture = back_end.open(width, height, fps, bitrate_bps, 1000), av.VideoFrame(width, height, "yuv420p")
    for plane in picture.planes:
        plane.update(bytes((128,)) * plane.buffer_size)
    units = [unit for number in range(back_end.held + 1) for unit in encoder.encode(Frame(number, picture, number * 10**9 // fps))]
    encoder.close()
    return bytes(units[0].packet)


def test_the_bitrate_follows_within_two_seconds(back_end: BackEnd, pictures: Iterator[Frame]) -> None:
    encoder = back_end.open(*SIZE, FPS, 2_000_000, 1000)
    for wanted in (500_000, 1_600_000, 800_000):
        encoder.bitrate_bps = wanted
        for frame in itertools.islice(pictures, 2 * FPS):
            encoder.encode(frame)
        size = sum(unit.packet.size for frame in itertools.islice(pictures, 2 * FPS) for unit in encoder.encode(frame))
        assert size * 8 / 2 == pytest.approx(wanted, rel=0.1)
        assert encoder.bitrate_bps == wanted
    encoder.bitrate_bps = 90_000_000
    assert encoder.bitrate_bps == 2_000_000, "what it was opened with is the ceiling"
    encoder.close()


def test_the_name_says_whether_it_is_hardware(back_end: BackEnd) -> None:
    encoder = back_end.open(*SIZE, FPS, 2_000_000, 1000)
    assert encoder.name.endswith((", software", ", hardware", ", stand-in"))
    encoder.close()
