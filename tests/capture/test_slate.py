from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from firmware.capture.slate import loop_pictures, loop_ticks, make_slate, slate_name
from firmware.model import Camera
from firmware.wire.health import Health
from firmware.wire.playout import Playout, Slate

from ..pictures import packets_of, pictures_of, sound_of


def camera(**settings: int) -> Camera:
    return Camera(**{"name": "cam", "width": 640, "height": 360, "gop_ms": 500, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("fps", range(5, 61))
def test_the_loop_holds_whole_pictures_and_whole_blocks_of_sound(fps: int) -> None:
    pictures, ticks = loop_pictures(fps), loop_ticks(fps)
    assert pictures * 90_000 == ticks * fps, "exact"
    assert ticks % 1920 == 0
    assert 90_000 <= ticks <= 8 * 90_000


@pytest.mark.parametrize("fps", [24, 25, 29, 30, 60])
def test_times_in_the_file_are_as_promised(fps: int) -> None:
    stream = make_slate("show", camera(fps=fps))
    pictures, sound = packets_of(stream, "video"), packets_of(stream, "audio")
    assert [packet.pts for packet in pictures] == [number * 90_000 // fps for number in range(loop_pictures(fps))]
    assert [packet.pts for packet in sound] == list(range(0, loop_ticks(fps), 1920))
    assert pictures[0].is_keyframe
    assert Slate(stream).duration_90k == pytest.approx(loop_ticks(fps), abs=1)


def test_it_decodes_and_shows_a_card_and_is_silent() -> None:
    stream = make_slate("show", camera())
    pictures = pictures_of(stream)
    assert len(pictures) == loop_pictures(30)
    assert {picture.size for picture in pictures} == {(640, 360)}
    for picture in pictures:
        assert max(picture.luma) > 200, "letters"
        assert sorted(picture.luma)[len(picture.luma) // 2] in range(30, 42), "on dark ground"
    assert max(map(abs, sound_of(stream)[1])) < 0.001


def test_it_loops() -> None:
    slate = Slate(make_slate("show", camera()))
    stream = b"".join(slate.stamped(unit, pass_ * loop_ticks(30)) for pass_ in range(3) for unit in slate.units)
    pictures = pictures_of(stream)
    assert len(pictures) == 3 * loop_pictures(30)
    assert {after.pts_90k - before.pts_90k for before, after in itertools.pairwise(pictures)} == {3000}
    times = [packet.pts for packet in packets_of(stream, "audio")]
    assert {after - before for before, after in itertools.pairwise(times)} == {1920}


def test_another_setting_is_another_slate() -> None:
    names = {
        slate_name("show", camera(**change)) for change in ({}, {"width": 642}, {"fps": 25}, {"video_bps": 1_000_000}, {"gop_ms": 750})
    }
    assert len(names | {slate_name("other", camera())}) == 6
    assert slate_name("show", camera()) == slate_name("show", camera())


def run(config: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "firmware.capture.slate"]
    return subprocess.run(command, input=json.dumps(config), capture_output=True, text=True, timeout=30, check=False)


def test_the_command_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / slate_name("show", camera())
    made = run({"flow": "show", "camera": msgspec.to_builtins(camera()), "slate": str(path)})
    assert (made.returncode, made.stderr) == (0, "")
    assert len(pictures_of(path.read_bytes())) == loop_pictures(30)
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    made = run({"flow": "show", "camera": msgspec.to_builtins(camera()), "slate": str(tmp_path / "none" / "a.ts")})
    assert made.returncode == 5
    assert made.stderr.startswith(f"slate {tmp_path}/none/a.ts cannot be made: ")
    assert made.stderr.count("\n") == 1


def test_a_configuration_that_is_none_is_refused() -> None:
    made = run({"flow": "show"})
    assert made.returncode == 2
    assert "missing required field `camera`" in made.stderr


def test_a_slate_that_plays_before_any_picture_is_a_stream_without_a_fault() -> None:
    camera = Camera(name="c", width=320, height=180, video_bps=300_000, preset="ultrafast")
    playout, health = Playout(camera.line_bps, Slate(make_slate("a", camera))), Health()
    start_ns = 10**12
    playout.begin(start_ns)
    for now_ns in range(start_ns, start_ns + 5 * 10**9, 5_000_000):
        health.push(playout.pop(now_ns), now_ns)
        health.tick(now_ns)
    assert playout.picture == "slate"
    assert not health.faults()
