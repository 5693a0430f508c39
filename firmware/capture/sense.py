"""Is there anything to see? Black and frozen pictures are noticed, and told; nothing is done about them.

A camera that hangs may give the same picture for ever, and one with its cap on a black one: both come at full rate, so no
watchdog sees them. Of every few pictures some thousand luma samples are looked at:

* black: hardly a sample is brighter than `BLACK_LUMA`, for three seconds;
* frozen: not one sample differs, for ten seconds. The noise of any real sensor differs; a slide of a computer on HDMI may
  not, so this says "frozen" and not "broken".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from av import VideoFrame

LOOK_EVERY_NS = 250_000_000
BLACK_LUMA = 32  # of 16 to 235
BLACK_SHARE = 0.98  # of the samples that are no brighter
BLACK_AFTER_NS = 3_000_000_000
FROZEN_AFTER_NS = 10_000_000_000
ROWS, COLUMNS = 36, 128  # where samples are taken

_DARK = bytes(range(BLACK_LUMA + 1))


class PictureSense:
    """`look` at each picture (yuv420p) with its time; `verdict` says what is to be seen."""

    def __init__(self) -> None:
        self._looked_ns = 0
        self._samples = b""
        self._moved_ns = self._bright_ns = self._now_ns = -1

    def look(self, picture: VideoFrame, now_ns: int) -> None:
        if self._now_ns >= 0 and now_ns - self._looked_ns < LOOK_EVERY_NS:
            return
        self._looked_ns = self._now_ns = now_ns
        samples = _samples(picture)
        if samples != self._samples or self._moved_ns < 0:
            self._samples, self._moved_ns = samples, now_ns
        if len(samples.translate(None, _DARK)) > len(samples) * (1 - BLACK_SHARE) or self._bright_ns < 0:
            self._bright_ns = now_ns

    def restart(self) -> None:
        """Another camera, or the same one opened anew."""
        self.__init__()  # type: ignore[misc]

    @property
    def verdict(self) -> Literal["moving", "black", "frozen", "none"]:
        if self._now_ns < 0:
            return "none"
        if self._now_ns - self._bright_ns >= BLACK_AFTER_NS:
            return "black"
        return "frozen" if self._now_ns - self._moved_ns >= FROZEN_AFTER_NS else "moving"


def _samples(picture: VideoFrame) -> bytes:
    """Luma at a grid of places."""
    plane = picture.planes[0]
    pixels, line = memoryview(plane).cast("B"), plane.line_size
    down, across = max(1, picture.height // ROWS), max(1, picture.width // COLUMNS)
    rows = range(down // 2, picture.height, down)
    return b"".join([bytes(pixels[row * line : row * line + picture.width : across]) for row in rows])
