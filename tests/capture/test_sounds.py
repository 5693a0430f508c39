"""The sound of a flow is one line of samples that never goes back."""

from __future__ import annotations

import time
from itertools import pairwise

from firmware.capture.sounds import OLDEST_NS, PATIENCE_NS, Sounds
from firmware.model import Camera
from hw.frame import AccessUnit, Coded, Sound, samples_at

STEP_NS = 40_000_000
START_NS = 5_000_000_000


def with_sound(first: int, count: int, level: bytes = b"\0\0\x80?") -> Coded:
    return Coded(0, AccessUnit(None, 0), 0, [Sound(first, level * count, level * count)])  # type: ignore[arg-type]


PICTURE = Coded(0, AccessUnit(None, 0), 0)  # type: ignore[arg-type]


def is_one_line(sounds: list[Sound]) -> bool:
    return all(after.first >= before.first + len(before.left) // 4 for before, after in pairwise(sounds))


def test_a_camera_without_sound_gets_silence_without_a_gap() -> None:
    sounds = Sounds(Camera(name="c", camera="v4l2:/dev/video0"))
    got: list[Sound] = []
    for now_ns in range(START_NS, START_NS + 100 * STEP_NS, STEP_NS):
        got += sounds.take(PICTURE, now_ns)
    assert is_one_line(got)
    samples = sum(len(sound.left) // 4 for sound in got)
    assert samples == got[-1].first + len(got[-1].left) // 4 - got[0].first, "no gap"
    assert samples >= 48_000 * 3
    assert not any(any(sound.left) for sound in got)
    assert sounds.verdict == "none"


def test_its_own_sound_is_taken_and_silence_follows_when_it_ends() -> None:
    sounds = Sounds(Camera(name="c", camera="rtsp://cam/a"))
    got: list[Sound] = []
    ended_ns = START_NS + 50 * STEP_NS
    for now_ns in range(START_NS, ended_ns, STEP_NS):
        got += sounds.take(with_sound(samples_at(now_ns), 1920), now_ns)
    assert sounds.verdict == "heard"
    for now_ns in range(ended_ns, ended_ns + PATIENCE_NS + 50 * STEP_NS, STEP_NS):
        got += sounds.take(PICTURE, now_ns)
    assert is_one_line(got)
    assert sounds.verdict == "none"
    assert not any(got[-1].left)


def test_none_is_silence_whatever_the_camera_brings() -> None:
    sounds = Sounds(Camera(name="c", camera="rtsp://cam/a", sound="none"))
    got = [sounds.take(with_sound(samples_at(now_ns), 1920), now_ns) for now_ns in (START_NS, START_NS + STEP_NS)]
    assert not any(any(sound.left) for taken in got for sound in taken)


def test_sound_that_comes_twice_is_cut() -> None:
    sounds = Sounds(Camera(name="c", camera="rtsp://cam/a"))
    at = samples_at(START_NS)
    first = sounds.take(with_sound(at, 500), START_NS)[0]
    assert first.first == at
    assert sounds.take(with_sound(at + 200, 500), START_NS)[0].first == at + 500
    assert sounds.take(with_sound(at + 100, 500), START_NS) == []


def test_what_was_made_while_nobody_took_it_is_too_late() -> None:
    """The camera was away for four seconds, and a microphone goes on."""
    sounds = Sounds(Camera(name="c", camera="rtsp://cam/a"))
    sounds.take(with_sound(samples_at(START_NS), 1920), START_NS)
    now_ns = START_NS + 4_000_000_000
    late = sounds.take(with_sound(samples_at(START_NS) + 1920, 4 * 48_000), now_ns)
    assert late[0].first == samples_at(now_ns - OLDEST_NS)
    assert late[0].first + len(late[0].left) // 4 == samples_at(START_NS) + 1920 + 4 * 48_000


def test_a_pattern_brings_its_own() -> None:
    from hw.camera.pattern import Pattern

    camera, sounds = Pattern(640, 360, 30), Sounds(Camera(name="c"))
    got = [sound for _ in range(30) for sound in sounds.take(camera.read(), time.monotonic_ns())]
    assert is_one_line(got)
    assert sounds.verdict == "heard"
    assert len(sounds.levels_db) == 2
