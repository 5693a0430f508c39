"""The rescue service: what media asks for is done, within bounds, and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.rescued import answer
from firmware.places import Places
from firmware.rescue import Need, Request, Rescue, what_was_done
from firmware.status import write_snapshot
from tests.boards import plant

NOW = 1_800_000_000.0


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    (tmp_path / "rescue").mkdir()
    return tmp_path / "rescue/past.json"


@pytest.fixture(autouse=True)
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that writes down what it is asked."""
    stand_in = tmp_path / "bin/systemctl"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\n[ "$1" = reboot ] || exit 9\necho "$2" >> {tmp_path}/asked\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    return tmp_path / "asked"


def ask(places: Places, need: Need, camera: str, at: float) -> None:
    write_snapshot(places.rescue, Request(need=need, camera=camera, at=at))


def test_what_media_asks_is_taken_up(places: Places, kept: Path, tmp_path: Path) -> None:
    root = plant("pc", tmp_path / "root")
    Rescue(places).ask("power-cycle", "v4l2:/dev/video0")
    assert b"power-cycle" in places.rescue.read_bytes()
    ask(places, "power-cycle", "v4l2:/dev/video0", NOW)
    (words,) = answer(places, kept, NOW, root)
    assert "was switched off" in words
    assert not places.rescue.exists()
    assert [event.text for event in what_was_done(places)] == [words]


def test_a_port_is_switched_once_a_minute(places: Places, kept: Path, tmp_path: Path) -> None:
    root = plant("container", tmp_path / "root")
    told = []
    for at in (0, 30, 61):
        ask(places, "power-cycle", "v4l2:/dev/video0", NOW + at)
        told += answer(places, kept, NOW + at, root)
    assert ["not there any more" in words for words in told] == [True, False, True]
    assert "a minute ago" in told[1]


def test_three_restarts_an_hour_and_no_more(places: Places, kept: Path, asked: Path) -> None:
    for minute in range(0, 60, 10):
        ask(places, "reboot", "csi:0", NOW + 60 * minute)
        answer(places, kept, NOW + 60 * minute)
    assert asked.read_text().splitlines() == ["--message=csi:0 gives no picture"] * 3
    assert "no restart, for there were 3 within the hour" in what_was_done(places)[-1].text
    ask(places, "reboot", "csi:0", NOW + 3700)
    answer(places, kept, NOW + 3700)
    assert len(asked.read_text().splitlines()) == 4


@pytest.mark.parametrize("rot", [b"", b"{", b'{"need":"format","camera":"csi:0","at":1}', b'{"need":"reboot"}', b"\xff" * 40_000])
def test_a_request_that_is_none_is_taken_away(rot: bytes, places: Places, kept: Path, asked: Path) -> None:
    places.rescue.write_bytes(rot)
    assert answer(places, kept, NOW) == []
    assert not places.rescue.exists()
    assert not asked.exists()


def test_what_was_asked_long_ago_or_will_be_is_not_done(places: Places, kept: Path, asked: Path) -> None:
    for at in (NOW - 100, NOW + 100):
        ask(places, "reboot", "csi:0", at)
        assert answer(places, kept, NOW) == []
    assert not asked.exists()


def test_no_request_is_nothing_to_do(places: Places, kept: Path) -> None:
    assert answer(places, kept, NOW) == []


def test_a_past_that_cannot_be_read_holds_nothing_back(places: Places, kept: Path, asked: Path) -> None:
    kept.write_text("rot")
    ask(places, "reboot", "csi:0", NOW)
    assert len(answer(places, kept, NOW)) == 1
    assert asked.exists()
