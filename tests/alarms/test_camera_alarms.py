"""What alarms make of a camera's snapshots, and of the board's health."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware.alarms.board import read_alarms
from firmware.boxwatch import BoxStatus, BoxWatch
from firmware.places import Places
from firmware.status import CaptureStatus, read_snapshot, write_snapshot
from hw.encoder import INSTEAD
from tests.alarms.watching import Scene, end

WELL: dict[str, Any] = {"picture": "moving", "sound": "heard", "encoder_why": "the board has a block"}
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


@pytest.fixture
def scene(places: Places) -> Iterator[Scene]:
    made = Scene(places)
    yield made
    made.watcher.close()


def filmed(scene: Scene, seconds: int, leaves: str = "live", **capture: Any) -> set[str]:
    told = CaptureStatus(pid=7, at=scene.at, camera="c", encoder="x264", **(WELL | capture))
    write_snapshot(scene.places.capture_snapshot("studio"), told)
    scene.tick(seconds, sources=[end("camera", protocol="camera")], merge=None, account=None, picture=leaves)
    return set(scene.raised)


def test_a_camera_that_is_well_raises_nothing(scene: Scene) -> None:
    assert filmed(scene, 40) == set()


@pytest.mark.parametrize(
    ("capture", "leaves", "alarm"),
    [
        ({"message": "it is gone", "picture": "none"}, "slate", "camera-missing"),
        ({"picture": "black"}, "live", "picture-black"),
        ({"picture": "frozen"}, "live", "picture-frozen"),
        ({"sound": "silent"}, "live", "sound-silent"),
        ({"encoder_why": f"{INSTEAD} bcm2835-codec: it gives nothing"}, "live", "encoder-replaced"),
    ],
)
def test_what_is_wrong_raises_its_alarm_and_no_other_and_it_is_cleared(
    scene: Scene, capture: dict[str, Any], leaves: str, alarm: str
) -> None:
    filmed(scene, 20)
    assert filmed(scene, 8, leaves, **capture) == {alarm}
    assert filmed(scene, 40) == set()


def test_a_weak_supply_is_told_on_the_host_and_written_down(places: Places, tmp_path: Path) -> None:
    board = tmp_path / "board"
    told = board / THROTTLED
    told.parent.mkdir(parents=True)
    told.write_text("0\n")
    scene = Scene(places)
    scene.watcher._box = BoxWatch(places, board)
    scene.tick(30)
    told.write_text("1\n")  # under-voltage, now
    scene.tick(40)
    raised = {alarm.alarm for alarm in read_alarms(places).active if alarm.kind == "host"}
    assert "under-voltage" in raised
    box = read_snapshot(places.box, BoxStatus)
    assert box
    assert box.level >= 1, "less is asked of the board"
    assert next(finding.kind for finding in box.findings) == "under-voltage"
    scene.watcher.close()
