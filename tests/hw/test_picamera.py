"""picamera2 as we ask it, on a stand-in (tests/hw/pistand.py); tests/driver runs it on libcamera's virtual camera."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from av import CodecContext

from hw import v4l2
from hw.camera import CameraError
from hw.camera import picamera as cameras
from hw.camera.picamera import BACKLOG, PiCamera
from hw.frame import Coded, Frame
from hw.h264 import AUD, IDR, PPS, SPS, nal_types
from tests.hw.pistand import BUFFERS, Sensor, fit

WaitFor = Callable[..., Any]


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> Sensor:
    return fit(monkeypatch)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """One with an H.264 block."""
    name = tmp_path / cameras.ENCODER
    name.parent.mkdir(parents=True)
    name.write_text("bcm2835-codec-encode\n")
    return tmp_path


@pytest.fixture
def told(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bitrates that the block's driver is told."""
    bitrates: list[int] = []

    def ioctl(fd: int, request: int, control: v4l2.Control) -> None:
        assert sensor.encoder is not None
        assert (fd, request, control.id) == (sensor.encoder.vd, v4l2.S_CTRL, v4l2.CID_BITRATE)
        bitrates.append(control.value)

    monkeypatch.setattr("hw.camera.picamera.fcntl.ioctl", ioctl)
    return bitrates


def frame(camera: PiCamera) -> Frame:
    taken = camera.read()
    assert isinstance(taken, Frame)
    return taken


def first_row(taken: Frame) -> bytes:
    return bytes(memoryview(taken.picture.planes[0]).cast("B")[: taken.picture.width])


@pytest.mark.parametrize(("gives", "kind"), [("YUV420", "yuv420p"), ("NV12", "nv12")])
@pytest.mark.parametrize("numpy", [False, True], ids=["copied", "where it lies"])
def test_pictures_with_the_time_of_the_sensor(sensor: Sensor, gives: str, kind: str, numpy: bool) -> None:
    if numpy:
        pytest.importorskip("numpy", reason="picamera2 brings numpy along; it is not here")
    sensor.gives, sensor.numpy = gives, numpy
    camera = PiCamera(0, 320, 240, 30)
    assert camera.name == f"CSI camera 0 imx708, 320 x 240 {gives} 30/s"
    begin_ns, taken = time.monotonic_ns() - 100_000_000, []
    for _ in range(5):
        taken.append(frame(camera))
        shown = first_row(taken[-1])
        assert all((after - before) % 200 == 1 for before, after in itertools.pairwise(shown))
        assert (taken[-1].picture.width, taken[-1].picture.height, taken[-1].picture.format.name) == (320, 240, kind)
    assert begin_ns < taken[0].capture_ns < taken[-1].capture_ns <= time.monotonic_ns()
    assert all(after.number > before.number for before, after in itertools.pairwise(taken))
    camera.close()


def test_times_of_a_machine_that_slept(sensor: Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    slept_ns = sensor.asleep_ns = 7_200 * 10**9
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: time.monotonic_ns() + slept_ns)
    camera = PiCamera(0, 320, 240, 30)
    assert abs(frame(camera).capture_ns - time.monotonic_ns()) < 2 * 10**9
    camera.close()


def test_every_buffer_goes_back_to_the_camera(sensor: Sensor) -> None:
    camera = PiCamera(0, 64, 48, 60)
    for _ in range(BUFFERS * 3):
        camera.read()
    assert sensor.used is not None
    assert sensor.used.free >= BUFFERS - 2, "one is with us, one may wait"
    camera.close()


@pytest.mark.parametrize(
    ("focus", "asked"),
    [
        ("continuous", {"AfMode": "Continuous"}),
        ("auto", {"AfMode": "Auto", "AfTrigger": "Start"}),
        ("2.5", {"AfMode": "Manual", "LensPosition": 2.5}),
    ],
)
def test_focus_exposure_and_rotation_are_asked_for(sensor: Sensor, focus: str, asked: dict[str, Any]) -> None:
    camera = PiCamera(0, 320, 240, 30, rotation=180, focus=focus, exposure_us=8000, gain=4.0)
    found = {name: getattr(value, "name", value) for name, value in sensor.asked.items()}
    assert found == asked | {"FrameDurationLimits": (33_333, 33_333), "ExposureTime": 8000, "AnalogueGain": 4.0}
    assert (sensor.transform.hflip, sensor.transform.vflip) == (1, 1)
    camera.close()


def test_what_a_camera_does_not_have_is_left_and_said(sensor: Sensor) -> None:
    for name in ("AfMode", "AfTrigger", "LensPosition", "AnalogueGain"):
        del sensor.controls[name]
    camera = PiCamera(0, 320, 240, 30, focus="continuous", gain=2.0)
    assert camera.name.endswith("its focus is fixed")
    assert set(sensor.asked) == {"FrameDurationLimits"}
    camera.close()


