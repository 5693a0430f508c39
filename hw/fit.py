"""Any picture as yuv420p of one size: scaled, its shape kept, with black beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw.canvas import BLACK, Canvas

if TYPE_CHECKING:
    from av import VideoFrame

NARROW = 1  # AVCOL_RANGE_MPEG: 16 to 235, what an encoder and a screen expect


class Fit:
    """What is right already is given back as it is."""

    def __init__(self, width: int, height: int) -> None:
        from av import VideoFrame
        from av.video.reformatter import VideoReformatter

        self._card = VideoFrame(width, height, "yuv420p")
        self._canvas = Canvas(self._card)
        self._scale = VideoReformatter().reformat
        self._shape = (0, 0)

    def __call__(self, source: VideoFrame, pixel_aspect: float = 1.0) -> VideoFrame:
        card = self._card
        if pixel_aspect == 1.0 and (source.width, source.height, source.format.name) == (card.width, card.height, "yuv420p"):
            return source
        aspect = source.width * pixel_aspect / source.height
        width = min(card.width, round(card.height * aspect / 2) * 2)
        height = min(card.height, round(card.width / aspect / 2) * 2)
        ranges = {"src_color_range": source.color_range, "dst_color_range": NARROW}  # a camera's MJPEG is of full range
        scaled = self._scale(source, max(2, width), max(2, height), "yuv420p", **ranges)
        if (width, height) == (card.width, card.height):
            return scaled
        if (width, height) != self._shape:
            self._canvas.fill(0, 0, card.width, card.height, BLACK)
            self._shape = (width, height)
        self._canvas.paste((card.width - width) // 4 * 2, (card.height - height) // 4 * 2, scaled)
        return card
