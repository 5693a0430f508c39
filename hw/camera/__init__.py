"""Cameras by name, one file a kind. Each opens its device, then gives pictures in real time.

pattern                a moving test picture
clip:FILE              a film
v4l2:/dev/video0       USB, HDMI bridges, capture cards
csi:0                  a Raspberry Pi's own cameras, by number
argus:0                a Jetson's
rtsp://HOST/PATH       a network camera, whose H.264 is passed on as it is
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from hw.frame import Coded, Frame

ALLOWED = "allowed are `pattern`, `clip:FILE`, `v4l2:/dev/video0`, `csi:0`, `argus:0` and `rtsp://HOST/PATH`"
DEVICES = ("v4l2", "csi", "argus", "rtsp", "bench")  # may come and go: what cannot be opened now is tried again

Rotation = Literal[0, 180]
Transport = Literal["tcp", "udp"]


class CameraError(OSError):
    """A camera that cannot be opened or gives no picture. The message names it and says what is allowed."""


class Camera(Protocol):
    @property
    def name(self) -> str:
        """For people; may change."""

    @property
    def fps(self) -> float:
        """What it really gives; may change."""

    def read(self) -> Frame | Coded:
        """Wait for the next picture. Never gives one twice; numbers that are missing were too late to be taken, or lost.

        Raises `CameraError` where there is none for about two seconds, or ever again.
        """

    def close(self) -> None: ...

    # One that encodes itself may also have `bitrate_bps`, to be set at any time, and `key_frame()`.


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted of a camera. What a kind cannot do it leaves."""

    width: int
    height: int
    fps: int
    bitrate_bps: int = 0  # where it encodes itself
    gop_ms: int = 1000
    coded: bool = False  # it is to encode itself
    rotation: Rotation = 0
    focus: str = ""  # "continuous", "auto" (once), or dioptres; empty: as it is
    exposure_us: int = 0  # 0: by itself
    transport: Transport = "tcp"  # of a network camera
    password: str = ""


def kind_of(text: str) -> str:
    return text.partition(":")[0]


def is_present(text: str) -> bool:
    """False where its device is not there: then nothing that is done to this machine brings it back."""
    kind, _, what = text.partition(":")
    return kind not in ("v4l2", "bench") or Path(what).exists()


def check_camera(text: str) -> None:
    """Raises `CameraError` for one that cannot be, without opening it. A device that is away now may come."""
    kind, _, what = text.partition(":")
    if kind == "clip" and what:
        try:
            Path(what).open("rb").close()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise CameraError(f"camera `{text}` cannot be read: {why}; {ALLOWED}") from None
    elif kind == "clip":
        raise CameraError(f"camera `{text}`: the file is missing; {ALLOWED}")
    elif kind == "bench" and what:
        pass  # away until its file is there
    elif kind == "v4l2":
        if not what.startswith("/dev/"):
            raise CameraError(f"camera `{text}`: write its device, like v4l2:/dev/video0; `pressbox doctor` lists them")
    elif kind in ("csi", "argus"):
        if not what.isdecimal() or len(what) > 2:
            raise CameraError(f"camera `{text}`: write its number, like {kind}:0")
    elif kind == "rtsp":
        _check_network_camera(text)
    elif text != "pattern":
        raise CameraError(f"camera `{text}` is not known; {ALLOWED}")


def _check_network_camera(text: str) -> None:
    try:
        place = urlsplit(text)
        right = bool(place.hostname) and (place.port or 1) > 0
    except ValueError:
        right = False
    if not right:
        raise CameraError("camera: an address of a network camera is rtsp://HOST/PATH or rtsp://USER@HOST:PORT/PATH")
    if place.password is not None:
        raise CameraError("camera: a password in an address is there for everybody to read; keep it as a secret and name that")


def open_camera(text: str, wish: Wish) -> Camera:
    """Open the camera that `text` names; raises `CameraError`."""
    check_camera(text)
    kind, _, what = text.partition(":")
    if kind == "bench":
        from hw.camera.bench import BenchCamera

        return BenchCamera(what, wish.width, wish.height, wish.fps)
    if kind == "clip":
        from hw.camera.clip import Clip

        return Clip(what, wish.width, wish.height, wish.fps)
    if kind == "v4l2":
        from hw.camera.v4l2 import V4l2Camera

        return V4l2Camera(what, wish.width, wish.height, wish.fps, pixel="h264" if wish.coded else "auto")
    if kind == "csi":
        from hw.camera.picamera import PiCamera

        return PiCamera(
            int(what),
            wish.width,
            wish.height,
            wish.fps,
            encode=wish.coded,
            bitrate_bps=wish.bitrate_bps,
            gop_ms=wish.gop_ms,
            rotation=wish.rotation,
            focus=wish.focus,
            exposure_us=wish.exposure_us or None,
        )
    if kind == "argus":
        from hw.camera.jetson import JetsonCamera

        return JetsonCamera(
            int(what),
            wish.width,
            wish.height,
            wish.fps,
            encode=wish.coded,
            bitrate_bps=wish.bitrate_bps,
            gop_ms=wish.gop_ms,
            rotation=wish.rotation,
            exposure_us=wish.exposure_us or None,
        )
    if kind == "rtsp":
        from hw.camera.rtsp import RtspCamera

        place = urlsplit(text)
        return RtspCamera(text, transport=wish.transport, user=place.username or "", password=wish.password)
    from hw.camera.pattern import Pattern

    return Pattern(wish.width, wish.height, wish.fps)
