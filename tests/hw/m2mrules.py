"""What the kernel refuses an encoder's program, asked of whatever device: of the stand-in here, and of a real driver in the guest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from hw import v4l2
from hw.v4l2queue import Device, Picture, Queue, capabilities, set_format

WIDTH, HEIGHT = 640, 360


def refuses(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        call()


def check_rules(device: Device, pixel: str) -> None:
    many = capabilities(device).has(v4l2.CAP_VIDEO_M2M_MPLANE)
    pictures = Queue(device, v4l2.OUTPUT_MPLANE if many else v4l2.OUTPUT)
    stream = Queue(device, v4l2.CAPTURE_MPLANE if many else v4l2.CAPTURE)
    set_format(device, stream.type, Picture(WIDTH, HEIGHT, pixel, size=1 << 20))
    form = set_format(device, pictures.type, Picture(WIDTH, HEIGHT, "YU12"))
    _before_streaming(device, pictures, stream, form)
    pictures.start()
    stream.start()
    pictures.start()  # once more does no harm
    refuses(errno.EBUSY, lambda: pictures.request(4))
    assert stream.take() is None
    for number in range(6):
        index = number % pictures.count
        pictures.put(index, form.size, 1_000_000 + number)
        assert device.poll(20, v4l2.POLLIN) & v4l2.POLLIN
        unit = stream.take()
        assert unit
        assert (unit.capture_us, unit.sequence) == (1_000_000 + number, number)
        stream.put(unit.index)
        assert device.poll(20, v4l2.POLLOUT) & v4l2.POLLOUT
        taken = pictures.take()
        assert taken
        assert taken.index == index
    _drained(device, stream)
    for queue in (pictures, stream):
        queue.stop()
        queue.request(0)
    refuses(errno.EINVAL, pictures.start)


def _before_streaming(device: Device, pictures: Queue, stream: Queue, form: Picture) -> None:
    refuses(errno.EINVAL, pictures.start)  # no buffers
    refuses(errno.EINVAL, lambda: pictures.put(0, 1))
    assert pictures.request(2) >= 2
    assert stream.request(3) >= 3
    refuses(errno.EBUSY, lambda: set_format(device, pictures.type, Picture(WIDTH, HEIGHT, "NV12")))
    refuses(errno.EBUSY, lambda: set_format(device, stream.type, Picture(WIDTH, HEIGHT, "FWHT")))
    refuses(errno.EINVAL, pictures.take)
    refuses(errno.EINVAL, lambda: pictures.put(pictures.count, 1))
    refuses(errno.EINVAL, lambda: pictures.put(0, len(pictures.maps[0]) + 1))
    refuses(errno.EINVAL, lambda: pictures.export(pictures.count))
    refuses(errno.EINVAL, lambda: Queue(device, pictures.type, v4l2.MEMORY_DMABUF).put(0, 1))
    for index in range(stream.count):
        stream.put(index)
    refuses(errno.EINVAL, lambda: stream.put(0))  # the driver has it


def _drained(device: Device, stream: Queue) -> None:
    device.ioctl(v4l2.ENCODER_CMD, v4l2.EncoderCommand(cmd=v4l2.ENC_CMD_STOP))
    refuses(errno.EINVAL, lambda: device.ioctl(v4l2.ENCODER_CMD, v4l2.EncoderCommand(cmd=77)))
    assert device.poll(20, v4l2.POLLIN) & v4l2.POLLIN
    last = stream.take()
    assert last
    assert last.flags & v4l2.BUF_LAST
    refuses(errno.EPIPE, stream.take)
