"""Cameras over V4L2 against a stand-in with the kernel's rules (tests/hw/videonode.py)."""

from __future__ import annotations

import itertools
import time
from fractions import Fraction
from pathlib import Path

import av
import pytest

from hw import h264
from hw.camera import CameraError
from hw.camera.edid import edid
from hw.camera.modes import Mode, choose
from hw.camera.v4l2 import V4l2Camera
from hw.camera.v4l2list import Found, list_cameras
from hw.encoder.v4l2m2m import V4l2M2m
from hw.fit import Fit
from hw.frame import Coded, Frame
from tests.hw.m2m import Codec
from tests.hw.videonode import Sizes, VideoNode, rates, timings

SMALL: Sizes = {(320, 240): rates(30, 15)}
C920 = {
    "YUYV": {(640, 480): rates(30, 15), (1280, 720): rates(10, 5), (1920, 1080): rates(5)},
    "MJPG": {(640, 480): rates(30), (1280, 720): rates(60, 30), (1920, 1080): rates(30)},
    "H264": {(1280, 720): rates(30), (1920, 1080): rates(30)},
}


def opened(node: VideoNode, width: int = 320, height: int = 240, fps: float = 30, **more: object) -> V4l2Camera:
    return V4l2Camera("/dev/video0", width, height, fps, open_device=node.open, **more)  # type: ignore[arg-type]


def shade(picture: av.VideoFrame) -> int:
    """As it goes on air: whatever range the camera had, 16 to 235."""
    return bytes(Fit(640, 480)(picture).planes[0])[0]


def modes() -> list[Mode]:
    return [Mode(pixel, *size, one) for pixel, sizes in C920.items() for size, known in sizes.items() for one in known]


@pytest.mark.parametrize(
    ("wish", "pixel", "given"),
    [
        ((1920, 1080, 30), "auto", "1920 x 1080 MJPEG 30/s"),
        ((1280, 720, 30), "auto", "1280 x 720 MJPEG 30/s"),
        ((1280, 720, 50), "auto", "1280 x 720 MJPEG 60/s"),
        ((640, 480, 30), "auto", "640 x 480 YUYV 30/s"),
        ((640, 360, 25), "auto", "1280 x 720 MJPEG 30/s"),
        ((1280, 720, 30), "raw", "640 x 480 YUYV 30/s"),
        ((1280, 720, 10), "raw", "1280 x 720 YUYV 10/s"),
        ((1920, 1080, 30), "h264", "1920 x 1080 H.264 30/s"),
    ],
)
def test_the_mode_that_serves_best(wish: tuple[int, int, int], pixel: str, given: str) -> None:
    assert str(choose(modes(), *wish, pixel)) == given  # type: ignore[arg-type]


def test_a_kind_that_it_has_not() -> None:
    assert choose(modes()[:3], 640, 480, 30, "h264") is None
    assert str(Mode("NV12", 1920, 1080, Fraction(1001, 60_000))) == "1920 x 1080 NV12 59.94/s"


@pytest.mark.parametrize("pixel", ["YUYV", "UYVY", "NV12", "YU12", "MJPG"])
@pytest.mark.parametrize(("driver", "mplane"), [("uvcvideo", False), ("padded", True)])
def test_pictures_with_numbers_and_times(pixel: str, driver: str, mplane: bool) -> None:
    node = VideoNode({pixel: SMALL}, driver=driver, mplane=mplane)
    camera = opened(node)
    before_ns = time.monotonic_ns()
    for number in range(9):
        frame = camera.read()
        assert isinstance(frame, Frame)
        assert (frame.number, frame.picture.width, frame.picture.height) == (number, 320, 240)
        assert shade(frame.picture) == pytest.approx(40 + number, abs=2)
        assert before_ns - 1000 <= frame.capture_ns <= time.monotonic_ns()
    camera.close()


def test_what_it_gives_is_said() -> None:
    camera = opened(VideoNode(C920), 1280, 720)
    assert (camera.name, camera.fps) == ("USB camera Stand-in C920, 1280 x 720 MJPEG 30/s", 30)
    camera.close()


def test_pictures_are_new_ones_each_time_and_all_is_given_back() -> None:
    node = VideoNode({"YU12": SMALL})
    camera = opened(node)
    first, second = camera.read(), camera.read()
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert shade(second.picture) == shade(first.picture) + 1
    camera.close()
    assert node.history[-3:] == ["STREAMOFF", "REQBUFS", "close"]


