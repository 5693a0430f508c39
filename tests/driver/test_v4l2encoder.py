"""hw/encoder/v4l2m2m.py on the kernel's vicodec driver. It makes FWHT and no H.264, so what this proves is the way through the kernel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import av
import pytest

from hw import v4l2
from hw.camera.v4l2 import V4l2Camera
from hw.encoder import EncoderError
from hw.encoder.v4l2m2m import V4l2M2m, find_encoder
from hw.frame import AccessUnit, Frame
from tests.conftest import WaitFor
from tests.driver.linux import Vivid, modprobe, remove_module
from tests.hw.m2mrules import HEIGHT, WIDTH, check_rules

FPS = 10  # the guest is slow
PIXEL = "FWHT"
MAGIC, I_FRAME = (0x4F4F4F4F, 0xFFFFFFFF), 1 << 10  # of a frame's header, V4L2_FWHT_FL_I_FRAME


@pytest.fixture(scope="module")
def node(wait_for: WaitFor) -> Iterator[Path]:
    modprobe("vicodec")
    yield wait_for(lambda: find_encoder(PIXEL), 60, "vicodec's encoder")
    remove_module("vicodec")


def frames(count: int) -> Iterator[Frame]:
    picture = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for number in range(count):
        for plane in picture.planes:
            plane.update(Random(number).randbytes(64) * (plane.buffer_size // 64))
        yield Frame(number, picture, 10**15 + number * 10**9 // FPS)


def is_whole(unit: AccessUnit) -> bool:
    one, two, _, width, height = struct.unpack_from(">5I", bytes(unit.packet))
    return ((one, two), width, height) == (MAGIC, WIDTH, HEIGHT)


def is_alone(unit: AccessUnit) -> bool:
    """By the header: this driver does not flag its key pictures."""
    (flags,) = struct.unpack_from(">I", bytes(unit.packet), 20)
    return bool(flags & I_FRAME)


def test_the_kernel_refuses_what_the_stand_in_refuses(node: Path) -> None:
    device = v4l2.Device(node)
    try:
        check_rules(device, PIXEL)
    finally:
        device.close()


def test_every_picture_comes_out_with_its_own_time(node: Path) -> None:
    with closing(V4l2M2m(WIDTH, HEIGHT, FPS, 2_000_000, 1000, path=node, pixel=PIXEL)) as encoder:
        assert encoder.name.endswith("in the kernel, in software")
        units = [unit for frame in frames(12) for unit in encoder.encode(frame)] + encoder.drain()
    assert [unit.pts_90k for unit in units] == [number * 90_000 // FPS + 90_000_000_000 for number in range(12)]
    assert all(map(is_whole, units))
    assert [number for number, unit in enumerate(units) if is_alone(unit)] == [0, FPS], "a group of pictures is as long as was asked"


def test_it_is_opened_again_and_again(node: Path) -> None:
    for _ in range(5):
        with closing(V4l2M2m(WIDTH, HEIGHT, FPS, 2_000_000, 1000, pixel=PIXEL)) as encoder:
            units = [unit for frame in frames(3) for unit in encoder.encode(frame)] + encoder.drain()
            assert len(units) == 3


def test_pictures_are_read_in_the_cameras_memory(node: Path, vivid: Vivid) -> None:
    vivid.ctl("-i", "0")
    with closing(V4l2Camera(vivid.path, WIDTH, HEIGHT, FPS, pixel="raw", lend=True)) as camera:
        imports = camera.format
        with closing(V4l2M2m(WIDTH, HEIGHT, FPS, 2_000_000, 1000, path=node, pixel=PIXEL, imports=imports)) as encoder:
            given, units = [], []
            for _ in range(10):
                frame, lent = camera.read(), camera.lent
                assert lent is not None
                given.append(frame.capture_ns * 9 // 100_000)
                units += encoder.encode_lent(lent.fd, lent.length, lent.used, frame.capture_ns)
            units += encoder.drain()
    assert [unit.pts_90k for unit in units] == given
    assert all(map(is_whole, units))


def test_what_it_cannot_make_is_said(node: Path) -> None:
    with pytest.raises(EncoderError, match=r"^no device of this machine encodes H264"):
        V4l2M2m(WIDTH, HEIGHT, FPS, 2_000_000, 1000)
    with pytest.raises(EncoderError, match=r"makes FWHT of .* not of"):
        V4l2M2m(WIDTH, HEIGHT, FPS, 2_000_000, 1000, path=node)
