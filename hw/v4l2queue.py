"""What cameras and encoders over V4L2 have in common: what a device can do, and its queues of buffers, single- and multi-planar."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from hw import v4l2
from hw.v4l2 import Argument

MULTIPLANAR = (v4l2.CAPTURE_MPLANE, v4l2.OUTPUT_MPLANE)
NOT_HERE = (errno.EINVAL, errno.ENOTTY, errno.ENODATA)


class Device(Protocol):
    """What `hw.v4l2.Device` is, and what stands in for it."""

    def ioctl(self, request: int, argument: Argument) -> None: ...
    def mmap(self, length: int, offset: int) -> memoryview: ...
    def poll(self, timeout_s: float, events: int) -> int: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    driver: str
    card: str
    bits: int

    def has(self, bit: int) -> bool:
        return bool(self.bits & bit)


def capabilities(device: Device) -> Capabilities:
    found = v4l2.Capability()
    device.ioctl(v4l2.QUERYCAP, found)
    bits = found.device_caps if found.capabilities & v4l2.CAP_DEVICE_CAPS else found.capabilities
    return Capabilities(found.driver.decode(errors="replace"), found.card.decode(errors="replace"), bits)


def pixel_formats(device: Device, buffer_type: int) -> Iterator[v4l2.FormatDescription]:
    index = 0
    while True:
        found = v4l2.FormatDescription(index=index, type=buffer_type)
        try:
            device.ioctl(v4l2.ENUM_FMT, found)
        except OSError as error:
            if error.errno in NOT_HERE:
                return
            raise
        yield found
        index += 1


@dataclass(slots=True)
class Picture:
    """A format: what one asks for, and what the driver made of it. `stride` is that of the first plane."""

    width: int
    height: int
    pixel: str
    stride: int = 0
    size: int = 0
    full_range: bool = False


FULL_RANGE = 1  # V4L2_QUANTIZATION_FULL_RANGE


def set_format(device: Device, buffer_type: int, wanted: Picture) -> Picture:
    """Raises `OSError`, EBUSY while buffers are there. Drivers round what they cannot do, so look at what comes back."""
    asked = v4l2.Format(type=buffer_type)
    if buffer_type in MULTIPLANAR:
        many = asked.fmt.pix_mp
        many.num_planes, many.plane_fmt[0].sizeimage, many.plane_fmt[0].bytesperline = 1, wanted.size, wanted.stride
    else:
        asked.fmt.pix.sizeimage, asked.fmt.pix.bytesperline = wanted.size, wanted.stride
    pix = asked.fmt.pix_mp if buffer_type in MULTIPLANAR else asked.fmt.pix
    pix.width, pix.height, pix.pixelformat, pix.field = wanted.width, wanted.height, v4l2.fourcc(wanted.pixel), v4l2.FIELD_NONE
    device.ioctl(v4l2.S_FMT, asked)
    return _picture(asked)


def get_format(device: Device, buffer_type: int) -> Picture:
    found = v4l2.Format(type=buffer_type)
    device.ioctl(v4l2.G_FMT, found)
    return _picture(found)


def _picture(found: v4l2.Format) -> Picture:
    many = found.type in MULTIPLANAR
    pix = found.fmt.pix_mp if many else found.fmt.pix
    plane = pix.plane_fmt[0] if many else pix
    full = pix.quantization == FULL_RANGE
    return Picture(pix.width, pix.height, v4l2.fourcc_name(pix.pixelformat), plane.bytesperline, plane.sizeimage, full)


def control(device: Device, number: int) -> v4l2.QueryControl | None:
    """None where the device has no such control, or one that cannot be set."""
    found = v4l2.QueryControl(id=number)
    try:
        device.ioctl(v4l2.QUERYCTRL, found)
    except OSError as error:
        if error.errno in NOT_HERE:
            return None
        raise
    return None if found.flags & (v4l2.CTRL_DISABLED | v4l2.CTRL_READ_ONLY) else found


def set_control(device: Device, number: int, value: int) -> None:
    """As an extended control, for controls of codecs are nothing else; drivers without those get the plain call."""
    one = v4l2.ExtControl(id=number)
    one.u.value = value
    which = number & 0x0FFF0000
    many = v4l2.ExtControls(which=which, count=1, controls=ctypes.pointer(one))
    try:
        device.ioctl(v4l2.S_EXT_CTRLS, many)
    except OSError as error:
        if error.errno != errno.ENOTTY:
            raise
        device.ioctl(v4l2.S_CTRL, v4l2.Control(id=number, value=value))


def subscribe(device: Device, event: int) -> bool:
    """False where the device does not tell of such events."""
    try:
        device.ioctl(v4l2.SUBSCRIBE_EVENT, v4l2.EventSubscription(type=event))
    except OSError as error:
        if error.errno in NOT_HERE:
            return False
        raise
    return True


def events(device: Device) -> list[int]:
    """The types of those that wait."""
    found: list[int] = []
    with suppress(BlockingIOError, FileNotFoundError):  # ENOENT: none is left
        while True:
            event = v4l2.Event()
            device.ioctl(v4l2.DQEVENT, event)
            found.append(event.type)
    return found


@dataclass(slots=True)
class Taken:
    """A buffer that came back from the driver. `capture_us` is as the driver or the other queue set it."""

    index: int
    used: int
    sequence: int
    flags: int
    capture_us: int


@dataclass(slots=True)
class Queue:
    """One queue of buffers with one plane each."""

    device: Device
    type: int
    memory: int = v4l2.MEMORY_MMAP
    maps: list[memoryview] = field(default_factory=list)
    count: int = 0
    streaming: bool = False

    @property
    def multiplanar(self) -> bool:
        return self.type in MULTIPLANAR

    def request(self, count: int) -> int:
        """How many there are now; drivers may give others than were asked for. 0 frees them."""
        asked = v4l2.RequestBuffers(count=count, type=self.type, memory=self.memory)
        if count == 0:
            self.maps.clear()
        self.device.ioctl(v4l2.REQBUFS, asked)
        self.count = asked.count
        if self.memory == v4l2.MEMORY_MMAP:
            self.maps = [self._map(index) for index in range(self.count)]
        return self.count

    def put(self, index: int, used: int = 0, capture_us: int = 0, fd: int = -1, length: int = 0) -> None:
        """Give a buffer to the driver. `fd` and `length` are of the dmabuf, where the queue imports them."""
        buffer, plane = self._buffer(index)
        buffer.field = v4l2.FIELD_NONE
        buffer.timestamp.tv_sec, buffer.timestamp.tv_usec = divmod(capture_us, 1_000_000)
        holder = plane if self.multiplanar else buffer
        holder.bytesused = used
        if self.memory == v4l2.MEMORY_DMABUF:
            holder.m.fd, holder.length = fd, length
        self.device.ioctl(v4l2.QBUF, buffer)

    def take(self) -> Taken | None:
        """A buffer that the driver is done with; None when there is none yet. EPIPE: the last one was taken."""
        buffer, plane = self._buffer(0)
        try:
            self.device.ioctl(v4l2.DQBUF, buffer)
        except BlockingIOError:
            return None
        used = plane.bytesused if self.multiplanar else buffer.bytesused
        return Taken(buffer.index, used, buffer.sequence, buffer.flags, buffer.timestamp.tv_sec * 1_000_000 + buffer.timestamp.tv_usec)

    def export(self, index: int) -> int:
        """A file descriptor of the buffer's memory, for another device."""
        asked = v4l2.ExportBuffer(type=self.type, index=index, flags=os.O_CLOEXEC | os.O_RDWR)
        self.device.ioctl(v4l2.EXPBUF, asked)
        return int(asked.fd)

    def start(self) -> None:
        self.device.ioctl(v4l2.STREAMON, ctypes.c_int32(self.type))
        self.streaming = True

    def stop(self) -> None:
        """All buffers are ours again."""
        self.streaming = False
        self.device.ioctl(v4l2.STREAMOFF, ctypes.c_int32(self.type))

    def release(self) -> None:
        """Before the device is closed: a map would keep it open. Whatever the device says to that does not matter."""
        self.maps.clear()
        with suppress(OSError):
            self.stop()
            self.request(0)

    def _buffer(self, index: int) -> tuple[v4l2.Buffer, v4l2.Plane]:
        buffer, planes = v4l2.Buffer(index=index, type=self.type, memory=self.memory), (v4l2.Plane * v4l2.MAX_PLANES)()
        if self.multiplanar:
            buffer.m.planes, buffer.length = planes, 1
        return buffer, planes[0]

    def _map(self, index: int) -> memoryview:
        buffer, plane = self._buffer(index)
        self.device.ioctl(v4l2.QUERYBUF, buffer)
        if self.multiplanar:
            return self.device.mmap(plane.length, plane.m.mem_offset)
        return self.device.mmap(buffer.length, buffer.m.offset)
