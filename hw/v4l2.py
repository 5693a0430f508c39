"""The kernel's Video4Linux2 interface, as <linux/videodev2.h> has it on 64-bit machines: structs, ioctl numbers, one `Device`.

Devices are opened non-blocking: DQBUF says `BlockingIOError` at once, and who wants to wait waits in `Device.poll`, with an end.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
from ctypes import Array, Structure, Union, c_char, c_int32, c_int64, c_long, c_uint8, c_uint32, c_uint64, c_ulong, c_void_p
from pathlib import Path
from typing import Any

CAPTURE, OUTPUT, CAPTURE_MPLANE, OUTPUT_MPLANE = 1, 2, 9, 10  # enum v4l2_buf_type
MEMORY_MMAP, MEMORY_DMABUF = 1, 4
FIELD_ANY, FIELD_NONE = 0, 1
MAX_PLANES = 8

CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE = 0x1, 0x1000
CAP_VIDEO_M2M_MPLANE, CAP_VIDEO_M2M, CAP_STREAMING, CAP_DEVICE_CAPS = 0x4000, 0x8000, 0x04000000, 0x80000000
CAP_TIMEPERFRAME = 0x1000
FMT_COMPRESSED, FMT_EMULATED = 0x1, 0x2

BUF_ERROR, BUF_KEYFRAME, BUF_LAST = 0x40, 0x8, 0x00100000
BUF_TIMESTAMP_MASK, BUF_TIMESTAMP_MONOTONIC = 0xE000, 0x2000

SIZE_DISCRETE, SIZE_CONTINUOUS, SIZE_STEPWISE = 1, 2, 3  # of frame sizes and of frame intervals

EVENT_EOS, EVENT_SOURCE_CHANGE = 2, 5
ENC_CMD_START, ENC_CMD_STOP = 0, 1
CTRL_CLASS_CODEC = 0x00990000
CTRL_READ_ONLY, CTRL_DISABLED = 0x4, 0x1

_CODEC = CTRL_CLASS_CODEC | 0x900
CID_B_FRAMES, CID_GOP_SIZE, CID_BITRATE_MODE, CID_BITRATE = _CODEC + 202, _CODEC + 203, _CODEC + 206, _CODEC + 207
CID_HEADER_MODE, CID_REPEAT_SEQ_HEADER, CID_FORCE_KEY_FRAME = _CODEC + 216, _CODEC + 226, _CODEC + 229
CID_FRAME_RC_ENABLE, CID_PREPEND_SPSPPS_TO_IDR, CID_AU_DELIMITER = _CODEC + 215, _CODEC + 644, _CODEC + 231
CID_H264_I_PERIOD, CID_H264_LEVEL, CID_H264_PROFILE = _CODEC + 358, _CODEC + 359, _CODEC + 363
BITRATE_MODE_CBR, HEADER_MODE_JOINED = 1, 1
H264_PROFILE_HIGH = 4
H264_LEVELS = (10, 9, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52, 60, 61, 62)  # level_idc by menu index; 9 is 1b

POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP = select.POLLIN, select.POLLPRI, select.POLLOUT, select.POLLERR, select.POLLHUP


def fourcc(code: str) -> int:
    return int.from_bytes(code.encode(), "little")


def fourcc_name(number: int) -> str:
    return (number & 0x7FFFFFFF).to_bytes(4, "little").decode("latin1").rstrip() + ("-BE" if number >> 31 else "")


class Capability(Structure):
    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FormatDescription(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class Fraction(Structure):
    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class SizeSteps(Structure):
    """Of frame sizes; a discrete size is in `min_width` and `max_width`."""

    _fields_ = tuple((name, c_uint32) for name in ("min_width", "max_width", "step_width", "min_height", "max_height", "step_height"))


class FrameSize(Structure):
    _fields_ = (("index", c_uint32), ("pixel_format", c_uint32), ("type", c_uint32), ("stepwise", SizeSteps), ("reserved", c_uint32 * 2))


class IntervalSteps(Structure):
    """Of frame intervals; a discrete interval is in `min`."""

    _fields_ = (("min", Fraction), ("max", Fraction), ("step", Fraction))


class FrameInterval(Structure):
    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("stepwise", IntervalSteps),
        ("reserved", c_uint32 * 2),
    )


_PIX = ("width", "height", "pixelformat", "field", "bytesperline", "sizeimage", "colorspace", "priv", "flags", "ycbcr_enc", "quantization")


class Pix(Structure):
    _fields_ = tuple((name, c_uint32) for name in (*_PIX, "xfer_func"))


class PlaneFormat(Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("sizeimage", c_uint32), ("bytesperline", c_uint32), ("reserved", c_uint8 * 12))


class PixMplane(Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (
        *((name, c_uint32) for name in ("width", "height", "pixelformat", "field", "colorspace")),
        ("plane_fmt", PlaneFormat * MAX_PLANES),
        *((name, c_uint8) for name in ("num_planes", "flags", "ycbcr_enc", "quantization", "xfer_func")),
        ("reserved", c_uint8 * 7),
    )


class _Fmt(Union):
    _fields_ = (("pix", Pix), ("pix_mp", PixMplane), ("raw", c_uint64 * 25))


class Format(Structure):
    _fields_ = (("type", c_uint32), ("fmt", _Fmt))


class StreamParm(Structure):
    """`mode`: capturemode or outputmode. `buffers`: readbuffers or writebuffers."""

    _fields_ = (
        ("type", c_uint32),
        ("capability", c_uint32),
        ("mode", c_uint32),
        ("timeperframe", Fraction),
        ("extendedmode", c_uint32),
        ("buffers", c_uint32),
        ("reserved", c_uint32 * 44),
    )


class RequestBuffers(Structure):
    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class _PlaneMemory(Union):
    _fields_ = (("mem_offset", c_uint32), ("userptr", c_ulong), ("fd", c_int32))


class Plane(Structure):
    _fields_ = (("bytesused", c_uint32), ("length", c_uint32), ("m", _PlaneMemory), ("data_offset", c_uint32), ("reserved", c_uint32 * 11))


class _BufferMemory(Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_ulong), ("planes", ctypes.POINTER(Plane)), ("fd", c_int32))


class Timeval(Structure):
    _fields_ = (("tv_sec", c_long), ("tv_usec", c_long))


class Timecode(Structure):
    _fields_ = (("type", c_uint32), ("flags", c_uint32), ("fields", c_uint8 * 8))


class Buffer(Structure):
    _fields_ = (
        *((name, c_uint32) for name in ("index", "type", "bytesused", "flags", "field")),
        ("timestamp", Timeval),
        ("timecode", Timecode),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _BufferMemory),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )


class ExportBuffer(Structure):
    _fields_ = (*((name, c_uint32) for name in ("type", "index", "plane", "flags")), ("fd", c_int32), ("reserved", c_uint32 * 11))


class Control(Structure):
    _fields_ = (("id", c_uint32), ("value", c_int32))


class _ControlValue(Union):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("value", c_int32), ("value64", c_int64), ("ptr", c_void_p))


class ExtControl(Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("id", c_uint32), ("size", c_uint32), ("reserved2", c_uint32 * 1), ("u", _ControlValue))


class ExtControls(Structure):
    _fields_ = (
        ("which", c_uint32),
        ("count", c_uint32),
        ("error_idx", c_uint32),
        ("request_fd", c_int32),
        ("reserved", c_uint32 * 1),
        ("controls", ctypes.POINTER(ExtControl)),
    )


class QueryControl(Structure):
    _fields_ = (
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        *((name, c_int32) for name in ("minimum", "maximum", "step", "default_value")),
        ("flags", c_uint32),
        ("reserved", c_uint32 * 2),
    )


class EventSubscription(Structure):
    _fields_ = (("type", c_uint32), ("id", c_uint32), ("flags", c_uint32), ("reserved", c_uint32 * 5))


class Event(Structure):
    _fields_ = (
        ("type", c_uint32),
        ("u", c_uint64 * 8),
        ("pending", c_uint32),
        ("sequence", c_uint32),
        ("timestamp", Timeval),
        ("id", c_uint32),
        ("reserved", c_uint32 * 8),
    )


class EncoderCommand(Structure):
    _fields_ = (("cmd", c_uint32), ("flags", c_uint32), ("data", c_uint32 * 8))


class Selection(Structure):
    """`target` 0 is the crop: what of a padded picture is to be seen."""

    _fields_ = (
        *((name, c_uint32) for name in ("type", "target", "flags")),
        ("left", c_int32),
        ("top", c_int32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("reserved", c_uint32 * 9),
    )


class Edid(Structure):
    _fields_ = (
        *((name, c_uint32) for name in ("pad", "start_block", "blocks")),
        ("reserved", c_uint32 * 5),
        ("edid", ctypes.POINTER(c_uint8)),
    )


class DvTimings(Structure):
    """`type` 0 is BT.656/1120; the fields that follow are those of v4l2_bt_timings."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (
        *((name, c_uint32) for name in ("type", "width", "height", "interlaced", "polarities")),
        ("pixelclock", c_uint64),
        *((name, c_uint32) for name in ("hfrontporch", "hsync", "hbackporch", "vfrontporch", "vsync", "vbackporch")),
        *((name, c_uint32) for name in ("il_vfrontporch", "il_vsync", "il_vbackporch")),
        ("rest", c_uint8 * 68),
    )

    @property
    def rate(self) -> float:
        """Pictures a second."""
        width = self.width + self.hfrontporch + self.hsync + self.hbackporch
        height = self.height + self.vfrontporch + self.vsync + self.vbackporch
        height += self.il_vfrontporch + self.il_vsync + self.il_vbackporch if self.interlaced else 0
        return float(self.pixelclock / (width * height)) if width * height else 0.0


