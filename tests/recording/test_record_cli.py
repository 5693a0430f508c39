"""`pressbox flow record`, and what `pressbox status` says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.exits import USAGE
from tests.lab.programs import pressbox

FLOW = {"name": "show", "sources": [{"protocol": "camera", "name": "c"}], "outputs": []}


def shown(places: Any) -> Any:
    return json.loads(pressbox(places, "flow", "show", "show").stdout)["recording"]


def test_on_changed_and_off(places: Any) -> None:
    pressbox(places, "flow", "create", "-", stdin=json.dumps(FLOW))
    assert shown(places) is None
    assert pressbox(places, "flow", "record", "show", "--keep", "2T", "--leave", "800M", "--segment", "30").returncode == 0
    assert shown(places) == {"folder": "", "keep_mb": 2_000_000, "leave_mb": 800, "segment_s": 30}
    assert pressbox(places, "flow", "record", "show", "--off").returncode == 0
    assert shown(places) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep", "much"], "500M, 20G or 2T"),
        (["--keep", "1M"], "keep_mb"),
        (["--segment", "2"], "segment_s"),
        (["--folder", "x"], "folder"),
    ],
)
def test_what_cannot_be_is_named(places: Any, arguments: list[str], words: str) -> None:
    pressbox(places, "flow", "create", "-", stdin=json.dumps(FLOW))
    ended = pressbox(places, "flow", "record", "show", *arguments)
    assert ended.returncode == USAGE
    assert words in ended.stderr
    assert shown(places) is None
