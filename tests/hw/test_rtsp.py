"""Network cameras, against GStreamer's RTSP server, and against one whose connection is spoilt on the way."""

from __future__ import annotations

import itertools
import socket
import time
import traceback
from array import array
from collections.abc import Iterator

import pytest
from av import CodecContext

from hw.camera import CameraError, Transport
from hw.camera import rtsp as cameras
from hw.camera.rtsp import RtspCamera
from hw.frame import Coded, Sound
from hw.h264 import AUD, IDR, PPS, SPS, nal_types
from tests.hw.rtspmiddle import PICTURE, Middle
from tests.hw.rtspserver import AAC, B_FRAMES, G711, H264, JPEG, missing, serving

pytestmark = pytest.mark.skipif(bool(why := missing()), reason=why)


@pytest.fixture(scope="module")
def camera_port() -> Iterator[int]:
    with serving(H264, G711) as port:
        yield port


@pytest.fixture
def middle(camera_port: int) -> Iterator[Middle]:
    there = Middle(camera_port)
    yield there
    there.close()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "SILENT_S", 1.0)


def pictures(camera: RtspCamera, count: int) -> list[Coded]:
    taken = [camera.read() for _ in range(count)]
    camera.close()
    return taken


def heard(taken: list[Coded]) -> array[float]:
    """One channel, without the first fifth of a second; nothing comes twice."""
    sounds: list[Sound] = [sound for coded in taken for sound in coded.sound]
    for before, after in itertools.pairwise(sounds):
        assert after.first >= before.first + len(before.left) // 4
    return array("f", b"".join(sound.left for sound in sounds))[9600:]


def pitch_hz(samples: array[float]) -> float:
    return sum(before < 0 <= after for before, after in itertools.pairwise(samples)) * 48_000 / len(samples)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_are_passed_on_as_they_are(camera_port: int, transport: Transport) -> None:
    begin_ns = time.monotonic_ns()
    camera = RtspCamera(f"rtsp://127.0.0.1:{camera_port}/cam", transport)
    assert camera.name.startswith(f"network camera rtsp://127.0.0.1:{camera_port}/cam, H.264 320 x 240 25/s and pcm_mulaw, by ")
    taken = pictures(camera, 40)
    assert camera.fps == pytest.approx(25, rel=0.02)
    assert taken[0].unit.key
    decoder = CodecContext.create("h264", "r")
    decoder.options = {"err_detect": "explode"}
    assert len([picture for coded in taken for picture in decoder.decode(coded.unit.packet)]) >= 39
    for coded in taken:
        kinds = nal_types(bytes(coded.unit.packet))
        assert kinds[0] == AUD
        assert ({SPS, PPS, IDR} <= set(kinds)) == coded.unit.key
        assert coded.unit.pts_90k == coded.capture_ns * 9 // 100_000
        assert begin_ns - 1_000_000_000 < coded.capture_ns <= time.monotonic_ns()
    assert [coded.number for coded in taken] == list(range(40))


