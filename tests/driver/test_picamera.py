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
pytestmark = [  # picamera2's own: a deprecated call, and a file that it leaves open
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def opened(width: int, height: int, focus: str = "") -> PiCamera:
    """As a worker does: while the last one is still closing, it is tried again."""
    deadline = time.monotonic() + 90
    while True:
        try:
            return PiCamera(0, width, height, 30, focus=focus, open_camera=open_virtual)
        except CameraError:
            assert time.monotonic() < deadline


def test_pictures_where_they_lie_with_times_of_the_monotonic_clock() -> None:
    begin_ns = time.monotonic_ns()
    camera = opened(640, 480, "continuous")
    assert "640 x 480 NV12" in camera.name
    assert camera.name.endswith("its focus is fixed")
    taken = []
    for _ in range(20):
        frame = camera.read()
        assert isinstance(frame, Frame)
        picture = frame.picture
        assert (picture.width, picture.height, picture.format.name) == (640, 480, "nv12")
        luma = bytes(memoryview(picture.planes[0]).cast("B")[:640])
        assert len(set(luma)) > 3, "bars of different grey"
        taken.append((frame.number, frame.capture_ns))
    assert all(after > before for before, after in itertools.pairwise(taken))
    assert begin_ns <= taken[0][1] <= taken[-1][1] <= time.monotonic_ns()
    assert 0 < camera.fps < 100
    camera.close()


def test_it_opens_again_after_it_was_closed() -> None:
    for _ in range(2):
        camera = opened(320, 240)
        camera.read()
        camera.close()


def test_a_camera_that_gives_no_more_requests_ends_in_an_error() -> None:
    camera = opened(640, 480)
    camera.read()
    camera._camera.camera.stop()  # libcamera's own, behind the back of picamera2
    with pytest.raises(CameraError, match=r"Failed to queue request|no picture for 2 seconds"):
        all(camera.read() for _ in itertools.count())
    camera.close()


def test_its_h264_block_is_not_made_up() -> None:
    with pytest.raises(CameraError, match=r"this board has no H\.264 block"):
        PiCamera(0, 640, 480, 30, encode=True, open_camera=open_virtual)
