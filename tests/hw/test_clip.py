from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest

from firmware.capture.mux import Mux
from hw.camera import CameraError, Wish, open_camera
from hw.camera.clip import Film, Fit, Track
from hw.camera.pattern import Pattern, read_counter
from hw.encoder.aac import Aac
from hw.encoder.x264 import X264
from hw.frame import SAMPLE_RATE_HZ, SOUND_LEAD_SAMPLES, samples_at

from ..clocks import Clock, no_waiting

FilmFile = Callable[[str], Path]


def loudest(samples: bytes) -> float:
    return max(map(abs, array("f", samples)), default=0.0)


@pytest.fixture
def clock() -> Iterator[Clock]:
    with no_waiting() as clock:
        yield clock


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One second of the pattern at 30 a second, so that its pictures say which they are; with sound and without."""
    camera, encoder, aac, mux = Pattern(640, 360, 30), X264(640, 360, 30, 3_000_000, 500, "ultrafast"), Aac(96_000), Mux()
    files = {kind: tmp_path_factory.mktemp("clips") / f"counted.{kind}" for kind in ("ts", "h264")}
    with no_waiting(), files["ts"].open("wb") as ts, files["h264"].open("wb") as h264:
        for _ in range(30):
            frame = camera.read()
            pictures = encoder.encode(frame)
            h264.write(b"".join(bytes(unit.packet) for unit in pictures))
            ts.write(mux.write(pictures, [unit for sound in frame.sound for unit in aac.encode(sound)]))
    return files


def counters(path: Path, times_s: list[float]) -> list[int]:
    film = Film(str(path))
    planes = [film.at(time_s).planes[0] for time_s in times_s]
    return [read_counter(memoryview(plane), plane.line_size) for plane in planes]


@pytest.mark.parametrize(("fps", "counts"), [(30, list(range(30))), (60, [n // 2 for n in range(60)]), (15, list(range(0, 30, 2)))])
def test_pictures_are_repeated_or_left_out_to_keep_the_rate_and_the_loop_has_no_jump(
    counted: dict[str, Path], fps: int, counts: list[int]
) -> None:
    assert counters(counted["ts"], [n / fps for n in range(3 * fps)]) == counts * 3


def test_a_bare_stream_without_times_plays_and_loops(counted: dict[str, Path]) -> None:
    rate = Film(str(counted["h264"])).rate
    assert counters(counted["h264"], [n / rate for n in range(90)]) == list(range(30)) * 3


def test_sound_is_in_time_with_the_picture_in_every_pass(counted: dict[str, Path]) -> None:
    film = Film(str(counted["ts"]))
    track = Track(str(counted["ts"]), film)
    left = b""
    for end in range(0, 4 * SAMPLE_RATE_HZ, 1600):
        film.reach((end + 1600) / SAMPLE_RATE_HZ)
        both = track.take(end + 1600)
        assert len(both[0]) == len(both[1]) == 1600 * 4
        left += both[0]
    second = SAMPLE_RATE_HZ * 4
    for at in range(0, 4 * second, second):
        assert loudest(left[at + 800 : at + second // 12]) > 0.4, "the beep, with the first picture"
        assert loudest(left[at + second // 8 : at + second * 7 // 8]) == pytest.approx(0.1, abs=0.03)


def test_a_film_plays_at_its_pace_and_loops(film: FilmFile, clock: Clock) -> None:
    camera = open_camera(f"clip:{film('bigbuckbunny.mp4')}", Wish(width=640, height=360, fps=60))
    frames = [camera.read() for _ in range(700)]
    camera.close()
    assert [frame.number for frame in frames] == list(range(700))
    start_ns = frames[0].capture_ns
    assert [frame.capture_ns - start_ns for frame in frames] == [n * 1_000_000_000 // 60 for n in range(700)]
    assert frames[0].sound[0].first == samples_at(start_ns)
    for before, frame in pairwise(frames):
        assert frame.sound[0].first == before.sound[0].first + len(before.sound[0].left) // 4
    assert all(max(loudest(frame.sound[0].left) for frame in frames[at : at + 100]) > 0.01 for at in range(0, 700, 100))
    assert clock.monotonic_ns() == pytest.approx(frames[-1].capture_ns, abs=1000)


def test_what_was_too_late_is_not_skipped_in_the_film(counted: dict[str, Path], clock: Clock) -> None:
    camera = open_camera(f"clip:{counted['ts']}", Wish(width=640, height=360, fps=30))
    camera.read()
    clock.jump(10)
    frame = camera.read()
    plane = frame.picture.planes[0]
    assert frame.number >= 300
    assert read_counter(memoryview(plane), plane.line_size) == 1
    assert len(frame.sound[0].left) == (SOUND_LEAD_SAMPLES + 1600) * 4
    assert frame.sound[0].first == samples_at(camera._clock.start_ns) + frame.number * 1600  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_two_passes_of_a_film_have_the_length_they_should(film: FilmFile, name: str) -> None:
    pictures = Film(str(film(name)))
    with av.open(str(film(name))) as container:
        count, rate = container.streams.video[0].frames, container.streams.video[0].average_rate
    pictures.reach(2 * count / float(rate))
    assert list(pictures.ends_s)[:2] == pytest.approx([count / float(rate), 2 * count / float(rate)], abs=1e-6)


def test_the_shape_is_kept_with_black_beside_it(film: FilmFile) -> None:
    source = Film(str(film("bikes.mp4"))).at(0)  # 640 x 272
    fitted = Fit(1280, 720)(source)
    plane = fitted.planes[0]
    pixels = bytes(plane)
    rows = [max(pixels[y * plane.line_size : y * plane.line_size + 1280]) for y in range(720)]
    assert (fitted.width, fitted.height) == (1280, 720)
    assert set(rows[:88]) == set(rows[-88:]) == {16}
    assert min(rows[90:630]) > 16
    assert Fit(640, 272)(source).width == 640


def test_a_file_without_sound_gives_silence(film: FilmFile) -> None:
    pictures = Film(str(film("bikes.mp4")))
    track = Track(str(film("bikes.mp4")), pictures)
    pictures.reach(1)
    assert track.take(SAMPLE_RATE_HZ) == (bytes(SAMPLE_RATE_HZ * 4),) * 2


def test_a_film_that_is_cut_off_plays_what_there_is(film: FilmFile, counted: dict[str, Path], tmp_path: Path) -> None:
    whole = counted["ts"].read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(whole[: len(whole) * 6 // 10 // 188 * 188 + 77])
    assert counters(cut, [n / 30 for n in range(16)]) == list(range(16))


def sound_alone(folder: Path) -> Path:
    path = folder / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", SAMPLE_RATE_HZ)
        block = av.AudioFrame(format="s16", layout="stereo", samples=1024)
        block.sample_rate = SAMPLE_RATE_HZ
        container.mux(stream.encode(block))
    return path


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot be read: No such file"), (b"", "cannot be read"), (b"hello " * 9999, "cannot be read"), ("folder", "cannot be read")],
)
def test_a_clip_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | str | None, why: str) -> None:
    path = tmp_path / "a film.mp4"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CameraError) as refusal:
        open_camera(f"clip:{path}", Wish(width=640, height=360, fps=30))
    assert str(refusal.value).startswith(f"camera `clip:{path}` {why}")
    assert "allowed are" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_clip_without_video_is_named(tmp_path: Path) -> None:
    path = sound_alone(tmp_path)
    with pytest.raises(CameraError, match="has no video"):
        open_camera(f"clip:{path}", Wish(width=640, height=360, fps=30))


def test_a_clip_of_which_no_picture_decodes_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.h264"
    broken.write_bytes(b"\0\0\0\1\x67" + os.urandom(3000))
    with pytest.raises(CameraError, match=str(broken)):
        open_camera(f"clip:{broken}", Wish(width=640, height=360, fps=30))
