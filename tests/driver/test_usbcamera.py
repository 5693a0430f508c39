"""A USB camera under the kernel's uvcvideo: pictures of both kinds, the cable pulled while it streams, the driver bound anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

import pytest

from hw.camera import CameraError
from hw.camera.v4l2 import V4l2Camera
from hw.frame import Frame
from hw.usbport import port_of, wake
from tests.conftest import WaitFor
from tests.driver.linux import DEVICE_S, modprobe, usb_video_node
from tests.driver.usbcamera import UsbCamera

WIDTH, HEIGHT, FPS = 160, 120, 10


def ramp(number: int) -> bytes:
    """YUYV: shades of grey from left to right, which move."""
    row = b"".join(bytes(((x + 8 * number) & 0xFF, 128)) for x in range(WIDTH))
    return row * HEIGHT


def jpegs() -> Callable[[int], bytes]:
    import av

    coder = av.CodecContext.create("mjpeg", "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = WIDTH, HEIGHT, "yuvj422p", Fraction(1, FPS)
    made = []
    for number in range(8):
        picture = av.VideoFrame(WIDTH, HEIGHT, "yuyv422")
        picture.planes[0].update(ramp(4 * number))
        made += [bytes(packet) for packet in coder.encode(picture.reformat(format="yuvj422p"))]
    return lambda number: made[number % len(made)]


@pytest.fixture
def make() -> Iterator[Callable[[str], UsbCamera]]:
    modprobe("uvcvideo")
    modprobe("vhci-hcd")
    made: list[UsbCamera] = []

    def plugged(pixel: str) -> UsbCamera:
        made.append(UsbCamera(WIDTH, HEIGHT, FPS, pixel, ramp if pixel == "YUYV" else jpegs()))
        made[-1].plug()
        return made[-1]

    yield plugged
    for camera in made:
        camera.unplug()


@pytest.mark.parametrize("pixel", ["YUYV", "MJPG"])
def test_a_usb_camera_gives_its_pictures(make: Callable[[str], UsbCamera], wait_for: WaitFor, pixel: str) -> None:
    camera = make(pixel)
    path = appeared(wait_for)
    with closing(V4l2Camera(path, WIDTH, HEIGHT, FPS)) as opened:
        frames = [opened.read() for _ in range(5)]
        assert "USB camera" in opened.name
        assert ("MJPEG" in opened.name) == (pixel == "MJPG")
    assert all(isinstance(frame, Frame) and frame.picture.width == WIDTH for frame in frames)
    assert len({frame.number for frame in frames}) == 5
    assert camera.sent >= 5


def test_a_pulled_cable_is_an_error_and_no_hang(make: Callable[[str], UsbCamera], wait_for: WaitFor, record_property: Any) -> None:
    camera = make("YUYV")
    opened = V4l2Camera(appeared(wait_for), WIDTH, HEIGHT, FPS)
    opened.read()
    ended: list[tuple[float, CameraError]] = []

    def read() -> None:
        try:
            while True:
                opened.read()
        except CameraError as error:
            ended.append((time.monotonic(), error))

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    pulled_s = time.monotonic()
    camera.unplug()
    reading.join(DEVICE_S)
    assert ended, "it hangs in a device that is gone"
    record_property("noticed_after_s", round(ended[0][0] - pulled_s, 2))
    opened.close()
    wait_for(lambda: usb_video_node() is None, DEVICE_S, "the node is gone")


def test_a_camera_that_gives_nothing_any_more_is_noticed_and_woken(make: Callable[[str], UsbCamera], wait_for: WaitFor) -> None:
    """It is there, and silent: an error after some time; then hw/usbport.py takes it off the bus and lets it on again."""
    camera = make("YUYV")
    path = appeared(wait_for)
    with closing(V4l2Camera(path, WIDTH, HEIGHT, FPS)) as opened:
        opened.read()
        camera.gives = False
        with pytest.raises(CameraError, match="no picture"):
            read_until_it_ends(opened)
    found = port_of(path)
    assert found
    assert found.product == "Test camera"
    steps = wake(path, off_s=0.2)
    assert steps[-1].done, steps
    camera.gives = True
    with closing(V4l2Camera(appeared(wait_for), WIDTH, HEIGHT, FPS)) as opened:
        opened.read()


def appeared(wait_for: WaitFor) -> str:
    return str(wait_for(usb_video_node, DEVICE_S, "the node of uvcvideo"))


def read_until_it_ends(camera: V4l2Camera) -> None:
    while True:
        camera.read()
