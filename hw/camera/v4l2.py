"""Cameras that the kernel has as /dev/video*: USB cameras, HDMI bridges, capture cards.

A picture that is uncompressed is copied once, out of the driver's buffer. When the source changes (another size on an HDMI
input) the camera is set up anew and goes on. Whatever else ends it is a `CameraError` with a sentence.
"""

from __future__ import annotations

import ctypes
import errno
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hw import h264, v4l2
from hw.annexb import Whole
from hw.camera import CameraError
from hw.camera.edid import BLOCK, edid
from hw.camera.modes import KINDS, Mode, Pixel, choose, fraction, modes_of
from hw.frame import AccessUnit, Coded, Frame, pts_90k
from hw.planes import copied_out
from hw.v4l2queue import Capabilities, Device, Picture, Queue, capabilities, control, events, set_control, set_format, subscribe

if TYPE_CHECKING:
    from av import VideoFrame

T = TypeVar("T")

BUFFERS = 4
SILENCE_S = 2.0
LOOK_S = 1.0  # between two looks at what is plugged in: not every driver tells when that changes
SECOND_NS = 1_000_000_000
CLOCK = Fraction(1, 90_000)
NO_SIGNAL = (errno.ENOLINK, errno.ENOLCK, errno.ERANGE)
NO_TIMINGS = (errno.ENOTTY, errno.ENODATA, errno.EINVAL)
WHY = {
    errno.ENOENT: "is not there; is it plugged in?",
    errno.ENXIO: "is not there; is it plugged in?",
    errno.ENODEV: "was unplugged",
    errno.EIO: "was unplugged, or broke off",
    errno.EACCES: "may not be opened; whoever uses it must be in the group `video`",
    errno.EPERM: "may not be opened; whoever uses it must be in the group `video`",
    errno.EBUSY: "is in use by another program",
    errno.ENOSPC: "gets no bandwidth: too much else is on that USB bus",
    errno.ENOTTY: "is no video device",
}


@dataclass(frozen=True, slots=True)
class Lent:
    """The memory of the last picture, for a device that can read it there: good until the next read."""

    fd: int
    length: int
    used: int


