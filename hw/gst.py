"""GStreamer through python3-gi, loaded when the first pipeline is made. Only its core is needed: no typelib beside Gst-1.0."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import VideoFrame

SECOND_NS = 1_000_000_000


def load() -> Any:
    """The module Gst, ready to use; raises `OSError` in a sentence where it is not installed."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError):
        raise OSError("GStreamer cannot be used from Python here; Debian's packages python3-gi and gir1.2-gstreamer-1.0 have it") from None
    if not Gst.is_initialized():
        Gst.init(None)
    return Gst


def has_element(name: str) -> bool:
    return load().ElementFactory.find(name) is not None


class Pipeline:
    """One that plays as soon as it is made. On CLOCK_MONOTONIC, so that running times can be laid on it."""

    def __init__(self, description: str) -> None:
        self.gst = gst = load()
        from gi.repository import GLib

        try:
            self._pipeline = gst.parse_launch(description)
        except GLib.Error as error:
            raise OSError(f"GStreamer: {error.message}") from None
        self._pipeline.use_clock(gst.SystemClock.obtain())  # its clock-type is monotonic unless told otherwise
        self._sink = self._pipeline.get_by_name("sink")

    def play(self) -> None:
        """Raises `OSError` where an element cannot open its device; one that hangs in it is found by `pull`."""
        if self._pipeline.set_state(self.gst.State.PLAYING) == self.gst.StateChangeReturn.FAILURE:
            raise OSError(self.fault() or "GStreamer cannot start the pipeline")

    def element(self, name: str) -> Any:
        return self._pipeline.get_by_name(name)

    def pull(self, timeout_s: float) -> Any:
        """The next sample of the element `sink`, or None if there is none in that time, or never again."""
        return self._sink.emit("try-pull-sample", int(timeout_s * SECOND_NS))

    def fault(self) -> str:
        """What an element said that went wrong, or that the stream ended; empty if nothing."""
        message = self._pipeline.get_bus().pop_filtered(self.gst.MessageType.ERROR)
        if message is not None:
            error, _ = message.parse_error()
            return f"{message.src.get_name()}: {error.message}"
        return "the stream has ended" if self._sink.get_property("eos") else ""

    def monotonic_ns(self, running_ns: int) -> int:
        return int(self._pipeline.get_base_time() + running_ns)

    def close(self) -> None:
        """Not waited for: a driver may never come back from it."""
        threading.Thread(target=self._pipeline.set_state, args=(self.gst.State.NULL,), daemon=True).start()


def bytes_of(buffer: Any) -> bytes:
    return bytes(buffer.extract_dup(0, buffer.get_size()))


def packed(picture: VideoFrame) -> bytes:
    """A yuv420p picture as GStreamer lays I420 out: rows of whole words, no gap between the planes."""
    parts = []
    for plane, width in zip(picture.planes, (picture.width, picture.width // 2, picture.width // 2), strict=True):
        row, pixels = -(-width // 4) * 4, memoryview(plane).cast("B")
        if plane.line_size == row:
            parts.append(pixels[: row * plane.height])
        else:
            parts += [pixels[at : at + row] for at in range(0, plane.height * plane.line_size, plane.line_size)]
    return b"".join(parts)


def unpack(data: bytes, picture: VideoFrame) -> None:
    """The other way round: I420 bytes of GStreamer into a yuv420p picture of the same size."""
    source, start = memoryview(data), 0
    for plane, width in zip(picture.planes, (picture.width, picture.width // 2, picture.width // 2), strict=True):
        row, pixels = -(-width // 4) * 4, memoryview(plane).cast("B")
        if plane.line_size == row:
            pixels[: row * plane.height] = source[start : start + row * plane.height]
        else:
            for line in range(plane.height):
                at = line * plane.line_size
                pixels[at : at + width] = source[start + line * row : start + line * row + width]
        start += row * plane.height
