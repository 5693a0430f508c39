"""H.264 by a device that takes pictures on one queue and gives the stream on another: V4L2 memory-to-memory, stateful.

    picture ──► OUTPUT queue ──►  the block  ──► CAPTURE queue ──► one access unit
                 (V4L2 names them as the driver sees them)

On a Raspberry Pi 4, CM4 and Zero 2 W that is bcm2835-codec. What it does not do itself is done here: access unit delimiters,
the right rate in the VUI, parameter sets where they are missing. Two things about it rule the rest. A picture for which its
rate control has no bits left is skipped without a word: it is taken, and nothing comes out. And each buffer carries a time
through the block, so a unit is matched to its picture by that time, never by counting.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

from hw import h264, v4l2
from hw.annexb import Whole
from hw.encoder import EncoderError
from hw.frame import AccessUnit, Frame, pts_90k
from hw.planes import RAW, copy_in
from hw.v4l2queue import Device, Picture, Queue, Taken, capabilities, control, pixel_formats, set_control, set_format

CLOCK = Fraction(1, 90_000)
INPUTS = ("YU12", "NV12", "NV21", "YUYV", "UYVY")  # the first that the device takes; pictures mostly are I420 already
PICTURES, UNITS = 4, 4  # buffers of either queue
STALL_S = 1.0
PATIENCE = 0.75  # of a picture's time: a unit that takes longer comes with the next one
IN_SOFTWARE = ("vicodec", "vim2m", "visl")

# bcm2835-codec at 640 x 360, 30 a second stops giving pictures somewhere below this; what is needed grows with the 3/4th power of pixels.
STALLS_BELOW_BPS, STALLS_AT = 300_000, 640 * 360 * 30


class V4l2M2m:
    """`path`: a device, or the first that can. `pixel`: what comes out. `imports`: pictures come as dmabufs of this format."""

    def __init__(
        self,
        width: int,
        height: int,
        fps: int,
        bitrate_bps: int,
        gop_ms: int,
        *,
        path: Path | None = None,
        pixel: str = "H264",
        imports: Picture | None = None,
        root: Path = Path("/"),
        open_device: Callable[[Path], Device] = v4l2.Device,
    ) -> None:
        path = path or find_encoder(pixel, root, open_device)
        if path is None:
            raise EncoderError(f"no device of this machine encodes {pixel}: none of /dev/video* takes pictures and gives it")
        self._where, self._fps, self._pixel = str(path), fps, pixel
        self._waiting: dict[int, int] = {}  # PTS of the pictures in the device, by the time on their buffer in microseconds
        self._unanswered = self.skipped = 0
        self._key_due, self._last_us = False, -1
        self._bitrate_bps = 0
        self._queues: list[Queue] = []
        try:
            self._device = open_device(path)
        except OSError as error:
            raise EncoderError(f"encoder {path} cannot be opened: {error.strerror}") from None
        try:
            self._set_up(width, height, bitrate_bps, max(1, gop_ms * fps // 1000), imports)
        except EncoderError:
            self.close()
            raise
        except OSError as error:
            self.close()
            rate = f"{width} x {height} at {fps} frames and {bitrate_bps} bits a second"
            raise EncoderError(f"encoder {path} does not take {rate}: {error.strerror}") from None

    @property
    def bitrate_bps(self) -> int:
        return self._bitrate_bps

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        """At or below what it was opened with, and not below `floor_bps`, where the device would stop giving pictures."""
        wanted = min(max(value, self.floor_bps), self.ceiling_bps)
        wanted -= (wanted - self._least_bps) % self._step_bps
        if wanted != self._bitrate_bps and self._rate_controlled:
            with self._telling():
                set_control(self._device, v4l2.CID_BITRATE, wanted)
        self._bitrate_bps = wanted

    @property
    def held(self) -> int:
        """Pictures that went in and did not come out: 0, or 1 in a device that works on one while it takes the next."""
        return len(self._waiting)

    def encode(self, frame: Frame, key: bool = False) -> list[AccessUnit]:
        """The unit of this picture; none where the device skipped it, and two where an earlier one was late."""
        with self._telling():
            index = self._free_buffer()
            used = copy_in(frame.picture, *self._size, self._format, self._pictures.maps[index])
            return self._through(index, frame.capture_ns, key, used=used)

    def encode_lent(self, fd: int, length: int, used: int, capture_ns: int, key: bool = False) -> list[AccessUnit]:
        """A picture where it lies, in another device's memory. When this returns, the device is done reading it."""
        with self._telling():
            index = self._free_buffer()
            units = self._through(index, capture_ns, key, used=used, fd=fd, length=length)
            self._wait_until(lambda: index in self._free, "keeps a picture")
            return units

    def drain(self) -> list[AccessUnit]:
        """What is in it still. Nothing can be encoded after that."""
        with self._telling():
            self._device.ioctl(v4l2.ENCODER_CMD, v4l2.EncoderCommand(cmd=v4l2.ENC_CMD_STOP))
            units, until_s = [], time.monotonic() + STALL_S
            while not self._ended and (left_s := until_s - time.monotonic()) > 0:
                self._device.poll(left_s, v4l2.POLLIN)
                units += self._units()
            return units

    def close(self) -> None:
        for queue in self._queues:
            queue.release()
        self._device.close()

    def _set_up(self, width: int, height: int, bitrate_bps: int, gop: int, imports: Picture | None) -> None:
        device = self._device
        able = capabilities(device)
        many = able.has(v4l2.CAP_VIDEO_M2M_MPLANE)
        memory = v4l2.MEMORY_DMABUF if imports else v4l2.MEMORY_MMAP
        self._pictures = Queue(device, v4l2.OUTPUT_MPLANE if many else v4l2.OUTPUT, memory)
        self._stream = Queue(device, v4l2.CAPTURE_MPLANE if many else v4l2.CAPTURE)
        self._queues = [self._pictures, self._stream]
        runs = "in the kernel, in software" if able.driver in IN_SOFTWARE else "hardware"
        self.name = f"{able.card or able.driver} {self._where}, {runs}"
        self._set_formats(width, height, imports)
        self._set_rate(self._fps)
        self._set_controls(width, height, bitrate_bps, gop, able.driver)
        self._pictures.request(PICTURES)
        for index in range(self._stream.request(UNITS)):
            self._stream.put(index)
        self._free, self._ended = list(range(self._pictures.count)), False
        self._pictures.start()
        self._stream.start()

    def _set_formats(self, width: int, height: int, imports: Picture | None) -> None:
        """The coded one first: an encoder takes the pictures' from it otherwise (the kernel's interface of stateful encoders)."""
        room = max(512 << 10, width * height)  # a key picture of a whole level's worth
        coded = set_format(self._device, self._stream.type, Picture(width, height, self._pixel, size=room))
        taken = {v4l2.fourcc_name(one.pixelformat) for one in pixel_formats(self._device, self._pictures.type)}
        pixel = imports.pixel if imports else next((one for one in INPUTS if one in taken), INPUTS[0])
        wanted = imports or Picture(width, height, pixel)
        self._format = set_format(self._device, self._pictures.type, Picture(width, height, pixel, wanted.stride))
        got = self._format
        fits = got.width >= width and got.height >= height and (not imports or got.height == imports.height)
        if coded.pixel != self._pixel or got.pixel != pixel or pixel not in RAW or not fits:
            raise EncoderError(
                f"encoder {self._where} makes {coded.pixel} of {got.width} x {got.height} {got.pixel}, not of {width} x {height} {pixel}"
            )
        self._size = width, height
        if (got.width, got.height) != self._size:  # made full to whole blocks: what is to be seen of it is said
            self._device.ioctl(v4l2.S_SELECTION, v4l2.Selection(type=self._pictures.type, width=width, height=height))
        if imports and got.stride != imports.stride:
            raise EncoderError(f"encoder {self._where} wants rows of {got.stride} bytes, and the camera's are {imports.stride}")

    def _set_rate(self, fps: int) -> None:
        asked = v4l2.StreamParm(type=self._pictures.type, timeperframe=v4l2.Fraction(1, fps))
        with suppress(OSError):  # not every driver asks for it; those that need it take it
            self._device.ioctl(v4l2.S_PARM, asked)

    def _set_controls(self, width: int, height: int, bitrate_bps: int, gop: int, driver: str) -> None:
        found = control(self._device, v4l2.CID_BITRATE)
        self._rate_controlled = found is not None
        self._least_bps: int = found.minimum if found else 0
        self._step_bps: int = max(1, found.step) if found else 1
        self.ceiling_bps = min(bitrate_bps, found.maximum) if found else bitrate_bps
        floor = floor_bps(width, height, self._fps) if driver == "bcm2835-codec" else self._least_bps
        self.floor_bps = min(max(floor, self._least_bps), self.ceiling_bps)
        level = h264.level_for(width, height, self._fps, self.ceiling_bps)
        for number, value in (
            (v4l2.CID_FRAME_RC_ENABLE, 1),
            (v4l2.CID_BITRATE_MODE, v4l2.BITRATE_MODE_CBR),
            (v4l2.CID_B_FRAMES, 0),
            (v4l2.CID_GOP_SIZE, gop),
            (v4l2.CID_H264_I_PERIOD, gop),
            (v4l2.CID_HEADER_MODE, v4l2.HEADER_MODE_JOINED),
            (v4l2.CID_REPEAT_SEQ_HEADER, 1),
            (v4l2.CID_PREPEND_SPSPPS_TO_IDR, 1),
            (v4l2.CID_H264_PROFILE, v4l2.H264_PROFILE_HIGH),
            (v4l2.CID_H264_LEVEL, v4l2.H264_LEVELS.index(level)),
        ):
            if control(self._device, number):
                with suppress(OSError):  # one that has it, but not this value, keeps its own
                    set_control(self._device, number, value)
        self._whole, self._with_rate = Whole(), h264.SpsRate(self._fps, level)
        self.bitrate_bps = self.ceiling_bps

    def _through(self, index: int, capture_ns: int, key: bool, *, used: int, fd: int = -1, length: int = 0) -> list[AccessUnit]:
        if key or self._key_due:
            with suppress(OSError):
                set_control(self._device, v4l2.CID_FORCE_KEY_FRAME, 1)
            self._key_due = False
        self._last_us = capture_us = max(capture_ns // 1000, self._last_us + 1)
        self._pictures.put(index, used, capture_us, fd, length)
        self._free.remove(index)
        self._waiting[capture_us] = pts_90k(capture_ns)
        units = self._units_by(time.monotonic() + PATIENCE / self._fps, capture_us)
        self._unanswered = 0 if units else self._unanswered + 1
        if self._unanswered > self._fps * STALL_S:
            raise EncoderError(f"encoder {self._where} took {self._unanswered} pictures and gave nothing")
        return units

    def _units_by(self, until_s: float, capture_us: int) -> list[AccessUnit]:
        units = self._units()
        while capture_us in self._waiting and (left_s := until_s - time.monotonic()) > 0:
            if self._device.poll(left_s, v4l2.POLLIN) & v4l2.POLLERR:
                capabilities(self._device)  # says ENODEV where it is gone
                raise EncoderError(f"encoder {self._where} broke off")
            units += self._units()
        return units

    def _units(self) -> list[AccessUnit]:
        return [unit for taken, data in self._taken() if (unit := self._unit(taken, data))]

    def _taken(self) -> Iterator[tuple[Taken, bytes]]:
        """What is there of the stream now. Each buffer is the driver's again at once."""
        try:
            while not self._ended and (taken := self._stream.take()):
                data = bytes(self._stream.maps[taken.index][: taken.used])
                self._ended = bool(taken.flags & v4l2.BUF_LAST)
                self._stream.put(taken.index)
                yield taken, data
        except BrokenPipeError:
            self._ended = True

    def _unit(self, taken: Taken, data: bytes) -> AccessUnit | None:
        pts = self._pts(taken.capture_us)
        if self._pixel != "H264":
            return _unit(data, pts, bool(taken.flags & v4l2.BUF_KEYFRAME)) if data and pts is not None else None
        whole, key = self._whole(data)
        if not data or pts is None or taken.flags & v4l2.BUF_ERROR or not h264.has_picture(data):
            self._key_due = self._key_due or bool(data)  # parameter sets without their picture: that one was skipped
            return None
        return _unit(self._with_rate(whole) if key else whole, pts, key)

    def _pts(self, capture_us: int) -> int | None:
        """And forget the pictures before that one: units come in order, so those were skipped."""
        older = [one for one in self._waiting if one < capture_us]
        if capture_us in self._waiting:
            self.skipped += len(older)
            for one in older:
                del self._waiting[one]
        return self._waiting.pop(capture_us, None)

    def _free_buffer(self) -> int:
        self._wait_until(lambda: bool(self._free), "takes no picture")
        return self._free[0]

    def _wait_until(self, happened: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + STALL_S
        while True:
            while taken := self._pictures.take():
                self._free.append(taken.index)
            left_s = until_s - time.monotonic()
            if happened():
                return
            if left_s <= 0:
                raise EncoderError(f"encoder {self._where} {what} for {STALL_S:g} s")
            if self._device.poll(left_s, v4l2.POLLOUT) & v4l2.POLLERR:
                capabilities(self._device)
                raise EncoderError(f"encoder {self._where} broke off")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Whatever the kernel says becomes a sentence about this device."""
        try:
            yield
        except OSError as error:
            why = "is gone" if error.errno in (errno.ENODEV, errno.EIO) else f"does not do as it is told: {error.strerror or error}"
            raise EncoderError(f"encoder {self._where} {why}") from None


def _unit(data: bytes, pts: int, key: bool) -> AccessUnit:
    import av

    packet = av.Packet(data)
    packet.pts = packet.dts = pts
    packet.time_base, packet.is_keyframe = CLOCK, key
    return AccessUnit(packet, pts, key)


def floor_bps(width: int, height: int, fps: int) -> int:
    """Below it bcm2835-codec leaves out pictures, as many as it takes until its bits suffice."""
    return int(STALLS_BELOW_BPS * (width * height * fps / STALLS_AT) ** 0.75)


def find_encoder(pixel: str = "H264", root: Path = Path("/"), open_device: Callable[[Path], Device] = v4l2.Device) -> Path | None:
    """The first node that takes pictures and gives that format."""
    for path in sorted((root / "dev").glob("video*"), key=lambda path: (len(path.name), path.name)):
        with suppress(OSError):
            device = open_device(path)
            try:
                if _encodes(device, pixel):
                    return path
            finally:
                device.close()
    return None


def _encodes(device: Device, pixel: str) -> bool:
    able = capabilities(device)
    many = able.has(v4l2.CAP_VIDEO_M2M_MPLANE)
    if not many and not able.has(v4l2.CAP_VIDEO_M2M):
        return False
    gives = pixel_formats(device, v4l2.CAPTURE_MPLANE if many else v4l2.CAPTURE)
    takes = pixel_formats(device, v4l2.OUTPUT_MPLANE if many else v4l2.OUTPUT)
    return v4l2.fourcc(pixel) in [one.pixelformat for one in gives] and any(v4l2.fourcc_name(one.pixelformat) in RAW for one in takes)
