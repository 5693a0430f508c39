"""The V4L2 encoder against a stand-in with the kernel's rules and bcm2835-codec's habits (tests/hw/m2m.py)."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import av
import pytest

from hw import h264, v4l2
from hw.encoder import EncoderError
from hw.encoder.v4l2m2m import V4l2M2m, find_encoder, floor_bps
from hw.frame import AccessUnit, Frame
from hw.v4l2queue import Picture
from tests.hw.m2m import Codec
from tests.hw.m2mrules import check_rules

WIDTH, HEIGHT, FPS = 320, 240, 30


@pytest.fixture
def codec() -> Iterator[Codec]:
    codec = Codec()
    yield codec
    if "close" not in codec.history:
        codec.close()


def opened(codec: Codec, bitrate_bps: int = 1_000_000, gop_ms: int = 10_000, imports: Picture | None = None) -> V4l2M2m:
    return V4l2M2m(WIDTH, HEIGHT, FPS, bitrate_bps, gop_ms, path=Path("/dev/video11"), imports=imports, open_device=codec.open)


def frame(number: int) -> Frame:
    picture = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in picture.planes:
        plane.update(Random(number).randbytes(64) * (plane.buffer_size // 64))
    return Frame(number, picture, 10**15 + number * 10**9 // FPS)


def encoded(encoder: V4l2M2m, numbers: range) -> list[AccessUnit]:
    return [unit for number in numbers for unit in encoder.encode(frame(number))]


def pts(number: int) -> int:
    return frame(number).capture_ns * 9 // 100_000


def test_the_stand_in_refuses_what_the_kernel_refuses(codec: Codec) -> None:
    check_rules(codec, "H264")


def test_it_is_set_up_in_the_order_that_the_kernel_wants(codec: Codec) -> None:
    encoder = opened(codec)
    told = [call for call in codec.history if call in ("S_FMT", "S_PARM", "REQBUFS", "STREAMON")]
    assert told == ["S_FMT", "S_FMT", "S_PARM", "REQBUFS", "REQBUFS", "STREAMON", "STREAMON"]
    assert codec.rate == FPS
    assert codec.values[v4l2.CID_BITRATE_MODE] == v4l2.BITRATE_MODE_CBR
    assert codec.values[v4l2.CID_REPEAT_SEQ_HEADER] == 1
    assert codec.values[v4l2.CID_GOP_SIZE] == 300
    assert codec.values[v4l2.CID_H264_LEVEL] == v4l2.H264_LEVELS.index(20)
    encoder.close()
    assert codec.history[-5:] == ["STREAMOFF", "REQBUFS", "STREAMOFF", "REQBUFS", "close"]


def test_a_picture_that_the_device_skipped_shifts_no_other(codec: Codec) -> None:
    encoder = opened(codec)
    before = encoded(encoder, range(3))
    codec.skip = 2
    after = encoded(encoder, range(3, 8))
    assert [unit.pts_90k for unit in before + after] == [pts(number) for number in (0, 1, 2, 5, 6, 7)]
    assert encoder.skipped == 2
    assert encoder.held == 0
    encoder.close()


def test_a_device_that_holds_one_picture_back_gives_it_with_the_next(codec: Codec) -> None:
    codec.late = 1
    encoder = opened(codec)
    units = [encoder.encode(frame(number)) for number in range(4)]
    assert [[unit.pts_90k for unit in each] for each in units] == [[], [pts(0)], [pts(1)], [pts(2)]]
    assert encoder.held == 1
    assert [unit.pts_90k for unit in encoder.drain()] == [pts(3)]
    encoder.close()


def test_a_device_that_takes_pictures_and_gives_nothing_is_said_within_a_second_of_them(codec: Codec) -> None:
    encoder = opened(codec)
    encoded(encoder, range(2))
    codec.mute = True
    with pytest.raises(EncoderError, match=r"^encoder /dev/video11 took 31 pictures and gave nothing$"):
        encoded(encoder, range(2, 40))
    encoder.close()


def test_a_device_that_takes_nothing_is_said(codec: Codec) -> None:
    encoder = opened(codec)
    codec.deaf = True
    with pytest.raises(EncoderError, match=r"^encoder /dev/video11 takes no picture for 1 s$"):
        encoded(encoder, range(10))
    encoder.close()


def test_a_device_that_is_gone_is_said(codec: Codec) -> None:
    encoder = opened(codec)
    encoded(encoder, range(2))
    codec.gone = True
    with pytest.raises(EncoderError, match=r"^encoder /dev/video11 is gone$"):
        encoder.encode(frame(2))
    encoder.close()


def test_a_damaged_unit_is_left_out_and_a_key_frame_follows(codec: Codec) -> None:
    encoder = opened(codec)
    encoded(encoder, range(2))
    codec.damage = True
    assert encoded(encoder, range(2, 3)) == []
    (unit,) = encoded(encoder, range(3, 4))
    assert unit.key
    encoder.close()


def test_parameter_sets_are_put_in_where_the_driver_cannot_repeat_them(codec: Codec) -> None:
    codec.refuses = {v4l2.CID_REPEAT_SEQ_HEADER}
    encoder = opened(codec, gop_ms=100)
    units = encoded(encoder, range(7))
    assert [unit.key for unit in units] == [True, False, False] * 2 + [True]
    assert all({h264.SPS, h264.PPS} <= set(h264.nal_types(bytes(unit.packet))) for unit in units if unit.key)
    encoder.close()


def test_bitrates_are_in_the_steps_of_the_device_and_above_where_it_stalls(codec: Codec) -> None:
    encoder = opened(codec, bitrate_bps=2_010_000)
    encoder.bitrate_bps = 777_000
    assert encoder.bitrate_bps == codec.values[v4l2.CID_BITRATE] == 775_000
    encoder.bitrate_bps = 1
    assert encoder.floor_bps == floor_bps(WIDTH, HEIGHT, FPS)
    assert encoder.floor_bps - 25_000 < encoder.bitrate_bps
    assert encoder.bitrate_bps == codec.values[v4l2.CID_BITRATE]
    encoder.close()
    assert floor_bps(640, 360, 30) == 300_000
    assert 1_500_000 < floor_bps(1920, 1080, 30) < 1_600_000


def test_the_level_is_high_enough_for_the_highest_bitrate(codec: Codec) -> None:
    """At its own level of 4.0 that driver starts no stream of more than 25 Mb/s, and says so late."""
    encoder = V4l2M2m(1920, 1080, 60, 25_000_000, 1000, path=Path("/dev/video11"), open_device=codec.open)
    assert v4l2.H264_LEVELS[codec.values[v4l2.CID_H264_LEVEL]] == 42
    encoder.close()


def test_a_device_that_wants_whole_blocks_is_told_what_is_to_be_seen(codec: Codec) -> None:
    """1080 rows are 67.5 blocks; here 234."""
    codec.align = 16
    encoder = V4l2M2m(WIDTH, 234, FPS, 1_000_000, 1000, path=Path("/dev/video11"), open_device=codec.open)
    assert (codec.format.height, codec.crop) == (240, (WIDTH, 234))
    shown = frame(0).picture.reformat(WIDTH, 234)
    units = [unit for number in range(3) for unit in encoder.encode(Frame(number, shown, number * 10**9 // FPS))]
    encoder.close()
    decoder = av.CodecContext.create("h264", "r")
    (picture,) = decoder.decode(units[0].packet)
    assert (picture.width, picture.height) == (WIDTH, 234)
    for plane, wanted in zip(picture.planes, shown.planes, strict=True):
        differs = [
            abs(one - other) for one, other in zip(bytes(plane)[:: plane.line_size], bytes(wanted)[:: wanted.line_size], strict=False)
        ]
        assert sum(differs) / len(differs) < 20


def test_a_size_that_it_cannot_do_is_said(codec: Codec) -> None:
    with pytest.raises(EncoderError, match=r"^encoder /dev/video11 makes H264 of 1920 x 1080 YU12, not of 2560 x 1080 YU12$"):
        V4l2M2m(2560, 1080, 30, 1_000_000, 1000, path=Path("/dev/video11"), open_device=codec.open)
    assert codec.history[-1] == "close"


def test_a_machine_without_an_encoder_says_so(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/video0").touch()
    assert find_encoder("H264", tmp_path) is None
    with pytest.raises(EncoderError, match=r"^no device of this machine encodes H264"):
        V4l2M2m(WIDTH, HEIGHT, FPS, 1_000_000, 1000, root=tmp_path)


def test_the_encoder_is_found_by_what_it_can(tmp_path: Path, codec: Codec) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("video11", "video2"):
        (tmp_path / "dev" / name).touch()
    asked: list[str] = []

    def open_device(path: Path) -> Codec:
        asked.append(path.name)
        if path.name == "video2":
            raise PermissionError
        return codec

    assert find_encoder("H264", tmp_path, open_device) == tmp_path / "dev/video11"
    assert asked == ["video2", "video11"]
    assert find_encoder("FWHT", tmp_path, lambda path: codec) is None


def test_pictures_are_taken_where_another_device_left_them(codec: Codec) -> None:
    form = Picture(WIDTH, HEIGHT, "YUYV", WIDTH * 2, WIDTH * HEIGHT * 2)
    encoder = opened(codec, imports=form)
    fd = os.memfd_create("camera")
    os.ftruncate(fd, form.size)
    memory = memoryview(mmap.mmap(fd, 0))
    memory[:] = Random(1).randbytes(form.size)
    units = [unit for number in range(3) for unit in encoder.encode_lent(fd, form.size, form.size, frame(number).capture_ns)]
    assert [unit.pts_90k for unit in units] == [pts(0), pts(1), pts(2)]
    assert codec.format.pixel == "YUYV"
    encoder.close()
    os.close(fd)


def test_a_camera_whose_rows_do_not_suit_is_said(codec: Codec) -> None:
    with pytest.raises(EncoderError, match=r"wants rows of 704 bytes, and the camera's are 642$"):
        opened(codec, imports=Picture(WIDTH, HEIGHT, "YUYV", 642, 642 * HEIGHT))


def test_parameter_sets_that_cannot_be_read_go_on_as_they_are() -> None:
    good, bad = h264.SpsRate(FPS, 13), b"\0\0\0\1\x67\x64\0garbage\0\0\0\1\x65abc"
    assert good(bad) == bad
