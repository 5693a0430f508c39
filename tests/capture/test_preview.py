from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction

import av
import msgspec
import pytest
from av.video.frame import VideoFrame

from firmware.capture.preview import Preview, jpeg_of
from firmware.places import Places


def key_picture(luma: int, width: int = 1280, height: int = 720) -> bytes:
    """One key picture in MPEG-TS, tables included, as a flow worker leaves it."""
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt, video.time_base = width, height, "yuv420p", Fraction(1, 25)
        frame = VideoFrame(width, height, "yuv420p")
        for plane, value in zip(frame.planes, (luma, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts = 0
        container.mux([*video.encode(frame), *video.encode(None)])
    return target.getvalue()


def picture_in(jpeg: bytes) -> VideoFrame:
    assert jpeg[:2] == b"\xff\xd8"
    with av.open(io.BytesIO(jpeg), format="jpeg_pipe") as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize(
    ("width", "height", "shown"), [(1920, 1080, (480, 270)), (1280, 720, (480, 270)), (720, 576, (480, 384)), (320, 180, (480, 270))]
)
def test_a_key_picture_becomes_a_small_jpeg(width: int, height: int, shown: tuple[int, int]) -> None:
    picture = picture_in(jpeg_of(key_picture(180, width, height)))
    assert (picture.width, picture.height) == shown
    assert abs(bytes(picture.planes[0])[100] - (180 - 16) * 255 / 219) < 6  # JPEG counts black as 0, video as 16


@pytest.mark.parametrize(
    "data", [b"", b"garbage" * 100, b"\x47" * 1880, key_picture(90)[: 3 * 188]], ids=["empty", "garbage", "sync bytes", "tables only"]
)
def test_bad_data_is_skipped_and_counted(places: Places, data: bytes) -> None:
    preview = Preview(places.run)
    places.key_picture("show").write_bytes(data)
    preview.look()
    assert (preview.made, preview.skipped) == (0, 1)
    assert not places.preview("show").exists()


def test_only_what_changed_is_decoded(places: Places) -> None:
    preview = Preview(places.run)
    places.key_picture("a").write_bytes(key_picture(50))
    places.key_picture("b").write_bytes(key_picture(50))
    preview.look()
    preview.look()
    assert preview.made == 2
    places.key_picture("b").write_bytes(key_picture(200))
    preview.look()
    assert preview.made == 3
    assert picture_in(places.preview("b").read_bytes()).planes[0].buffer_size


def test_the_process_follows_the_folder_and_ends_with_its_parent(places: Places, wait_for: Callable[..., bool]) -> None:
    places.key_picture("bad").write_bytes(b"garbage")
    places.key_picture("show").write_bytes(key_picture(100))
    with subprocess.Popen([sys.executable, "-m", "firmware.capture.preview"], stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(msgspec.json.encode({"run": str(places.run)}) + b"\n")
        process.stdin.flush()
        try:
            wait_for(places.preview("show").exists, 10, "a preview")
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 15
        finally:
            process.stdin.close()
        assert process.wait(5) == 0