def test_lost_and_damaged_pictures_are_numbers_that_are_missing() -> None:
    node = VideoNode({"YUYV": SMALL})
    camera = opened(node)
    assert camera.read().number == 0
    node.lost = 3
    assert camera.read().number == 4
    node.damaged = 2
    assert camera.read().number == 7
    camera.close()


def test_a_jpeg_that_cannot_be_decoded_is_a_number_that_is_missing() -> None:
    node = VideoNode({"MJPG": SMALL})
    camera = opened(node)
    assert camera.read().number == 0
    node.garbled = 1
    assert camera.read().number == 2
    camera.close()


def test_a_time_that_cannot_be_true_is_not_believed() -> None:
    node = VideoNode({"YUYV": SMALL})
    camera = opened(node)
    node.clock_ns = lambda: 5_000_000_000
    before_ns = time.monotonic_ns()
    assert camera.read().capture_ns >= before_ns
    node.clock_ns, node.monotonic = time.time_ns, False
    assert before_ns <= camera.read().capture_ns <= time.monotonic_ns()
    camera.close()


def test_h264_of_the_camera_is_passed_on() -> None:
    node = VideoNode({"H264": SMALL})
    camera = opened(node, pixel="h264")
    frames = [camera.read() for _ in range(7)]
    assert camera.name.endswith("320 x 240 H.264 30/s")
    for frame in frames:
        assert isinstance(frame, Coded)
        kinds = h264.nal_types(bytes(frame.unit.packet))
        assert kinds[0] == h264.AUD
        assert frame.unit.key == (frame.number % 5 == 0) == ({h264.SPS, h264.PPS, h264.IDR} <= set(kinds))
        assert frame.unit.pts_90k == frame.unit.packet.pts == frame.capture_ns * 9 // 100_000
    camera.bitrate_bps = 3_000_000  # it cannot be told
    assert camera.bitrate_bps == 0
    camera.key_frame()
    camera.close()


def test_another_size_on_the_hdmi_input_and_it_goes_on() -> None:
    node = VideoNode({"UYVY": {}}, driver="unicam", card="unicam")
    node.bridge, node.signal = True, timings(640, 360, 50)
    camera = opened(node, 1280, 720)
    assert (camera.name, camera.fps) == ("HDMI input unicam, 640 x 360 UYVY 50/s", 50)
    first = [camera.read() for _ in range(3)]
    node.change(timings(320, 240, 60))
    second = [camera.read() for _ in range(3)]
    assert camera.fps == 60
    assert [frame.number for frame in first + second] == list(range(6))
    assert all(isinstance(frame, Frame) and frame.picture.width == 320 for frame in second)
    camera.close()


def test_an_hdmi_cable_that_is_pulled_and_put_back() -> None:
    node = VideoNode({"UYVY": {}}, driver="unicam")
    node.bridge, node.signal = True, timings(640, 360, 50)
    camera = opened(node)
    camera.read()
    node.change(None)
    with pytest.raises(CameraError, match=r"^camera `v4l2:/dev/video0` has no signal for 2 s: "):
        camera.read()
    node.change(timings(640, 360, 50))
    assert camera.read().number == 1
    camera.close()


def test_no_signal_at_the_start() -> None:
    node = VideoNode({"UYVY": {}}, driver="unicam")
    node.bridge = True
    with pytest.raises(CameraError, match=r"^camera `v4l2:/dev/video0` has no signal: nothing is plugged in, or it is switched off$"):
        opened(node)
    assert node.history[-1] == "close"


def test_a_bridge_without_an_edid_is_given_one_and_then_has_a_signal() -> None:
    node = VideoNode({"UYVY": {}}, driver="unicam")
    node.bridge, node.signal, node.edid = True, timings(640, 360, 30), b""
    with pytest.raises(CameraError, match="has no signal"):
        opened(node)
    assert node.edid == edid(30)
    camera = opened(node)
    assert camera.read().number == 0
    camera.close()


def test_no_picture_for_two_seconds() -> None:
    node = VideoNode({"YUYV": SMALL})
    camera = opened(node)
    node.silent = True
    with pytest.raises(CameraError, match=r"^camera `v4l2:/dev/video0` gives no picture for 2 s: Stand-in C920$"):
        camera.read()
    camera.close()


def test_a_camera_that_is_unplugged_says_so_at_once() -> None:
    node = VideoNode({"YUYV": SMALL})
    camera = opened(node)
    node.gone = True
    with pytest.raises(CameraError, match=r"^camera `v4l2:/dev/video0` was unplugged$"):
        camera.read()
    camera.close()
    with pytest.raises(CameraError, match=r"is not there; is it plugged in\?$"):
        opened(node)


