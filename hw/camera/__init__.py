"""Cameras by name: `pattern`, `clip:FILE`. One file a kind; each opens its device, then gives frames in real time."""

from __future__ import annotations

from pathlib import Path
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


def check_camera(text: str) -> None:
    """Raises `CameraError` for one that cannot be, without opening it."""
    kind, _, what = text.partition(":")
    if kind == "clip" and what:
        try:
            Path(what).open("rb").close()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise CameraError(f"camera `{text}` cannot be read: {why}; {ALLOWED}") from None
    elif kind == "clip":
        raise CameraError(f"camera `{text}`: the file is missing; {ALLOWED}")
    elif text != "pattern":
        raise CameraError(f"camera `{text}` is not known; {ALLOWED}")


def open_camera(text: str, width: int, height: int, fps: int) -> Camera:
    """Open the camera that `text` names, at that size and rate; raises `CameraError`."""
    check_camera(text)
    if text == "pattern":
        from hw.camera.pattern import Pattern

        return Pattern(width, height, fps)
    from hw.camera.clip import Clip

    return Clip(text.removeprefix("clip:"), width, height, fps)
