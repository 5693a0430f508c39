"""From what a camera gives to access units of the wanted size and rate."""

from __future__ import annotations

import io
from itertools import pairwise

import av
import pytest

from firmware.capture.mux import Mux
from firmware.capture.pictures import Pictures
from firmware.model import Camera
from hw.camera.pattern import Pattern
from hw.encoder import EncoderError
from hw.frame import AccessUnit, Coded, Frame

SECOND_NS = 1_000_000_000


def wanted(**more: object) -> Camera:
    settings = {"width": 640, "height": 360, "fps": 30, "preset": "ultrafast", "video_bps": 1_500_000, "encoder": "x264"} | more
    return Camera(name="cam", **settings)  # type: ignore[arg-type]


def filmed(pictures: Pictures, rates: list[tuple[int, int, int, str, int]]) -> list[AccessUnit]:
    """A camera that gives `count` pictures of each (width, height, fps, format, count), one after the other."""
    units, now_ns, number = [], 10 * SECOND_NS, 0
    for width, height, fps, form, count in rates:
        source = Pattern(width, height, fps)
        for _ in range(count):
            source.draw(number, now_ns)
            picture = source.picture if form == "yuv420p" else source.picture.reformat(format=form)
            pictures.prepare(fps)
            if not pictures.is_early(now_ns):
                units += pictures.encode(Frame(number, picture, now_ns), 1_500_000, key=False)
            number, now_ns = number + 1, now_ns + SECOND_NS // fps
    return units


def decoded(units: list[AccessUnit]) -> list[av.VideoFrame]:
    mux = Mux()
    stream = b"".join(mux.write([unit], []) for unit in units)
    with av.open(io.BytesIO(stream), "r", format="mpegts") as container:
        return list(container.decode(video=0))


def test_size_and_format_of_the_camera_may_change_and_the_streams_do_not() -> None:
    pictures = Pictures(wanted())
    units = filmed(pictures, [(640, 360, 30, "yuv420p", 10), (1280, 720, 30, "yuyv422", 10), (320, 240, 30, "nv12", 10)])
    shown = decoded(units)
    assert {(frame.width, frame.height) for frame in shown} == {(640, 360)}
    assert len(shown) == len(units) == 30, "every picture is there, from the first one"
    assert sum(unit.key for unit in units) == 1, "another size is no reason for another key frame"


def test_a_slower_camera_gets_an_encoder_of_its_rate_and_a_key_frame() -> None:
    pictures = Pictures(wanted(gop_ms=10_000))
    units = filmed(pictures, [(640, 360, 30, "yuv420p", 20), (640, 360, 15, "yuv420p", 20), (640, 360, 30, "yuv420p", 20)])
    assert [at for at, unit in enumerate(units) if unit.key] == [0, 20, 40]
    assert len(decoded(units)) == 60
    stamps = [unit.pts_90k for unit in units]
    assert stamps == sorted(set(stamps))


def test_a_faster_camera_is_thinned_to_the_wanted_rate() -> None:
    units = filmed(Pictures(wanted(fps=25)), [(640, 360, 60, "yuv420p", 120)])
    assert len(units) == pytest.approx(50, abs=2)
    steps = [after.pts_90k - before.pts_90k for before, after in pairwise(units)]
    assert max(steps) <= 90_000 // 25 + 90_000 // 60


def test_a_camera_that_jitters_loses_nothing() -> None:
    pictures = Pictures(wanted())
    pictures.prepare(30)
    early = [pictures.is_early(SECOND_NS + number * SECOND_NS // 30 + (number % 3 - 1) * 8_000_000) for number in range(300)]
    assert not any(early)


def test_a_board_that_is_to_be_spared_takes_every_second_picture() -> None:
    pictures = Pictures(wanted())
    pictures.prepare(30, spare=2)
    taken = [not pictures.is_early(SECOND_NS + number * SECOND_NS // 30) for number in range(300)]
    assert sum(taken) == pytest.approx(150, abs=1)


def test_what_a_camera_encoded_goes_on_as_it_is() -> None:
    source = Pictures(wanted())
    unit = filmed(source, [(640, 360, 30, "yuv420p", 1)])[0]
    pictures = Pictures(wanted(encoder="camera"))
    assert pictures.pass_on(Coded(0, unit, SECOND_NS)) == [unit]
    assert (pictures.taken, pictures.keys, pictures.encoder_name) == (1, 1, "in the camera")


def test_an_encoder_that_was_asked_for_and_is_not_there_is_an_error_and_not_another_one() -> None:
    with pytest.raises(EncoderError):
        Pictures(wanted(encoder="v4l2m2m")).prepare(30)


def test_the_one_that_runs_is_named_with_its_reason() -> None:
    pictures = Pictures(wanted(encoder="auto"))
    pictures.prepare(30)
    assert pictures.encoder_name == "x264 ultrafast, software"
    assert "x264 in software" in pictures.encoder_why


class Failing:
    """An encoder that gives up at the pictures that are named: the kernel's do that, and x264 never does."""

    def __init__(self, at: set[int]) -> None:
        self._at, self._number = at, -1
        self.name, self.bitrate_bps = "block, hardware", 1

    def encode(self, frame: Frame, key: bool = False) -> list[AccessUnit]:
        self._number += 1
        if self._number in self._at:
            raise EncoderError("the block gives nothing")
        return []

    def close(self) -> None: ...


def test_hardware_that_fails_twice_within_a_minute_is_left_for_software_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from firmware.capture import pictures as module
    from hw.encoder import open_encoder

    opened: list[str] = []

    def opens(kind: str, settings: object) -> tuple[object, str]:
        opened.append(kind)
        return (Failing({0}), "it has a block") if kind == "auto" else open_encoder("x264", settings)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "open_encoder", opens)
    pictures = Pictures(wanted(encoder="auto"))
    pictures.prepare(30)
    frame = Pattern(640, 360, 30).picture
    units = pictures.encode(Frame(0, frame, SECOND_NS), 1_500_000, key=False)  # the fresh one fails at its first picture, too
    assert opened == ["auto", "auto", "x264"]
    assert units[0].key
    assert pictures.encoder_name == "x264 ultrafast, software"
    assert pictures.encoder_why.startswith("instead of block, hardware")
