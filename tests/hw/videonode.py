"""A stand-in for a camera's /dev/video*: a USB camera with sizes and rates, or an HDMI bridge with timings and source changes."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from hw import v4l2
from hw.planes import RAW, copy_in
from hw.v4l2queue import Picture
from tests.hw.vb2 import VbQueue, refuse

Sizes = dict[tuple[int, int], list[Fraction]]
CODED = {"MJPG": "mjpeg", "H264": "libx264"}


def rates(*fps: int) -> list[Fraction]:
    return [Fraction(1, one) for one in fps]


def timings(width: int, height: int, fps: int) -> v4l2.DvTimings:
    found = v4l2.DvTimings(width=width, height=height, hfrontporch=80, vfrontporch=20)
    found.pixelclock = (width + 80) * (height + 20) * fps
    return found


class VideoNode:
    """Gives a picture whenever there is a buffer for it. What a test may set: the fields that say so."""

    def __init__(self, formats: dict[str, Sizes], driver: str = "uvcvideo", card: str = "Stand-in C920", mplane: bool = False) -> None:
        self.formats, self.driver, self.card = formats, driver, card
        self.bits = (v4l2.CAP_VIDEO_CAPTURE_MPLANE if mplane else v4l2.CAP_VIDEO_CAPTURE) | v4l2.CAP_STREAMING
        self.history: list[str] = []
        self.silent = self.gone = self.broken = False  # gives no picture; is unplugged; its queue broke off
        self.lost = 0  # pictures before the next one
        self.damaged = self.garbled = 0  # so many of the next ones, and the driver says so, or does not
        self.busy = False  # another program has it
        self.clock_ns = time.monotonic_ns
        self.monotonic = True
        self.signal: v4l2.DvTimings | None = None  # of an HDMI bridge: what is plugged in
        self.bridge = False
        self.edid = bytes(256)  # of a bridge; empty: it has none yet, and a source sends nothing
        self.shades = 0  # pictures so far: each is of another grey
        self.queue = VbQueue(v4l2.CAPTURE_MPLANE if mplane else v4l2.CAPTURE, least=2)
        self._set, self._interval, self._sequence = v4l2.DvTimings(), Fraction(1, 30), 0
        self._events: deque[int] = deque()
        self._encoder: Any = None
        self.format = Picture(640, 480, next(iter(formats)))
        self._calls: dict[int, Callable[[Any], None]] = {
            v4l2.QUERYCAP: self._query_capability,
            v4l2.ENUM_FMT: self._enumerate,
            v4l2.ENUM_FRAMESIZES: self._sizes,
            v4l2.ENUM_FRAMEINTERVALS: self._intervals,
            v4l2.S_FMT: self._set_format,
            v4l2.G_FMT: self._tell_format,
            v4l2.S_PARM: self._set_rate,
            v4l2.SUBSCRIBE_EVENT: lambda asked: None,
            v4l2.DQEVENT: self._event,
            v4l2.QUERY_DV_TIMINGS: self._query_timings,
            v4l2.G_DV_TIMINGS: lambda found: _copy(self._set, found),
            v4l2.S_DV_TIMINGS: self._set_timings,
            v4l2.G_EDID: self._get_edid,
            v4l2.S_EDID: self._set_edid,
            v4l2.REQBUFS: self._request,
            v4l2.QUERYBUF: lambda buffer: self.queue.query(buffer),
            v4l2.EXPBUF: lambda asked: self.queue.export(asked),
            v4l2.QBUF: lambda buffer: self.queue.queue(buffer) and None,
            v4l2.DQBUF: self._dequeue,
            v4l2.STREAMON: self._start,
            v4l2.STREAMOFF: lambda kind: self.queue.stop(),
        }

    def open(self, path: Path) -> VideoNode:
        if self.gone:
            raise OSError(errno.ENOENT, "No such file or directory")
        return self

    def change(self, signal: v4l2.DvTimings | None) -> None:
        """Something else is plugged in, or nothing."""
        self.signal = signal
        self._events.append(v4l2.EVENT_SOURCE_CHANGE)

    def ioctl(self, request: int, argument: Any) -> None:
        if self.gone:
            raise refuse(errno.ENODEV, "unplugged")
        if request not in self._calls:
            raise refuse(errno.ENOTTY, hex(request))
        self.history.append(next(name for name, number in vars(v4l2).items() if number == request and name.isupper()))
        self._calls[request](argument)

    def mmap(self, length: int, offset: int) -> memoryview:
        found = self.queue.map(offset, length)
        if found is None:
            raise refuse(errno.EINVAL, "mmap of what is not there")
        return found

    def poll(self, timeout_s: float, events: int) -> int:
        if self.gone:
            return v4l2.POLLERR | v4l2.POLLHUP
        if self.broken or (not self.queue.streaming and events & v4l2.POLLIN):
            return v4l2.POLLERR
        if self.queue.streaming and self.queue.queued and not self.silent and self.signal_matches():
            self._film()
        ready = (v4l2.POLLPRI if self._events else 0) | (v4l2.POLLIN if self.queue.done else 0)
        if not ready & events:
            time.sleep(timeout_s)
        return ready & events

    def signal_matches(self) -> bool:
        """A bridge gives nothing while it is set to other timings than those that come in."""
        return not self.bridge or (self.signal is not None and bytes(self.signal) == bytes(self._set))

    def close(self) -> None:
        self.history.append("close")
        self.queue.free()

    def _film(self) -> None:
        self._sequence += self.lost
        self.lost = 0
        index, flags = self.queue.queued.popleft(), v4l2.BUF_TIMESTAMP_MONOTONIC if self.monotonic else 0
        if self.damaged:
            self.damaged, flags = self.damaged - 1, flags | v4l2.BUF_ERROR
        used = self._draw(self.queue.slots[index].data)
        if self.garbled:
            self.garbled, used = self.garbled - 1, 30
        self.queue.finish(index, used, flags, self._sequence, self.clock_ns() // 1000)
        self._sequence += 1

    def _draw(self, data: memoryview) -> int:
        picture = av.VideoFrame(self.format.width, self.format.height, "yuv420p")
        for plane, value in zip(picture.planes, (40 + self.shades % 180, 128, 128), strict=True):
            plane.update(bytes((value,)) * plane.buffer_size)
        self.shades += 1
        if self.format.pixel in RAW:
            return copy_in(picture, picture.width, picture.height, self.format, data)
        picture.pts = self.shades
        (packet,) = self._encoder.encode(picture.reformat(format="yuvj420p", dst_color_range=2) if self.format.pixel == "MJPG" else picture)
        data[: packet.size] = bytes(packet)
        return int(packet.size)

    def _query_capability(self, found: Any) -> None:
        found.driver, found.card = self.driver.encode(), self.card.encode()
        found.device_caps, found.capabilities = self.bits, self.bits | v4l2.CAP_DEVICE_CAPS

    def _enumerate(self, found: Any) -> None:
        names = list(self.formats)
        if found.index >= len(names) or found.type != self.queue.type:
            raise refuse(errno.EINVAL, "no more formats")
        found.pixelformat = v4l2.fourcc(names[found.index])

    def _sizes(self, found: Any) -> None:
        if self.bridge:
            raise refuse(errno.ENOTTY, "sizes of a bridge")
        sizes = list(self.formats.get(v4l2.fourcc_name(found.pixel_format), {}))
        if found.index >= len(sizes):
            raise refuse(errno.EINVAL, "no more sizes")
        found.type, (found.stepwise.min_width, found.stepwise.max_width) = v4l2.SIZE_DISCRETE, sizes[found.index]

    def _intervals(self, found: Any) -> None:
        known = self.formats.get(v4l2.fourcc_name(found.pixel_format), {}).get((found.width, found.height), [])
        if found.index >= len(known):
            raise refuse(errno.EINVAL, "no more intervals")
        found.type, found.stepwise.min = v4l2.SIZE_DISCRETE, v4l2.Fraction(*known[found.index].as_integer_ratio())

    def _set_format(self, asked: Any) -> None:
        if self.queue.slots:
            raise refuse(errno.EBUSY, "S_FMT while buffers are there")
        if self.busy:
            raise refuse(errno.EBUSY, "another program has it")
        pix = asked.fmt.pix_mp if self.queue.multiplanar else asked.fmt.pix
        pixel = v4l2.fourcc_name(pix.pixelformat)
        pixel = pixel if pixel in self.formats else next(iter(self.formats))
        if self.bridge:
            width, height = self._set.width, self._set.height
        else:
            width, height = min(self.formats[pixel], key=lambda size: abs(size[0] - pix.width) + abs(size[1] - pix.height))
        if pixel in RAW:
            stride = width * (2 if pixel in ("YUYV", "UYVY") else 1) + (64 if self.driver == "padded" else 0)
            size = sum(stride // across * -(-height // down) for across, down in RAW[pixel][1])
            self.format = Picture(width, height, pixel, stride, size)
        else:
            self.format = Picture(width, height, pixel, 0, width * height * 2)
        self.queue.size = self.format.size
        self._tell_format(asked)

    def _tell_format(self, asked: Any) -> None:
        now, many = self.format, self.queue.multiplanar
        pix = asked.fmt.pix_mp if many else asked.fmt.pix
        pix.width, pix.height, pix.pixelformat = now.width, now.height, v4l2.fourcc(now.pixel)
        plane = pix.plane_fmt[0] if many else pix
        plane.bytesperline, plane.sizeimage = now.stride, now.size

    def _set_rate(self, asked: Any) -> None:
        if self.bridge:
            raise refuse(errno.ENOTTY, "rate of a bridge")
        wanted = Fraction(asked.timeperframe.numerator, asked.timeperframe.denominator)
        known = self.formats[self.format.pixel][self.format.width, self.format.height]
        self._interval = min(known, key=lambda one: abs(one - wanted))
        asked.timeperframe = v4l2.Fraction(*self._interval.as_integer_ratio())

    def _query_timings(self, found: Any) -> None:
        if not self.bridge:
            raise refuse(errno.ENOTTY, "timings of a camera")
        if self.signal is None or not self.edid:
            raise refuse(errno.ENOLINK, "nothing is plugged in")
        _copy(self.signal, found)

    def _set_timings(self, asked: Any) -> None:
        if self.queue.slots:
            raise refuse(errno.EBUSY, "S_DV_TIMINGS while buffers are there")
        _copy(asked, self._set)

    def _get_edid(self, found: Any) -> None:
        if not self.edid:
            raise refuse(errno.ENODATA, "no EDID")
        found.blocks = len(self.edid) // 128

    def _set_edid(self, asked: Any) -> None:
        if asked.blocks > 2:
            raise refuse(errno.E2BIG, "blocks")
        self.edid = bytes(asked.edid[: asked.blocks * 128])

    def _event(self, found: Any) -> None:
        if not self._events:
            raise refuse(errno.ENOENT, "no event")
        found.type = self._events.popleft()

    def _request(self, asked: Any) -> None:
        if self.busy:
            raise refuse(errno.EBUSY, "another program has it")
        self.queue.request(asked)

    def _dequeue(self, buffer: Any) -> None:
        self.queue.dequeue(buffer)

    def _start(self, kind: Any) -> None:
        self.queue.start()
        self._sequence = 0
        if name := CODED.get(self.format.pixel):
            encoder: Any = av.CodecContext.create(name, "w")
            encoder.width, encoder.height, encoder.time_base = self.format.width, self.format.height, self._interval
            encoder.pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
            encoder.options = {} if name == "mjpeg" else {"preset": "ultrafast", "tune": "zerolatency", "g": "5"}
            encoder.open()
            self._encoder = encoder


def _copy(source: v4l2.DvTimings, to: v4l2.DvTimings) -> None:
    memoryview(to).cast("B")[:] = memoryview(source).cast("B")