class V4l2Camera:
    def __init__(
        self,
        path: str,
        width: int,
        height: int,
        fps: float,
        *,
        pixel: Pixel = "auto",
        root: Path = Path("/"),
        open_device: Callable[[Path], Device] = v4l2.Device,
        lend: bool = False,
    ) -> None:
        self._text, self._wish, self._lend = f"camera `v4l2:{path}`", (width, height, fps, pixel), lend
        self._base = self._sequence = self._bitrate_bps = 0
        self._last = -1
        self._shown = -1  # the buffer that is lent
        self._fds: list[int] = []
        self._has_timings = self._gone = False
        self._looked_s = 0.0
        self.name, self.fps = self._text, float(fps)
        self._device = self._asked(lambda: open_device(root / path.lstrip("/")))
        self._queue = Queue(self._device, v4l2.CAPTURE)
        try:
            self._asked(self._set_up)
        except CameraError:
            self.close()
            raise

    def read(self) -> Frame | Coded:
        return self._asked(self._read)

    def close(self) -> None:
        self._queue.release()
        self._give_up_fds()
        self._device.close()

    @property
    def format(self) -> Picture:
        """As the driver gives it now."""
        return self._format

    @property
    def lent(self) -> Lent | None:
        """Of the last picture, where it was asked for and the driver can."""
        if self._shown < 0 or not self._fds:
            return None
        return Lent(self._fds[self._shown], len(self._queue.maps[self._shown]), self._used)

    @property
    def bitrate_bps(self) -> int:
        return self._bitrate_bps

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        """Of a camera that encodes, where it can be told; otherwise it stays what it is."""
        if value == self._bitrate_bps or self._mode.pixel != "H264":
            return
        with suppress(OSError):
            if control(self._device, v4l2.CID_BITRATE):
                set_control(self._device, v4l2.CID_BITRATE, value)
                self._bitrate_bps = value

    def key_frame(self) -> None:
        """As soon as it can; a camera that cannot be told makes one by itself within its own GOP."""
        with suppress(OSError):
            set_control(self._device, v4l2.CID_FORCE_KEY_FRAME, 1)

    def _asked(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except CameraError:
            raise
        except OSError as error:
            why = WHY.get(error.errno or 0) or f"does not do as it is told: {error.strerror or error}"
            raise CameraError(f"{self._text} {why}") from None

    def _set_up(self) -> None:
        device = self._device
        able = capabilities(device)
        if able.has(v4l2.CAP_VIDEO_M2M | v4l2.CAP_VIDEO_M2M_MPLANE) or not able.has(v4l2.CAP_STREAMING):
            raise CameraError(f"{self._text} is no camera: it is {able.card}")
        if able.has(v4l2.CAP_VIDEO_CAPTURE_MPLANE):
            self._queue.type = v4l2.CAPTURE_MPLANE
        elif not able.has(v4l2.CAP_VIDEO_CAPTURE):
            raise CameraError(f"{self._text} gives no pictures: it is another node of {able.card}; `pressbox doctor` lists cameras")
        self._able = able
        subscribe(device, v4l2.EVENT_SOURCE_CHANGE)
        if not self._negotiate():
            raise CameraError(f"{self._text} has no signal: nothing is plugged in, or it is switched off")

    def _negotiate(self) -> bool:
        """False where the input has no signal. Buffers are free before, and streaming after it."""
        width, height, fps, pixel = self._wish
        try:
            source = self._timings()
        except OSError as error:
            if error.errno in NO_SIGNAL:
                self._introduce(fps)
                return False
            raise
        modes = list(modes_of(self._device, self._queue.type, width, height, fps, source))
        mode = choose(modes, width, height, fps, pixel)
        if mode is None:
            kinds = ", ".join(sorted({str(KINDS[one.pixel]) for one in modes})) or "nothing that can be used"
            raise CameraError(f"{self._text} gives no {pixel if pixel != 'auto' else 'picture'}; it has {kinds}")
        self._format = set_format(self._device, self._queue.type, Picture(mode.width, mode.height, mode.pixel))
        if self._format.pixel not in KINDS:
            raise CameraError(f"{self._text} gives {self._format.pixel}, which cannot be used")
        self._has_timings, self._gone, self._looked_s = source is not None, False, time.monotonic()
        interval = source or self._set_rate(mode.interval)
        self._mode = Mode(self._format.pixel, self._format.width, self._format.height, interval)
        self.fps, self.name = self._mode.fps, f"{kind_of(self._able, source is not None)} {self._able.card}, {self._mode}"
        self._stream()
        return True

    def _stream(self) -> None:
        queue = self._queue
        queue.request(BUFFERS)
        if self._lend:
            with suppress(OSError):  # a driver that cannot: its pictures are copied alone
                self._fds = [queue.export(index) for index in range(queue.count)]
        for index in range(queue.count):
            queue.put(index)
        self._base, self._sequence = self._last + 1, -1
        self._decoder = _mjpeg_decoder() if KINDS[self._mode.pixel] == "mjpeg" else None
        self._whole = Whole()
        queue.start()

    def _introduce(self, fps: float) -> None:
        """A bridge starts without an EDID, and until it has one a source sends nothing."""
        found = v4l2.Edid()
        with suppress(OSError):
            try:
                self._device.ioctl(v4l2.G_EDID, found)
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
            if found.blocks == 0:
                data = edid(fps)
                memory = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
                self._device.ioctl(v4l2.S_EDID, v4l2.Edid(blocks=len(data) // BLOCK, edid=memory))

    def _timings(self) -> Fraction | None:
        """The interval of what is plugged in, once the device is set to it; None where it is no such input."""
        found, set_now = v4l2.DvTimings(), v4l2.DvTimings()
        try:
            self._device.ioctl(v4l2.QUERY_DV_TIMINGS, found)
        except OSError as error:
            if error.errno in NO_TIMINGS:
                return None
            raise
        self._device.ioctl(v4l2.G_DV_TIMINGS, set_now)
        if bytes(found) != bytes(set_now):
            self._device.ioctl(v4l2.S_DV_TIMINGS, found)
        return 1 / Fraction(found.rate).limit_denominator(1001) if found.rate else None

    def _set_rate(self, interval: Fraction) -> Fraction:
        """What the driver makes of it; as wished where it does not say."""
        asked = v4l2.StreamParm(type=self._queue.type)
        asked.timeperframe = v4l2.Fraction(interval.numerator, interval.denominator)
        try:
            self._device.ioctl(v4l2.S_PARM, asked)
        except OSError as error:
            if error.errno not in NO_TIMINGS:
                raise
            return interval
        return fraction(asked.timeperframe) or interval

    def _read(self) -> Frame | Coded:
        self._give_back()
        until_s = time.monotonic() + SILENCE_S
        if self._has_changed():
            self._restart()
        while (left_s := until_s - time.monotonic()) > 0:
            # Without buffers a poll for pictures would say POLLERR at once, again and again.
            ready = self._device.poll(left_s, v4l2.POLLPRI | (v4l2.POLLIN if self._queue.streaming else 0))
            if ready & v4l2.POLLPRI and v4l2.EVENT_SOURCE_CHANGE in events(self._device):
                self._restart()
            elif ready & v4l2.POLLIN:
                if frame := self._take():
                    return frame
            elif ready & (v4l2.POLLERR | v4l2.POLLHUP):
                capabilities(self._device)  # says ENODEV where it is gone
                raise CameraError(f"{self._text} broke off: {self._able.card} gives no more pictures")
        why = "gives no picture" if self._queue.streaming else "has no signal"
        raise CameraError(f"{self._text} {why} for {SILENCE_S:g} s: {self._able.card}")

    def _has_changed(self) -> bool:
        """Of an HDMI input, once a second; that there is nothing must be seen twice."""
        now_s = time.monotonic()
        if not self._has_timings or not self._queue.streaming or now_s - self._looked_s < LOOK_S:
            return False
        self._looked_s = now_s
        found, set_now = v4l2.DvTimings(), v4l2.DvTimings()
        self._device.ioctl(v4l2.G_DV_TIMINGS, set_now)
        try:
            self._device.ioctl(v4l2.QUERY_DV_TIMINGS, found)
        except OSError as error:
            if error.errno not in NO_SIGNAL:
                raise
            before, self._gone = self._gone, True
            return before
        self._gone = False
        return bytes(found) != bytes(set_now)

    def _restart(self) -> None:
        queue = self._queue
        if queue.streaming:
            queue.stop()
        self._give_up_fds()
        queue.request(0)
        self._negotiate()

    def _take(self) -> Frame | Coded | None:
        """None where it is damaged: its number is then missing."""
        taken = self._queue.take()
        if taken is None:
            return None
        whole = taken.used and not taken.flags & v4l2.BUF_ERROR
        self._used, self._shown = taken.used, taken.index
        picture = self._picture(taken.index, taken.used) if whole else None
        if not self._fds or picture is None:
            self._give_back()
        if picture is None:
            return None
        if taken.sequence <= self._sequence:  # it counts anew, or not at all
            self._base = self._last + 1 - taken.sequence
        self._sequence = taken.sequence
        self._last = self._base + taken.sequence
        capture_ns = _capture_ns(taken.flags, taken.capture_us)
        if isinstance(picture, bytes):
            return Coded(self._last, self._unit(picture, capture_ns), capture_ns)
        return Frame(self._last, picture, capture_ns)

    def _picture(self, index: int, used: int) -> VideoFrame | bytes | None:
        data = self._queue.maps[index][:used]
        if self._mode.pixel == "H264":
            coded = bytes(data)
            return coded if h264.has_picture(coded) else None
        return _decoded(self._decoder, data) if self._decoder else copied_out(self._format, data)

    def _unit(self, coded: bytes, capture_ns: int) -> AccessUnit:
        import av

        data, key = self._whole(coded)
        packet = av.Packet(data)
        packet.pts = packet.dts = pts_90k(capture_ns)
        packet.time_base, packet.is_keyframe = CLOCK, key
        return AccessUnit(packet, pts_90k(capture_ns), key)

    def _give_back(self) -> None:
        if self._shown >= 0 and self._queue.streaming:
            self._queue.put(self._shown)
        self._shown = -1

    def _give_up_fds(self) -> None:
        import os

        for fd in self._fds:
            os.close(fd)
        self._fds, self._shown = [], -1


def kind_of(able: Capabilities, has_timings: bool) -> str:
    if has_timings:
        return "HDMI input"
    return "USB camera" if able.driver == "uvcvideo" else "camera"


def _capture_ns(flags: int, capture_us: int) -> int:
    """The driver's time where it is of the monotonic clock and can be true, now where not."""
    now_ns, capture_ns = time.monotonic_ns(), capture_us * 1000
    monotonic = flags & v4l2.BUF_TIMESTAMP_MASK == v4l2.BUF_TIMESTAMP_MONOTONIC
    return capture_ns if monotonic and now_ns - SECOND_NS < capture_ns <= now_ns else now_ns


def _mjpeg_decoder() -> Any:
    import av

    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1  # more would each hold back a picture
    return decoder


def _decoded(decoder: Any, data: memoryview) -> VideoFrame | None:
    import av

    try:
        pictures = decoder.decode(av.Packet(data))
    except av.FFmpegError:
        return None
    return pictures[-1] if pictures else None