@pytest.mark.parametrize("streams", [(H264, G711), (H264, AAC)], ids=["G.711", "AAC"])
def test_the_sound_is_decoded_and_lies_on_the_same_clock(streams: tuple[str, ...]) -> None:
    with serving(*streams) as port:
        taken = pictures(RtspCamera(f"rtsp://127.0.0.1:{port}/cam"), 30)
    samples = heard(taken)
    assert pitch_hz(samples) == pytest.approx(500, rel=0.03)
    late = [coded for coded in taken[10:] if coded.sound]
    assert late
    assert all(abs(coded.sound[0].first * 10**9 // 48_000 - coded.capture_ns) < 200_000_000 for coded in late)


def test_a_camera_without_sound() -> None:
    with serving(H264) as port:
        taken = pictures(RtspCamera(f"rtsp://127.0.0.1:{port}/cam"), 5)
    assert [coded.sound for coded in taken] == [[]] * 5


@pytest.mark.parametrize("leap_s", [3600.0, -3600.0, 2.5])
def test_the_cameras_clock_is_set(middle: Middle, leap_s: float) -> None:
    camera = RtspCamera(f"rtsp://127.0.0.1:{middle.port}/cam")
    taken = [camera.read() for _ in range(15)]
    middle.leap_s = leap_s
    taken += pictures(camera, 30)
    steps = [after.capture_ns - before.capture_ns for before, after in itertools.pairwise(taken)]
    assert min(steps) >= 1_000_000
    assert max(steps) < 500_000_000
    assert abs(taken[-1].capture_ns - time.monotonic_ns()) < 2_000_000_000
    assert taken[-1].number < 100


def test_a_connection_that_breaks(middle: Middle) -> None:
    camera = RtspCamera(f"rtsp://127.0.0.1:{middle.port}/cam")
    camera.read()
    middle.cut()
    with pytest.raises(CameraError, match=r"^network camera rtsp://127\.0\.0\.1:\d+/cam, .*: "):
        all(camera.read() for _ in itertools.count())
    camera.close()
    pictures(RtspCamera(f"rtsp://127.0.0.1:{middle.port}/cam"), 3)


@pytest.mark.parametrize(("dropped", "words"), [(-1, "nothing comes from it"), (PICTURE, "no picture for 1 seconds, only sound")])
def test_a_camera_that_falls_silent(middle: Middle, dropped: int, words: str) -> None:
    camera = RtspCamera(f"rtsp://127.0.0.1:{middle.port}/cam")
    camera.read()
    middle.dropped.add(dropped)
    begin = time.monotonic()
    with pytest.raises(CameraError, match=words):
        all(camera.read() for _ in itertools.count())
    assert time.monotonic() - begin >= 0.9
    camera.close()


def test_over_udp_a_server_that_dies_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(H264) as port:
        camera = RtspCamera(f"rtsp://127.0.0.1:{port}/cam", "udp")
        camera.read()
    with pytest.raises(CameraError):
        all(camera.read() for _ in itertools.count())
    camera.close()


def test_the_password_opens_it_and_is_never_shown() -> None:
    secret = "tall@grass/7:?"
    with serving(H264, login=("venue", secret)) as port:
        camera = RtspCamera(f"rtsp://venue@127.0.0.1:{port}/cam?token=abc", password=secret)
        assert camera.read().unit.key
        camera.close()
        with pytest.raises(CameraError, match="it does not take this user and password") as refused:
            RtspCamera(f"rtsp://127.0.0.1:{port}/cam", user="venue", password=f"{secret}x")
    shown = camera.name + repr(camera) + "".join(traceback.format_exception(refused.value))
    assert all(word not in shown for word in (secret, "tall", "grass", "abc"))


def test_a_password_in_the_address_is_refused() -> None:
    with pytest.raises(CameraError, match="a password in an address is there for everybody to read") as refused:
        RtspCamera("rtsp://venue:tall@127.0.0.1/cam")
    assert "tall" not in str(refused.value)


def test_a_path_that_it_does_not_have(camera_port: int) -> None:
    with pytest.raises(CameraError, match="it has no stream of that path"):
        RtspCamera(f"rtsp://127.0.0.1:{camera_port}/other")


def test_nobody_there(udp_port: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(CameraError, match=r"cannot be opened: Connection refused"):
        RtspCamera(f"rtsp://127.0.0.1:{port}/cam")


def test_a_host_that_takes_the_connection_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "OPEN_S", 0.5)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(CameraError, match=r"cannot be opened: (nothing comes from it|Connection timed out)"),
    ):
        RtspCamera(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/cam")


def test_a_camera_that_sends_something_else() -> None:
    with serving(JPEG) as port, pytest.raises(CameraError, match=r"sends mjpeg; set it to H\.264"):
        RtspCamera(f"rtsp://127.0.0.1:{port}/cam")


def test_b_frames_are_named() -> None:
    with serving(B_FRAMES) as port:
        camera = RtspCamera(f"rtsp://127.0.0.1:{port}/cam")
        with pytest.raises(CameraError, match="sends B-frames"):
            all(camera.read() for _ in range(200))
        camera.close()
