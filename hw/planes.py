"""Pictures as V4L2 lays them in memory, one plane after the other in one buffer, and as FFmpeg has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hw.fit import NARROW

if TYPE_CHECKING:
    from av import VideoFrame

    from hw.v4l2queue import Picture

JPEG_RANGE = 2  # AVCOL_RANGE_JPEG

RAW = {  # FFmpeg's name, and of each plane: by what the first one's stride and the height are to be divided
    "YUYV": ("yuyv422", ((1, 1),)),
    "UYVY": ("uyvy422", ((1, 1),)),
    "YVYU": ("yvyu422", ((1, 1),)),
    "NV12": ("nv12", ((1, 1), (1, 2))),
    "NV21": ("nv21", ((1, 1), (1, 2))),
    "NV16": ("nv16", ((1, 1), (1, 1))),
    "YU12": ("yuv420p", ((1, 1), (2, 2), (2, 2))),
    "422P": ("yuv422p", ((1, 1), (2, 1), (2, 1))),
    "RGB3": ("rgb24", ((1, 1),)),
    "BGR3": ("bgr24", ((1, 1),)),
    "GREY": ("gray", ((1, 1),)),
}


def copied_out(found: Picture, data: memoryview) -> VideoFrame | None:
    """A picture of its own; None where there is less data than that."""
    import av

    kind, planes = RAW[found.pixel]
    picture, at = av.VideoFrame(found.width, found.height, kind), 0
    if found.full_range:
        picture.color_range = JPEG_RANGE
    for plane, (across, down) in zip(picture.planes, planes, strict=True):
        stride, rows = found.stride // across, -(-found.height // down)
        if at + stride * (rows - 1) + min(stride, plane.line_size) > len(data):
            return None
        _copy_rows(memoryview(plane).cast("B"), plane.line_size, data[at:], stride, rows)
        at += stride * rows
    return picture


def copy_in(picture: VideoFrame, width: int, height: int, form: Picture, data: memoryview) -> int:
    """Into a device's buffer, which may be wider and higher; made to be of that size where it is not. Gives how much of it is used."""
    kind, planes = RAW[form.pixel]
    if (picture.width, picture.height, picture.format.name) != (width, height, kind):
        picture = picture.reformat(width, height, kind, src_color_range=picture.color_range, dst_color_range=NARROW)
    at = 0
    for plane, (across, down) in zip(picture.planes, planes, strict=True):
        stride = form.stride // across
        _copy_rows(data[at:], stride, memoryview(plane).cast("B"), plane.line_size, -(-height // down))
        at += stride * -(-form.height // down)
    return at


def _copy_rows(to: memoryview, to_stride: int, source: memoryview, stride: int, rows: int) -> None:
    if to_stride == stride and stride * rows <= min(len(source), len(to)):
        to[: stride * rows] = source[: stride * rows]
        return
    wide = min(to_stride, stride)
    for row in range(rows):
        to[row * to_stride : row * to_stride + wide] = source[row * stride : row * stride + wide]