def _io(direction: int, number: int, kind: type[Any]) -> int:
    return direction << 30 | ctypes.sizeof(kind) << 16 | ord("V") << 8 | number


_R, _W, _RW = 2, 1, 3
QUERYCAP = _io(_R, 0, Capability)
ENUM_FMT = _io(_RW, 2, FormatDescription)
G_FMT, S_FMT, TRY_FMT = (_io(_RW, number, Format) for number in (4, 5, 64))
REQBUFS = _io(_RW, 8, RequestBuffers)
QUERYBUF, QBUF, DQBUF = (_io(_RW, number, Buffer) for number in (9, 15, 17))
EXPBUF = _io(_RW, 16, ExportBuffer)
STREAMON, STREAMOFF = (_io(_W, number, c_int32) for number in (18, 19))
G_PARM, S_PARM = (_io(_RW, number, StreamParm) for number in (21, 22))
G_CTRL, S_CTRL = (_io(_RW, number, Control) for number in (27, 28))
QUERYCTRL = _io(_RW, 36, QueryControl)
G_EXT_CTRLS, S_EXT_CTRLS = (_io(_RW, number, ExtControls) for number in (71, 72))
ENUM_FRAMESIZES = _io(_RW, 74, FrameSize)
ENUM_FRAMEINTERVALS = _io(_RW, 75, FrameInterval)
ENCODER_CMD = _io(_RW, 77, EncoderCommand)
S_DV_TIMINGS, G_DV_TIMINGS = (_io(_RW, number, DvTimings) for number in (87, 88))
G_EDID, S_EDID = (_io(_RW, number, Edid) for number in (40, 41))
G_SELECTION, S_SELECTION = (_io(_RW, number, Selection) for number in (94, 95))
QUERY_DV_TIMINGS = _io(_R, 99, DvTimings)
DQEVENT = _io(_R, 89, Event)
SUBSCRIBE_EVENT = _io(_W, 90, EventSubscription)

Argument = Structure | Array[Any] | c_int32


class Device:
    """One open device node. Every call raises `OSError` with the kernel's own number."""

    def __init__(self, path: Path) -> None:
        if ctypes.sizeof(c_void_p) != 8:
            raise OSError("V4L2 devices need a 64-bit system: the structs of a 32-bit one are others")
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()

    def ioctl(self, request: int, argument: Argument) -> None:
        """`argument` is read and written in place."""
        while True:
            try:
                fcntl.ioctl(self._fd, request, argument)
                return
            except InterruptedError:
                continue

    def mmap(self, length: int, offset: int) -> memoryview:
        """Mapped for as long as somebody holds it."""
        return memoryview(mmap.mmap(self._fd, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset))

    def poll(self, timeout_s: float, events: int) -> int:
        """The events that came, 0 if none did in that time. POLLERR and POLLHUP come unasked."""
        self._poll.register(self._fd, events)
        ready = self._poll.poll(max(0, int(timeout_s * 1000 + 0.999)))
        return ready[0][1] if ready else 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
