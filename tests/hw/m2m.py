"""A stand-in for bcm2835-codec: the kernel's rules of a stateful encoder, its controls and habits, and x264 for the bits.

Habits of that driver: parameter sets once unless told to repeat them, no delimiters, a picture for which there are no bits
is taken and nothing comes of it, a bitrate beyond the level is refused only at STREAMON, times are whole microseconds.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.frame import PictureType

from hw import h264, v4l2
from hw.planes import RAW, copied_out
from hw.v4l2queue import Picture
from tests.hw.vb2 import VbQueue, refuse

TAKES = ("YU12", "YV12", "NV12", "NV21", "RGB3", "BGR3", "YUYV", "UYVY")
CONTROLS = {  # least, most, step, default
    v4l2.CID_B_FRAMES: (0, 0, 1, 0),
    v4l2.CID_GOP_SIZE: (0, 0x7FFFFFFF, 1, 60),
    v4l2.CID_BITRATE_MODE: (0, 1, 1, 0),
    v4l2.CID_BITRATE: (25_000, 25_000_000, 25_000, 10_000_000),
    v4l2.CID_HEADER_MODE: (1, 1, 1, 1),
    v4l2.CID_REPEAT_SEQ_HEADER: (0, 1, 1, 0),
    v4l2.CID_FORCE_KEY_FRAME: (0, 0, 0, 0),
    v4l2.CID_H264_I_PERIOD: (0, 0x7FFFFFFF, 1, 60),
    v4l2.CID_H264_LEVEL: (0, 15, 1, 11),
    v4l2.CID_H264_PROFILE: (0, 4, 1, 4),
}
CLOCK = Fraction(1, 1_000_000)


class Codec:
    """Open it by `V4l2M2m(…, open_device=Codec().open)`. What a test may set: the fields that say so."""

    def __init__(self) -> None:
        self.history: list[str] = []
        self.values = {number: default for number, (_, _, _, default) in CONTROLS.items()}
        self.skip = 0  # so many pictures get no bits
        self.deaf = self.mute = self.gone = False  # takes nothing; gives nothing; is not there any more
        self.late = 0  # pictures that it keeps to itself
        self.damage = False  # the next unit
        self.refuses: set[int] = set()  # controls that this version has not
        self.pictures = VbQueue(v4l2.OUTPUT_MPLANE, least=1)
        self.stream = VbQueue(v4l2.CAPTURE_MPLANE, least=1)
        self.format = Picture(32, 32, "YU12", 32, 32 * 32 * 3 // 2)
        self.coded = Picture(32, 32, "H264", 0, 512 << 10)
        self.crop = (0, 0)
        self.align = 1  # of rows, as other encoders have it
        self.rate = Fraction(30)
        self._encoder: Any = None
        self._key = self._headed = self._draining = False
        self._ready: deque[tuple[bytes, bool, int]] = deque()
        self._sequence = 0
        self._calls: dict[int, Callable[[Any], None]] = {
            v4l2.QUERYCAP: self._query_capability,
            v4l2.ENUM_FMT: self._enumerate,
            v4l2.S_FMT: self._set_format,
            v4l2.G_FMT: self._get_format,
            v4l2.S_PARM: self._set_rate,
            v4l2.S_SELECTION: self._crop,
            v4l2.QUERYCTRL: self._query_control,
            v4l2.S_EXT_CTRLS: self._set_controls,
            v4l2.S_CTRL: self._set_control,
            v4l2.REQBUFS: lambda asked: self._queue(asked.type).request(asked),
            v4l2.QUERYBUF: lambda buffer: self._queue(buffer.type).query(buffer),
            v4l2.EXPBUF: lambda asked: self._queue(asked.type).export(asked),
            v4l2.QBUF: self._queue_buffer,
            v4l2.DQBUF: lambda buffer: self._queue(buffer.type).dequeue(buffer) and None,
            v4l2.STREAMON: self._start,
            v4l2.STREAMOFF: lambda kind: self._queue(kind.value).stop(),
            v4l2.ENCODER_CMD: self._command,
        }

    def open(self, path: Path) -> Codec:
        return self

    def ioctl(self, request: int, argument: Any) -> None:
        if self.gone:
            raise refuse(errno.ENODEV, "gone")
        if request not in self._calls:
            raise refuse(errno.ENOTTY, hex(request))
        self.history.append(next(name for name, number in vars(v4l2).items() if number == request and name.isupper()))
        self._calls[request](argument)

    def mmap(self, length: int, offset: int) -> memoryview:
        found = self.pictures.map(offset, length) or self.stream.map(offset, length)
        if found is None:
            raise refuse(errno.EINVAL, "mmap of what is not there")
        return found

    def poll(self, timeout_s: float, events: int) -> int:
        """What x264 gives is there when the picture was queued, so waiting is for nothing, and takes as long as was asked."""
        if self.gone:
            return v4l2.POLLERR | v4l2.POLLHUP
        if not any(queue.streaming and (queue.queued or queue.done) for queue in (self.pictures, self.stream)):
            return v4l2.POLLERR
        ready = (v4l2.POLLIN if self.stream.done else 0) | (v4l2.POLLOUT if self.pictures.done else 0)
        if not ready & events:
            time.sleep(timeout_s)
        return ready & events

    def close(self) -> None:
        self.history.append("close")
        self.pictures.free()
        self.stream.free()

    def _queue(self, kind: int) -> VbQueue:
        for queue in (self.pictures, self.stream):
            if queue.type == kind:
                return queue
        raise refuse(errno.EINVAL, f"buffer type {kind}")

    def _query_capability(self, found: Any) -> None:
        found.driver, found.card, found.bus_info = b"bcm2835-codec", b"bcm2835-codec-encode", b"platform:bcm2835-codec"
        found.device_caps = v4l2.CAP_VIDEO_M2M_MPLANE | v4l2.CAP_STREAMING
        found.capabilities = found.device_caps | v4l2.CAP_DEVICE_CAPS

    def _enumerate(self, found: Any) -> None:
        kinds = TAKES if self._queue(found.type).output else ("H264",)
        if found.index >= len(kinds):
            raise refuse(errno.EINVAL, "no more formats")
        found.pixelformat, found.flags = v4l2.fourcc(kinds[found.index]), 0 if self._queue(found.type).output else v4l2.FMT_COMPRESSED

    def _set_format(self, asked: Any) -> None:
        queue, pix = self._queue(asked.type), asked.fmt.pix_mp
        if queue.slots:
            raise refuse(errno.EBUSY, "S_FMT while buffers are there")
        width, height = min(max(pix.width, 32), 1920), min(max(pix.height, 32), 1920)
        if queue.output:
            pixel = v4l2.fourcc_name(pix.pixelformat)
            pixel = pixel if pixel in TAKES else "YU12"
            stride = max(pix.plane_fmt[0].bytesperline, width * (2 if pixel in ("YUYV", "UYVY") else 1))
            stride = -(-stride // 64) * 64
            height = -(-height // self.align) * self.align
            self.crop = (width, height)
            size = sum(stride // across * -(-height // down) for across, down in RAW[pixel][1])
            self.format = Picture(width, height, pixel, stride, size)
        else:
            self.coded = Picture(width, height, "H264", 0, max(pix.plane_fmt[0].sizeimage, 512 << 10))
        queue.size = (self.format if queue.output else self.coded).size
        self._get_format(asked)

    def _get_format(self, asked: Any) -> None:
        now, pix = self.format if self._queue(asked.type).output else self.coded, asked.fmt.pix_mp
        pix.width, pix.height, pix.pixelformat, pix.num_planes = now.width, now.height, v4l2.fourcc(now.pixel), 1
        pix.plane_fmt[0].bytesperline, pix.plane_fmt[0].sizeimage = now.stride, now.size

    def _crop(self, asked: Any) -> None:
        if asked.type != self.pictures.type or asked.target or asked.width > self.format.width or asked.height > self.format.height:
            raise refuse(errno.EINVAL, "S_SELECTION")
        self.crop = (asked.width, asked.height)

    def _set_rate(self, asked: Any) -> None:
        if asked.type != self.pictures.type or not asked.timeperframe.numerator or not asked.timeperframe.denominator:
            raise refuse(errno.EINVAL, "S_PARM")
        self.rate = Fraction(asked.timeperframe.denominator, asked.timeperframe.numerator)
        asked.capability = v4l2.CAP_TIMEPERFRAME

    def _query_control(self, found: Any) -> None:
        if found.id not in CONTROLS or found.id in self.refuses:
            raise refuse(errno.EINVAL, f"control {found.id:#x}")
        found.minimum, found.maximum, found.step, found.default_value = CONTROLS[found.id]

    def _set_controls(self, asked: Any) -> None:
        for index in range(asked.count):
            one = asked.controls[index]
            if one.id & 0x0FFF0000 != asked.which:
                raise refuse(errno.EINVAL, "control of another class")
            self._set(one.id, one.u.value)

    def _set_control(self, asked: Any) -> None:
        self._set(asked.id, asked.value)

    def _set(self, number: int, value: int) -> None:
        if number not in CONTROLS:
            raise refuse(errno.EINVAL, f"control {number:#x}")
        least, most, step, _ = CONTROLS[number]
        if number in (v4l2.CID_H264_LEVEL, v4l2.CID_H264_PROFILE, v4l2.CID_BITRATE_MODE, v4l2.CID_HEADER_MODE):
            if not least <= value <= most:
                raise refuse(errno.ERANGE, "menu")
        elif step:  # numbers are rounded and never refused
            value = min(max(least, least + (value - least + step // 2) // step * step), most)
        self.values[number] = value
        self._key = self._key or number == v4l2.CID_FORCE_KEY_FRAME
        if number == v4l2.CID_BITRATE and self._encoder:
            self._encoder.bit_rate = value

    def _start(self, kind: Any) -> None:
        queue = self._queue(kind.value)
        level = v4l2.H264_LEVELS[self.values[v4l2.CID_H264_LEVEL]]
        most_bps = next(kbps for number, _, _, kbps in h264.LEVELS if number >= level) * 1000 * h264.HIGH_TIMES
        if queue.output and self.values[v4l2.CID_BITRATE] > most_bps:
            raise refuse(errno.ESRCH, "bitrate beyond the level")
        queue.start()
        if queue.output:
            self._encoder = self._new_encoder(level)

    def _new_encoder(self, level: int) -> Any:
        """With a buffer as wide as the block's own: it is opened at what is set now, so that it may be told of less later."""
        encoder, bitrate = av.CodecContext.create("libx264", "w"), self.values[v4l2.CID_BITRATE]
        (encoder.width, encoder.height), encoder.pix_fmt = self.crop, "yuv420p"
        encoder.time_base, encoder.framerate, encoder.bit_rate = CLOCK, self.rate, bitrate
        encoder.gop_size, encoder.max_b_frames, encoder.thread_count = self.values[v4l2.CID_GOP_SIZE] or 1 << 20, 0, 1
        encoder.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "level": str(level),
            "maxrate": str(bitrate),
            "bufsize": str(bitrate // 8),
            "forced-idr": "1",
            "sc_threshold": "0",
        }
        encoder.open()
        return encoder

    def _queue_buffer(self, buffer: Any) -> None:
        queue = self._queue(buffer.type)
        slot = queue.queue(buffer)
        if queue.output and queue.streaming and not self.deaf:
            index = queue.queued.popleft()
            self._encode(slot.data, slot.time_us)
            queue.finish(index, 0, 0, self._sequence, slot.time_us)
        self._deliver()

    def _encode(self, data: memoryview, time_us: int) -> None:
        if self.skip:
            self.skip -= 1
            return
        picture = copied_out(self.format, data)
        assert picture is not None
        picture = cropped(picture.reformat(format="yuv420p"), *self.crop)
        picture.pts, picture.time_base = time_us, CLOCK
        picture.pict_type, self._key = PictureType.I if self._key else PictureType.NONE, False
        for packet in self._encoder.encode(picture):
            coded = bytes(packet)
            if packet.is_keyframe and self._headed and not self.values[v4l2.CID_REPEAT_SEQ_HEADER]:
                coded = coded[coded.index(b"\0\0\1\x65") :]
            self._headed = True
            self._ready.append((coded, packet.is_keyframe, packet.pts))

    def _deliver(self) -> None:
        while self.stream.streaming and self.stream.queued and not self.mute:
            if len(self._ready) > (0 if self._draining else self.late):
                coded, key, time_us = self._ready.popleft()
                flags, self.damage = (v4l2.BUF_KEYFRAME if key else 0) | (v4l2.BUF_ERROR if self.damage else 0), False
                index = self.stream.queued.popleft()
                self.stream.slots[index].data[: len(coded)] = coded
                self.stream.finish(index, len(coded), flags, self._sequence, time_us)
                self._sequence += 1
            elif self._draining:
                self._draining = False
                self.stream.finish(self.stream.queued.popleft(), 0, v4l2.BUF_LAST, self._sequence, 0)
            else:
                return

    def _command(self, command: Any) -> None:
        if command.cmd not in (v4l2.ENC_CMD_START, v4l2.ENC_CMD_STOP):
            raise refuse(errno.EINVAL, "encoder command")
        self._draining = command.cmd == v4l2.ENC_CMD_STOP
        self._deliver()


def cropped(picture: Any, width: int, height: int) -> Any:
    if (picture.width, picture.height) == (width, height):
        return picture
    found = av.VideoFrame(width, height, "yuv420p")
    for part, whole in zip(found.planes, picture.planes, strict=True):
        rows, source = memoryview(part).cast("B"), memoryview(whole).cast("B")
        for row in range(part.height):
            rows[row * part.line_size :][: part.width] = source[row * whole.line_size :][: part.width]
    return found
