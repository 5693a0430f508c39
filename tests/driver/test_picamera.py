"""PiCamera on picamera2 and libcamera as they are, on libcamera's virtual camera. There is no H.264 block in the guest."""

from __future__ import annotations

import itertools
import time

import pytest

from hw.camera import CameraError
from hw.camera.picamera import PiCamera
from hw.frame import Frame
from tests.driver.virtualcamera import open_virtual

pytest.importorskip("libcamera", reason="libcamera's Python is missing here")


def test_pictures_where_they_lie_with_times_of_the_monotonic_clock() -> None:
    begin_ns = time.monotonic_ns()
    camera = PiCamera(0, 640, 480, 30, focus="continuous", open_camera=open_virtual)
    assert "640 x 480 NV12" in camera.name
    assert camera.name.endswith("its focus is fixed")
    taken = []
    for _ in range(40):
        frame = camera.read()
        assert isinstance(frame, Frame)
        picture = frame.picture
        assert (picture.width, picture.height, picture.format.name) == (640, 480, "nv12")
        luma = bytes(memoryview(picture.planes[0]).cast("B")[:640])
        assert len(set(luma)) > 3, "bars of different grey"
        taken.append((frame.number, frame.capture_ns))
    assert all(after > before for before, after in itertools.pairwise(taken))
    assert begin_ns <= taken[0][1] <= taken[-1][1] <= time.monotonic_ns()
    assert camera.fps > 5
    camera.close()


def test_it_opens_again_after_it_was_closed() -> None:
    for _ in range(2):
        deadline = time.monotonic() + 20
        while True:
            try:
                camera = PiCamera(0, 320, 240, 30, open_camera=open_virtual)
                break
            except CameraError:
                assert time.monotonic() < deadline
        camera.read()
        camera.close()


def test_a_camera_that_gives_no_more_requests_ends_in_an_error() -> None:
    camera = PiCamera(0, 640, 480, 30, open_camera=open_virtual)
    camera.read()
    camera._camera.camera.stop()  # libcamera's own, behind the back of picamera2
    with pytest.raises(CameraError, match="no picture for 2 seconds; is its cable seated"):
        all(camera.read() for _ in itertools.count())
    camera.close()


def test_its_h264_block_is_not_made_up() -> None:
    with pytest.raises(CameraError, match=r"this board has no H\.264 block"):
        PiCamera(0, 640, 480, 30, encode=True, open_camera=open_virtual)
