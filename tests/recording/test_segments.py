"""Segments on a real disk: bounded, sorted by time, durable, and playable each by itself."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import av
import pytest

from firmware.capture.mux import Mux
from firmware.model import FlowError, parse_flow
from firmware.recording import MB, Recording
from firmware.recording.cuts import Cuts
from firmware.recording.segments import Segments
from hw.camera.pattern import Pattern
from hw.encoder.aac import Aac
from hw.encoder.x264 import X264
from hw.frame import Frame, Sound, samples_at

NOON = 1_795_000_000.0
FPS = 25


def filmed(pictures: int, gop_ms: int = 1000) -> list[bytes]:
    """Transport stream, one part a picture."""
    encoder, aac, mux, source = X264(320, 180, FPS, 300_000, gop_ms, "ultrafast"), Aac(64_000), Mux(), Pattern(320, 180, FPS)
    parts = []
    for number in range(pictures):
        at_ns = 10**12 + number * 1_000_000_000 // FPS
        source.draw(number, at_ns)
        tone = Sound(samples_at(at_ns), bytes(4 * 1920), bytes(4 * 1920))
        parts.append(mux.write(encoder.encode(Frame(number, source.picture, at_ns)), aac.encode(tone)))
    return parts


def pictures_in(path: Path) -> int:
    """Until its end, or to where it was cut off."""
    count = 0
    with av.open(str(path)) as container, suppress(av.FFmpegError):
        for _ in container.decode(video=0):
            count += 1
    return count


def segments_of(folder: Path, **settings: int) -> Segments:
    return Segments("show", folder, Recording(**settings))


def test_a_cut_is_where_a_key_picture_starts_and_the_rest_plays_alone(tmp_path: Path) -> None:
    cuts, parts = Cuts(), filmed(60)
    whole = b"".join(parts)
    assert cuts.find(b"".join(parts[:25])) is not None, "the first picture is one"
    at = cuts.find(b"".join(parts[25:]))
    assert at is not None
    path = tmp_path / "rest.ts"
    path.write_bytes(cuts.tables + b"".join(parts[25:])[at:])
    assert pictures_in(path) == 35
    (tmp_path / "whole.ts").write_bytes(whole)
    assert pictures_in(tmp_path / "whole.ts") == 60


def test_no_cut_without_a_key_picture() -> None:
    cuts, parts = Cuts(), filmed(20, gop_ms=10_000)
    assert cuts.find(parts[0]) is not None
    assert all(cuts.find(part) is None for part in parts[1:])


def test_names_sort_by_time_and_a_clock_that_was_set_back_overwrites_nothing(tmp_path: Path) -> None:
    segments = segments_of(tmp_path)
    for now in (NOON, NOON, NOON, NOON + 60):
        segments.begin(now)
        segments.write(b"G" * 188)
    segments.end()
    names = [path.name for path in segments.there()]
    assert len(names) == 4
    assert [_time(name) for name in names] == sorted(_time(name) for name in names)


def _time(name: str) -> str:
    return name.removeprefix("show-")[:15]


def test_the_oldest_go_first_and_never_another_flows_nor_the_one_that_is_written(tmp_path: Path) -> None:
    other = tmp_path / "other-20200101T000000Z.ts"
    other.write_bytes(bytes(90 * MB))
    segments = segments_of(tmp_path, keep_mb=50)
    for number in range(8):
        segments.begin(NOON + number)
        segments.write(bytes(9 * MB))
        segments.make_room()
    kept = segments.there()
    assert sum(path.stat().st_size for path in kept) <= 50 * MB
    assert len(kept) == 5
    assert segments.path in kept
    assert segments.removed == 3
    assert other.exists()
    segments.end()


def test_the_disk_keeps_free_what_it_shall(tmp_path: Path) -> None:
    free_mb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize // MB
    segments = segments_of(tmp_path, leave_mb=min(10_000_000, free_mb + 1000))
    (tmp_path / "show-20200101T000000Z.ts").write_bytes(b"old")
    segments.begin(NOON)
    assert [path.name for path in segments.there()] == [segments.path.name] if segments.path else False
    assert segments.is_cramped
    segments.end()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"folder": "here"}, "folder: write it from / on"),
        ({"keep_mb": 1}, "keep_mb"),
        ({"segment_s": 1}, "segment_s"),
        ({"until": 7}, "until"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(FlowError) as error:
        parse_flow({"name": "show", "sources": [{"protocol": "camera", "name": "c"}], "recording": settings})
    assert words in str(error.value)