def test_a_queue_that_breaks_off() -> None:
    node = VideoNode({"YUYV": SMALL})
    camera = opened(node)
    node.broken = True
    with pytest.raises(CameraError, match=r"^camera `v4l2:/dev/video0` broke off: Stand-in C920 gives no more pictures$"):
        camera.read()
    camera.close()


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    node = VideoNode({"YUYV": SMALL})
    node.busy = True
    with pytest.raises(CameraError, match=r"is in use by another program$"):
        opened(node)
    with pytest.raises(CameraError, match=r"gives no h264; it has raw$"):
        opened(VideoNode({"YUYV": SMALL}), pixel="h264")
    with pytest.raises(CameraError, match=r"is no camera: it is bcm2835-codec-encode$"):
        V4l2Camera("/dev/video11", 320, 240, 30, open_device=Codec().open)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").touch()
    with pytest.raises(CameraError, match=r"^camera `v4l2:/dev/video0` is no video device$"):
        V4l2Camera("/dev/video0", 320, 240, 30, root=tmp_path)


def test_the_encoder_reads_pictures_out_of_the_cameras_memory() -> None:
    """Rows of a multiple of 64 bytes, as that encoder wants them: otherwise pictures are copied."""
    node, codec = VideoNode({"YUYV": SMALL}), Codec()
    camera = opened(node, lend=True)
    encoder = V4l2M2m(320, 240, 30, 1_000_000, 1000, path=Path("/dev/video11"), imports=camera.format, open_device=codec.open)
    decoder = av.CodecContext.create("h264", "r")
    for number in range(9):  # more than there are buffers
        frame, lent = camera.read(), camera.lent
        assert lent is not None
        (unit,) = encoder.encode_lent(lent.fd, lent.length, lent.used, frame.capture_ns)
        assert unit.pts_90k == frame.capture_ns * 9 // 100_000
        for picture in decoder.decode(unit.packet):
            assert shade(picture) == pytest.approx(40 + number, abs=3)
    encoder.close()
    camera.close()


def test_cameras_are_listed_with_a_path_that_stays(tmp_path: Path) -> None:
    nodes = {
        "video0": ("HD Pro Webcam C920", "0", "uvcvideo"),
        "video1": ("HD Pro Webcam C920", "1", "uvcvideo"),
        "video2": ("Cam Link 4K", "0", "uvcvideo"),
        "video11": ("bcm2835-codec-encode", "0", "bcm2835-codec"),
        "video13": ("bcm2835-isp-output0", "0", "bcm2835-isp"),
        "video19": ("unicam-image", "0", "unicam"),
        "v4l-subdev0": ("imx708", "", "imx708"),
    }
    for node, (name, index, driver) in nodes.items():
        folder = tmp_path / "sys/class/video4linux" / node
        (folder / "device").mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "index").write_text(index + "\n")
        (folder / "device/driver").symlink_to(f"/drivers/{driver}")
    for kind, link, node in (
        ("by-id", "usb-046d_C920-index0", "video0"),
        ("by-path", "usb-1.2-index0", "video0"),
        ("by-path", "usb-1.3", "video2"),
    ):
        (tmp_path / "dev/v4l" / kind).mkdir(parents=True, exist_ok=True)
        (tmp_path / "dev/v4l" / kind / link).symlink_to(f"../../{node}")
    assert list_cameras(tmp_path) == [
        Found("v4l2:/dev/v4l/by-id/usb-046d_C920-index0", "USB camera HD Pro Webcam C920", "/dev/video0"),
        Found("v4l2:/dev/v4l/by-path/usb-1.3", "USB camera Cam Link 4K", "/dev/video2"),
    ]
    (tmp_path / "sys/class/video4linux/v4l-subdev0/name").write_text("tc358743 10-000f\n")
    assert list_cameras(tmp_path)[-1] == Found("v4l2:/dev/video19", "HDMI input unicam-image", "/dev/video19")
    numbers = itertools.count()
    asked = list_cameras(tmp_path, lambda path: VideoNode({"YUYV": SMALL}) if next(numbers) == 0 else Codec())
    assert [one.name for one in asked] == ["USB camera Stand-in C920"]


def test_a_machine_without_cameras(tmp_path: Path) -> None:
    assert list_cameras(tmp_path) == []
