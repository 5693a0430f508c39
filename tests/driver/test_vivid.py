"""hw/camera/v4l2.py on the kernel's vivid driver, which behaves as a webcam on one input and as an HDMI bridge on the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hw import v4l2
from hw.camera import CameraError
from hw.camera.v4l2 import V4l2Camera
from hw.frame import Frame
from hw.planes import RAW, copied_out
from hw.v4l2queue import Picture, Queue, pixel_formats, set_format
from tests.conftest import WaitFor
from tests.driver.linux import Vivid

WEBCAM, HDMI = "0", "1"
SELECTED, NO_SIGNAL = 4, 1  # of dv_timings_signal_mode
PATIENCE_S = 60.0
# 75 % colour bars, from the left: white, yellow, cyan, green, magenta, red, blue, black
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0)]


@pytest.fixture
def webcam(vivid: Vivid) -> Iterator[Vivid]:
    vivid.ctl("-i", WEBCAM)
    vivid.set(osd_text_mode=2, test_pattern=0)  # bars, without writing on them
    yield vivid
    vivid.plug()


@pytest.fixture
def hdmi(vivid: Vivid) -> Iterator[Vivid]:
    vivid.ctl("-i", HDMI)
    vivid.set(osd_text_mode=2, test_pattern=0, dv_timings_signal_mode=SELECTED)
    set_source(vivid, 640, 480)
    yield vivid
    vivid.plug()


def set_source(vivid: Vivid, width: int, height: int) -> None:
    """Plug in something that sends that size: the first such entry of the menu of timings."""
    menu = (line.partition(":") for line in vivid.ctl("--list-ctrls-menus").splitlines())
    number = next(int(number) for number, _, what in menu if what.strip().startswith(f"{width}x{height}p"))
    vivid.set(dv_timings=number)


def frame_of(camera: V4l2Camera) -> Frame:
    frame = camera.read()
    assert isinstance(frame, Frame)
    return frame


def read_until_it_ends(camera: V4l2Camera) -> None:
    while True:
        camera.read()


def shows_bars(picture: Any) -> bool:
    rgb = picture.reformat(format="rgb24")
    (plane,) = rgb.planes
    data = bytes(plane)
    row = rgb.height // 2 * plane.line_size
    seen = [tuple(data[row + 3 * x : row + 3 * x + 3]) for x in ((2 * bar + 1) * rgb.width // 16 for bar in range(8))]
    return all(abs(one - wanted) <= 24 for pixel, bar in zip(seen, BARS, strict=True) for one, wanted in zip(pixel, bar, strict=True))


def test_pictures_come_with_growing_numbers_and_times(webcam: Vivid) -> None:
    with closing(V4l2Camera(webcam.path, 320, 180, 15, pixel="raw")) as camera:
        frames = [frame_of(camera) for _ in range(8)]
        told = camera.name
    assert [frame.number for frame in frames] == sorted({frame.number for frame in frames})
    times_ns = [frame.capture_ns for frame in frames]
    assert times_ns == sorted(set(times_ns))
    assert abs(time.monotonic_ns() - times_ns[-1]) < PATIENCE_S * 1e9
    assert {(frame.picture.width, frame.picture.height) for frame in frames} == {(320, 180)}
    assert "320 x 180" in told
    assert shows_bars(frames[-1].picture)


def test_a_rate_that_was_asked_for_is_what_comes(webcam: Vivid) -> None:
    """vivid's own clock paces: the times on the pictures are right even where the machine is slow."""
    steps_ms = {}
    for fps in (10, 25):
        with closing(V4l2Camera(webcam.path, 320, 180, fps, pixel="raw")) as camera:
            assert camera.fps == pytest.approx(fps, abs=0.1)
            first, last = frame_of(camera), [frame_of(camera) for _ in range(10)][-1]
        steps_ms[fps] = (last.capture_ns - first.capture_ns) / (last.number - first.number) / 1e6
    assert steps_ms[10] == pytest.approx(100, rel=0.1)
    assert steps_ms[25] == pytest.approx(40, rel=0.1)


def test_every_uncompressed_format_shows_the_same_bars(webcam: Vivid) -> None:
    device = v4l2.Device(Path(webcam.path))
    try:
        queue = Queue(device, v4l2.CAPTURE)
        there = {v4l2.fourcc_name(one.pixelformat) for one in pixel_formats(device, v4l2.CAPTURE)}
        tried = sorted((there & set(RAW)) - {"GREY"})  # which has no colours to compare
        wrong = [pixel for pixel in tried if not shows_bars(one_picture(device, queue, pixel))]
    finally:
        device.close()
    assert {"YUYV", "NV12", "YU12"} <= set(tried)
    assert wrong == []


def one_picture(device: v4l2.Device, queue: Queue, pixel: str) -> Any:
    got = set_format(device, v4l2.CAPTURE, Picture(320, 180, pixel))
    assert got.pixel == pixel
    for index in range(queue.request(3)):
        queue.put(index)
    queue.start()
    assert device.poll(PATIENCE_S, v4l2.POLLIN) & v4l2.POLLIN
    taken = queue.take()
    assert taken
    picture = copied_out(got, queue.maps[taken.index][: taken.used])
    queue.stop()
    queue.request(0)
    return picture


def test_an_hdmi_source_that_changes_size_and_rate_goes_on(hdmi: Vivid, wait_for: WaitFor, record_property: Any) -> None:
    with closing(V4l2Camera(hdmi.path, 640, 480, 30)) as camera:
        assert (frame_of(camera).picture.width, round(camera.fps)) == (640, 60)
        last = frame_of(camera).number
        changed_s = time.monotonic()
        set_source(hdmi, 720, 576)
        wait_for(lambda: frame_of(camera) and round(camera.fps) == 50, PATIENCE_S, "the new rate")
        record_property("new_rate_after_s", round(time.monotonic() - changed_s, 1))
        assert "50/s" in camera.name
        assert frame_of(camera).picture.width == 640, "what was asked for: vivid scales what is plugged in"
        assert frame_of(camera).number > last, "numbers go on"


def test_a_source_that_goes_away_is_a_sentence_and_comes_back(hdmi: Vivid) -> None:
    with closing(V4l2Camera(hdmi.path, 640, 480, 30)) as camera:
        frame_of(camera)
        hdmi.set(dv_timings_signal_mode=NO_SIGNAL)
        with pytest.raises(CameraError, match="no signal"):
            read_until_it_ends(camera)
        hdmi.set(dv_timings_signal_mode=SELECTED)
    with closing(V4l2Camera(hdmi.path, 640, 480, 30)) as camera:
        frame_of(camera)


def test_pulled_out_while_it_streams_it_ends_and_plugged_in_it_is_back(webcam: Vivid, record_property: Any) -> None:
    camera = V4l2Camera(webcam.path, 320, 180, 15)
    ended: list[tuple[float, BaseException]] = []
    streaming = threading.Event()

    def read() -> None:
        try:
            while True:
                camera.read()
                streaming.set()
        except BaseException as error:
            ended.append((time.monotonic(), error))

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    assert streaming.wait(PATIENCE_S)
    pulled_s = time.monotonic()
    webcam.unplug()
    reading.join(PATIENCE_S)
    assert ended, "it hangs in a device that is gone"
    when_s, why = ended[0]
    record_property("noticed_after_s", round(when_s - pulled_s, 2))
    assert isinstance(why, CameraError)
    assert "v4l2:/dev/video" in str(why)
    camera.close()
    webcam.plug()
    with closing(V4l2Camera(webcam.path, 320, 180, 15)) as again:
        assert frame_of(again).picture.width == 320