def test_a_sensor_that_is_slower_than_asked(sensor: Sensor) -> None:
    sensor.controls["FrameDurationLimits"] = (50_000, 1_000_000, 50_000)
    camera = PiCamera(0, 320, 240, 60)
    assert camera.fps == 20
    assert camera.name.endswith("20/s")
    camera.close()


def test_an_exposure_that_does_not_fit(sensor: Sensor) -> None:
    with pytest.raises(CameraError, match="an exposure of 50000 us is longer than a picture lasts at 30 a second"):
        PiCamera(0, 320, 240, 30, exposure_us=50_000)


def test_the_block_encodes(sensor: Sensor, board: Path, told: list[int]) -> None:
    camera = PiCamera(0, 320, 240, 60, encode=True, bitrate_bps=2_000_000, gop_ms=10_000, root=board)
    assert camera.name == "CSI camera 0 imx708, 320 x 240 H.264 60/s"
    assert sensor.encoder is not None
    assert sensor.encoder.settings["iperiod"] == 600
    units, decoder = [], CodecContext.create("h264", "r")
    for number in range(20):
        taken = camera.read()
        assert isinstance(taken, Coded)
        assert abs(taken.capture_ns - time.monotonic_ns()) < 2 * 10**9
        assert taken.unit.pts_90k == taken.capture_ns * 9 // 100_000
        units.append(taken.unit)
        if number == 5:
            camera.key_frame()
    for unit in units:
        kinds = nal_types(bytes(unit.packet))
        assert kinds[0] == AUD
        assert ({SPS, PPS, IDR} <= set(kinds)) == unit.key
    keys = [number for number, unit in enumerate(units) if unit.key]
    assert keys[0] == 0
    assert len(keys) == 2
    assert sum(len(decoder.decode(unit.packet)) for unit in units) >= 19
    for wanted in (1_200_000, 1_200_000, 9_000_000, 1):
        camera.bitrate_bps = wanted
    assert told[:2] == [1_200_000, 2_000_000]
    assert told[2] == camera.bitrate_bps > 1, "not below where the block stops giving pictures"
    camera.close()


def test_what_nobody_takes_is_lost_and_the_next_is_a_key_picture(sensor: Sensor, board: Path, wait_for: WaitFor) -> None:
    camera = PiCamera(0, 64, 48, 60, encode=True, gop_ms=100_000, root=board)
    camera.read()
    encoder = sensor.encoder
    assert encoder is not None
    wait_for(lambda: encoder.keys_asked, what="a key picture to be asked for")
    later = camera.read()
    assert isinstance(later, Coded)
    assert later.unit.key
    assert later.number > BACKLOG
    camera.close()


def test_without_a_block_nothing_else_encodes_instead(sensor: Sensor, tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"this board has no H\.264 block"):
        PiCamera(0, 320, 240, 30, encode=True, root=tmp_path)
    assert sensor.used is None


@pytest.mark.parametrize("encode", [False, True])
def test_a_camera_that_stops_ends_in_an_error_and_is_not_waited_for(
    sensor: Sensor, board: Path, monkeypatch: pytest.MonkeyPatch, encode: bool
) -> None:
    monkeypatch.setattr(cameras, "SILENT_S", 0.3)
    sensor.stopped_after = 5
    camera = PiCamera(0, 64, 48, 60, encode=encode, root=board)
    with pytest.raises(CameraError, match=r"^CSI camera 0 imx708, .*: no picture for 0 seconds; is its cable seated\?"):
        all(camera.read() for _ in itertools.count())
    camera.close()
    with pytest.raises(CameraError, match="CSI camera 0 cannot be opened: Failed to acquire camera: Device or resource busy"):
        PiCamera(0, 64, 48, 60)


def test_a_camera_that_libcamera_stopped(sensor: Sensor) -> None:
    camera = PiCamera(0, 64, 48, 60)
    camera.read()
    sensor.fails = True
    with pytest.raises(CameraError, match=r"^CSI camera 0 imx708, .*: Failed to queue request: Permission denied"):
        camera.read()
    camera.close()


def test_one_that_was_closed_opens_again(sensor: Sensor) -> None:
    camera = PiCamera(0, 64, 48, 30)
    camera.read()
    camera.close()
    assert sensor.closed.wait(5)
    PiCamera(0, 64, 48, 30).close()


def test_one_that_is_not_there(sensor: Sensor) -> None:
    with pytest.raises(CameraError, match=r"CSI camera 3 cannot be opened: No camera number 3 .*; `pressbox doctor` lists"):
        PiCamera(3, 320, 240, 30)


def test_a_size_that_cannot_be(sensor: Sensor) -> None:
    with pytest.raises(CameraError, match="CSI camera 0 cannot be started at 321 x 240 30/s: width and height should be even"):
        PiCamera(0, 321, 240, 30)
    assert sensor.closed.wait(5), "and it is closed again"


def test_a_machine_without_picamera2() -> None:
    with pytest.raises(CameraError, match="CSI camera 0 cannot be opened: Raspberry Pi's python3-picamera2 is not installed"):
        PiCamera(0, 320, 240, 30)
