"""Cameras by name: `pattern`, `clip:FILE`. One file a kind; each opens its device, then gives frames in real time."""

from __future__ import annotations

from typing import Protocol

from hw.frame import Frame

ALLOWED = "allowed are `pattern` and `clip:FILE`"


class CameraError(OSError):
    """A camera that cannot be opened or gives no picture. The message names it and says what is allowed."""


class Camera(Protocol):
    name: str

    def read(self) -> Frame:
        """Wait for the next picture. Never gives one twice; numbers that are missing were too late to be taken."""

    def close(self) -> None: ...


def open_camera(text: str, width: int, height: int, fps: int) -> Camera:
    """Open the camera that `text` names, at that size and rate; raises `CameraError`."""
    kind, _, what = text.partition(":")
    if text == "pattern":
        from hw.camera.pattern import Pattern

        return Pattern(width, height, fps)
    if kind == "clip" and what:
        from hw.camera.clip import Clip

        return Clip(what, width, height, fps)
    if kind == "clip":
        raise CameraError(f"camera `{text}`: the file is missing; {ALLOWED}")
    raise CameraError(f"camera `{text}` is not known; {ALLOWED}")
