"""A Jetson's encoder and cameras, on real GStreamer with stand-ins for NVIDIA's own elements (tests/hw/nvidia.py)."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from av import CodecContext, VideoFrame

from hw.camera import CameraError
from hw.camera import jetson as cameras
from hw.camera.jetson import JetsonCamera
from hw.camera.pattern import Pattern
from hw.encoder import EncoderError
from hw.encoder.jetson import Elements, JetsonH264
from hw.frame import AccessUnit, Coded, Frame
from hw.gst import packed, unpack
from hw.h264 import AUD, IDR, PPS, SLICE, SPS, nal_types
from tests.hw.nvidia import gi_missing, stand_ins

pytestmark = pytest.mark.skipif(bool(gi_missing()), reason=gi_missing())


@pytest.fixture
def elements() -> Elements:
    return stand_ins()


def frames(count: int, width: int = 320, height: int = 240) -> Iterator[Frame]:
    """A moving picture without the wait, 30 a second."""
    picture = VideoFrame(width, height, "yuv420p")
    for number in range(count):
        for plane in picture.planes:
            plane.update(
                bytes((number * 5 + at // 7) % 200 + 20 for at in range(64)) * (plane.buffer_size // 64) + bytes(plane.buffer_size % 64)
            )
        yield Frame(number, picture, 10**15 + number * 10**9 // 30)


def test_each_picture_comes_out_in_the_same_call_with_its_own_time(elements: Elements) -> None:
    encoder = JetsonH264(320, 240, 30, 1_000_000, 500, elements)
    assert encoder.name == "standin_nvv4l2h264enc, stand-in"
    units = []
    for frame in frames(32):
        (unit,) = encoder.encode(frame, key=frame.number == 20)
        assert unit.pts_90k == frame.capture_ns * 9 // 100_000
        units.append(unit)
    encoder.close()
    assert [number for number, unit in enumerate(units) if unit.key] == [0, 15, 20]
    for unit in units:
        kinds = nal_types(bytes(unit.packet))
        assert kinds[0] == AUD
        assert ({SPS, PPS, IDR} <= set(kinds), SLICE in kinds) == (unit.key, not unit.key)


def test_it_does_not_go_above_its_ceiling(elements: Elements) -> None:
    encoder = JetsonH264(320, 240, 30, 1_000_000, 500, elements)
    encoder.bitrate_bps = 9_000_000
    assert encoder.bitrate_bps == 1_000_000
    encoder.bitrate_bps = 300_000
    assert encoder.bitrate_bps == 300_000
    encoder.close()


def test_an_orin_nano_says_that_it_has_no_such_encoder() -> None:
    with pytest.raises(EncoderError, match=r"^nvv4l2h264enc cannot encode 320 x 240 at 30 .*: GStreamer has no element .* Orin Nano"):
        JetsonH264(320, 240, 30, 1_000_000, 500)


def test_a_setting_that_the_element_does_not_know_is_said() -> None:
    with pytest.raises(EncoderError, match=r"x264enc cannot encode .*: GStreamer: "):
        JetsonH264(320, 240, 30, 1_000_000, 500, Elements(encoder="x264enc", converter="videoconvert", memory=""))


def test_a_picture_of_another_size_is_refused(elements: Elements) -> None:
    encoder = JetsonH264(320, 240, 30, 1_000_000, 500, elements)
    with pytest.raises(EncoderError, match="a picture of 64 x 64 does not fit"):
        encoder.encode(Frame(0, VideoFrame(64, 64, "yuv420p"), 1))
    encoder.close()


@pytest.mark.parametrize("size", [(64, 48), (322, 182), (1280, 720)])
def test_pictures_are_laid_out_as_gstreamer_has_them(size: tuple[int, int]) -> None:
    pattern = Pattern(*size, 30)
    source, back = pattern.read().picture, VideoFrame(*size, "yuv420p")
    data = packed(source)
    rows = [-(-width // 4) * 4 for width in (size[0], size[0] // 2, size[0] // 2)]
    assert len(data) == rows[0] * size[1] + rows[1] * size[1]
    unpack(data, back)
    for before, after in zip(source.planes, back.planes, strict=True):
        for at in range(0, before.height * before.line_size, before.line_size):
            assert bytes(before)[at : at + before.width] == bytes(after)[at : at + before.width]


def test_a_camera_gives_pictures_on_the_monotonic_clock(elements: Elements) -> None:
    begin = time.monotonic_ns()
    camera = JetsonCamera(0, 320, 240, 30, exposure_us=8000, gain=2.5, elements=elements)
    assert camera.name == "Jetson CSI camera 0, 320 x 240 30/s"
    taken = [camera.read() for _ in range(5)]
    for frame in taken:
        assert isinstance(frame, Frame)
        assert (frame.picture.width, frame.picture.height, frame.picture.format.name) == (320, 240, "yuv420p")
        assert begin <= frame.capture_ns <= time.monotonic_ns()
    assert all(after.number > before.number and after.capture_ns > before.capture_ns for before, after in itertools.pairwise(taken))
    camera.close()


def test_half_a_turn_is_made_by_the_converter(elements: Elements) -> None:
    def luma(rotation: cameras.Rotation) -> bytes:
        camera = JetsonCamera("/dev/video0", 320, 240, 30, rotation=rotation, elements=elements)
        frame = camera.read()
        camera.close()
        assert isinstance(frame, Frame)
        return bytes(frame.picture.planes[0])[: 320 * 100]

    upright, turned = luma(0), luma(180)
    assert upright[:40] == bytes([upright[0]]) * 40, "the first bar"
    assert turned[-40:] != upright[-40:], "what is at the left of an upright picture is at the right of one that was turned"


def test_a_camera_encodes_by_itself_and_can_be_told(elements: Elements) -> None:
    camera = JetsonCamera(0, 320, 240, 30, encode=True, bitrate_bps=800_000, gop_ms=10_000, elements=elements)
    assert camera.name.endswith("standin_nvv4l2h264enc")
    units: list[AccessUnit] = []
    for number in range(12):
        coded = camera.read()
        assert isinstance(coded, Coded)
        units.append(coded.unit)
        if number == 5:
            camera.key_frame()
            camera.bitrate_bps = 300_000
    camera.close()
    assert camera.bitrate_bps == 300_000
    keys = [number for number, unit in enumerate(units) if unit.key]
    assert keys[0] == 0
    assert 6 <= keys[1] <= 9
    decoder = CodecContext.create("h264", "r")
    assert sum(len(decoder.decode(unit.packet)) for unit in units) >= 10


@pytest.mark.parametrize(("source", "why"), [(9, "no picture for"), ("/dev/gone", "no picture for"), (8, "the stream has ended")])
def test_a_camera_that_stops_ends_in_an_error(elements: Elements, monkeypatch: pytest.MonkeyPatch, source: int | str, why: str) -> None:
    monkeypatch.setattr(cameras, "SILENT_S", 0.5)
    camera = JetsonCamera(source, 320, 240, 30, elements=elements)
    with pytest.raises(CameraError, match=rf"^Jetson \w+ camera {source}, 320 x 240 30/s: {why}"):
        all(camera.read() for _ in itertools.count())
    camera.close()


def test_a_board_without_argus_says_so() -> None:
    with pytest.raises(CameraError, match=r"^Jetson CSI camera 0, .* cannot be opened: GStreamer: .*nvarguscamerasrc"):
        JetsonCamera(0, 320, 240, 30)
