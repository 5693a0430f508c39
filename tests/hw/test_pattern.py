from __future__ import annotations

import time
from array import array
from collections.abc import Iterator

import pytest

from hw.camera import CameraError, Wish, open_camera
from hw.camera.pattern import Pattern, read_counter
from hw.frame import SAMPLE_RATE_HZ, SOUND_LEAD_SAMPLES, Frame, samples_at

from ..clocks import Clock, no_waiting


def counter_of(frame: Frame) -> int:
    luma = frame.picture.planes[0]
    return read_counter(memoryview(luma), luma.line_size)


def samples_of(frame: Frame) -> array[float]:
    return array("f", frame.sound[0].left)


@pytest.fixture(autouse=True)
def clock() -> Iterator[Clock]:
    with no_waiting() as clock:
        yield clock


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080), (518, 292), (3840, 2160)])
def test_the_counter_is_in_the_top_rows(width: int, height: int) -> None:
    camera = Pattern(width, height, 60)
    assert [counter_of(camera.read()) for _ in range(4)] == [0, 1, 2, 3]
    luma = camera.read().picture.planes[0]
    pixels = bytes(luma)
    assert {pixels[y * luma.line_size + x] for y in range(16) for x in range(64)} == {16}, "bits 0 and 1 of 4 are black"
    assert {pixels[y * luma.line_size + x] for y in range(16) for x in range(64, 96)} == {235}


@pytest.mark.parametrize(("width", "height"), [(160, 90), (160, 2160), (3840, 90)])
def test_every_allowed_shape_can_be_drawn(width: int, height: int) -> None:
    picture = Pattern(width, height, 60).read().picture
    assert (picture.width, picture.height, picture.format.name) == (width, height, "yuv420p")


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_frames_are_timed_from_the_start_without_drift(fps: int, clock: Clock) -> None:
    camera = Pattern(160, 90, fps)
    frames = [camera.read() for _ in range(500)]
    start_ns = frames[0].capture_ns
    assert [frame.capture_ns - start_ns for frame in frames] == [frame.number * 1_000_000_000 // fps for frame in frames]
    assert clock.monotonic_ns() == pytest.approx(frames[-1].capture_ns, abs=1000)


def test_it_keeps_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hw.camera.pace.time", time)
    camera = Pattern(160, 90, 60)
    for _ in range(10):
        assert camera.read().capture_ns <= time.monotonic_ns(), "no picture before its time"


@pytest.mark.parametrize("fps", [24, 25, 29, 30, 60])
def test_the_sound_has_no_seam_and_runs_ahead_of_the_picture(fps: int) -> None:
    camera = Pattern(160, 90, fps)
    frames = [camera.read() for _ in range(5)]
    start = samples_at(frames[0].capture_ns)
    ends = [frame.sound[0].first + len(samples_of(frame)) for frame in frames]
    assert frames[0].sound[0].first == start
    assert [frame.sound[0].first for frame in frames[1:]] == ends[:-1]
    assert ends[-1] - start == (frames[-1].number + 1) * SAMPLE_RATE_HZ // fps + SOUND_LEAD_SAMPLES


def test_what_was_too_late_is_left_out_of_picture_and_sound_alike(clock: Clock) -> None:
    camera = Pattern(640, 360, 30)
    camera.read()
    clock.jump(10)
    frame = camera.read()
    assert frame.number >= 300
    assert counter_of(frame) == frame.number
    assert len(samples_of(frame)) == SAMPLE_RATE_HZ // 30 + SOUND_LEAD_SAMPLES, "not ten seconds of sound at once"


def test_a_beep_starts_with_each_second() -> None:
    camera = Pattern(160, 90, 10)
    sound = array("f")
    for number in range(21):
        sound.frombytes(camera._sound(number).left)
    loud = [index for index, level in enumerate(sound) if abs(level) > 0.3]
    starts = [index for before, index in zip([-9999, *loud], loud, strict=False) if index - before > 1000]
    assert starts == pytest.approx([0, 48_000, 96_000], abs=8)


@pytest.mark.parametrize("text", ["", "patern", "pattern:7", "v4l2:video0", "csi:", "argus:x", "rtsp://", "clip", "clip:"])
def test_an_unknown_camera_is_named_and_the_allowed_ones_too(text: str) -> None:
    with pytest.raises(CameraError) as refusal:
        open_camera(text, Wish(width=640, height=360, fps=30))
    assert f"`{text}`" in str(refusal.value) or "rtsp://HOST/PATH" in str(refusal.value)
