"""What a V4L2 camera can give, and which of it serves a wish best."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from hw import v4l2
from hw.planes import RAW
from hw.v4l2queue import Device, get_format, pixel_formats

Pixel = Literal["auto", "raw", "mjpeg", "h264"]

KINDS: dict[str, Pixel] = {**{name: "raw" for name in RAW}, "MJPG": "mjpeg", "JPEG": "mjpeg", "H264": "h264"}
WORDS = {"MJPG": "MJPEG", "JPEG": "MJPEG", "H264": "H.264", "YU12": "I420", "RGB3": "RGB", "BGR3": "BGR"}

# What a mode costs that is not as wished. A film at a quarter of the rate is worse than a small one; MJPEG is worse than
# the same picture raw, yet better than any loss of it; a camera's own H.264 is taken unasked only where it has nothing else.
RATE_LOSS, AREA_LOSS, SHAPE, EXCESS = 2.0, 1.0, 0.3, 0.02
UNLIKE = {"YUYV": 0.0, "UYVY": 0.0, "NV12": 0.0, "YU12": 0.0, "MJPG": 0.01, "JPEG": 0.01, "H264": 10.0}
ODD = 0.015


@dataclass(frozen=True, slots=True)
class Mode:
    pixel: str
    width: int
    height: int
    interval: Fraction  # seconds from picture to picture

    @property
    def fps(self) -> float:
        return float(1 / self.interval)

    def __str__(self) -> str:
        return f"{self.width} x {self.height} {WORDS.get(self.pixel, self.pixel)} {self.fps:.4g}/s"


def choose(modes: Iterable[Mode], width: int, height: int, fps: float, pixel: Pixel) -> Mode | None:
    """The one that comes closest; None where there is none of that kind."""
    allowed = [mode for mode in modes if pixel in ("auto", KINDS.get(mode.pixel))]
    return min(allowed, key=lambda mode: _cost(mode, width, height, fps), default=None)


def _cost(mode: Mode, width: int, height: int, fps: float) -> float:
    shown = min(mode.width, width) * min(mode.height, height) / (width * height)
    rate = min(mode.fps, fps * 1.001) / fps
    shape = abs(mode.width * height / (mode.height * width) - 1)
    more = max(0.0, mode.fps / fps - 1) + max(0.0, mode.width * mode.height / (width * height) - 1)
    return RATE_LOSS * (1 - rate) + AREA_LOSS * (1 - shown) + SHAPE * shape + EXCESS * more + UNLIKE.get(mode.pixel, ODD)


def modes_of(device: Device, buffer_type: int, width: int, height: int, fps: float, source: Fraction | None) -> Iterator[Mode]:
    """Of sizes and rates in steps, those nearest to the wish. `source`: the interval of what is plugged in, where that decides."""
    wished = 1 / Fraction(fps).limit_denominator(1001)
    for described in pixel_formats(device, buffer_type):
        name = v4l2.fourcc_name(described.pixelformat)
        if name not in KINDS or described.flags & v4l2.FMT_EMULATED:
            continue
        for across, down in _sizes(device, buffer_type, described.pixelformat, width, height):
            intervals = [source] if source else _intervals(device, described.pixelformat, across, down, wished)
            yield from (Mode(name, across, down, interval) for interval in intervals)


def _sizes(device: Device, buffer_type: int, pixelformat: int, width: int, height: int) -> Iterator[tuple[int, int]]:
    index = 0
    while True:
        found = v4l2.FrameSize(index=index, pixel_format=pixelformat)
        try:
            device.ioctl(v4l2.ENUM_FRAMESIZES, found)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY, errno.ENODATA):
                raise
            if index == 0:  # a bridge: its size is that of what is plugged in
                now = get_format(device, buffer_type)
                yield now.width, now.height
            return
        steps = found.stepwise
        if found.type != v4l2.SIZE_DISCRETE:
            yield (
                _nearest(width, steps.min_width, steps.max_width, steps.step_width),
                _nearest(height, steps.min_height, steps.max_height, steps.step_height),
            )
            return
        yield steps.min_width, steps.max_width  # a discrete size is two numbers only
        index += 1


def _nearest(wanted: int, least: int, most: int, step: int) -> int:
    step = max(1, step)
    return min(max(least, least + -(-(wanted - least) // step) * step), most)


def _intervals(device: Device, pixelformat: int, width: int, height: int, wished: Fraction) -> Iterator[Fraction]:
    index = 0
    while True:
        found = v4l2.FrameInterval(index=index, pixel_format=pixelformat, width=width, height=height)
        try:
            device.ioctl(v4l2.ENUM_FRAMEINTERVALS, found)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY, errno.ENODATA):
                raise
            if index == 0:  # it does not say; it is asked for the rate, and tells then
                yield wished
            return
        steps = found.stepwise
        if found.type != v4l2.SIZE_DISCRETE:
            shortest, longest = fraction(steps.min), fraction(steps.max)
            if shortest and longest:
                yield min(max(wished, shortest), longest)
            return
        if interval := fraction(steps.min):
            yield interval
        index += 1


def fraction(found: v4l2.Fraction) -> Fraction | None:
    return Fraction(found.numerator, found.denominator) if found.numerator and found.denominator else None
