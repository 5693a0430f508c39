"""`pressbox lights` and panel.toml: words, JSON, wishes, and what is refused with which words."""

from __future__ import annotations

import json

import pytest

from appliance.cli import main
from appliance.legend import legend_lines
from appliance.panelfile import EXAMPLE, LightSettings, PanelFileError, parse_panel, read_panel
from appliance.panelstatus import identifying, is_dark
from firmware.audit import Audit
from firmware.places import Places

from .paneling import alarmed, captured, live


@pytest.fixture(autouse=True)
def here(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESSBOX_STATE", str(places.state))
    monkeypatch.setenv("PRESSBOX_RUN", str(places.run))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["lights", *arguments]) == 0
    return capsys.readouterr().out


def test_what_they_would_show_in_words(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    live(places, b={"state": "connecting", "message": "timed out"})
    captured(places)
    alarmed(places, "output-down")
    lines = told(capsys).splitlines()
    assert lines[0] == "no panel runs, so no lamp is driven; they would show:"
    assert lines[1].startswith("SYS     winks, once in 3 seconds, amber: something wants to be seen")
    assert lines[5].startswith("ON AIR  flashes twice, quickly, then pauses, red: on air and at risk")
    assert "why: Alarm output-down, flow court-3." in lines
    assert "why: path-b: timed out." in lines


def test_as_json(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(told(capsys, "--json"))
    assert answer["driven"] is False
    assert answer["panel"]["lamps"]["sys"]["state"] == "box"
    assert answer["panel"]["faults"] == ["box"]


def test_a_wrong_panel_toml_is_told(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    (places.state / "panel.toml").write_text("[lamps.sys]\npin = 600\n")
    assert "problem: " in (text := told(capsys))
    assert "lamps.sys.pin: Expected `int` <= 511; allowed are the lines 0 to 511" in text


def test_wishes(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SYS flashes twice, blue, for 30 s; nobody drives the lamps now" in told(capsys, "--identify")
    assert identifying(places)
    assert told(capsys, "--dark", "on").startswith("the stage is dark")
    assert is_dark(places)
    assert "dark stage: the lamps are switched off" in told(capsys)
    assert told(capsys, "--dark", "off").startswith("the lamps are lit again")
    assert not is_dark(places)
    assert [(each.what, each.after) for each in Audit(places.audit).read()] == [("panel.dark", {"dark": on}) for on in (True, False)]


def test_the_legend(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--legend") == "\n".join(legend_lines()) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lamps = 3", "lamps: Expected `object`, got `int`; lamps are sys, in, a, b and on-air"),
        ("[lamps.tally]\npin = 3", "lamps are sys, in, a, b and on-air"),
        ("[lamps.sys]\npin = -1", "lamps.sys.pin: Expected `int` >= 0; allowed are the lines 0 to 511"),
        ("[lamps.in]\npin = 5\n[lamps.a]\npin = 'six'", "lamps.a.pin: Expected `int"),
        ("[lamps.sys]\ncolour = 3", "lamps.sys: Object contains unknown field `colour`; allowed here are pin, red, green, blue, led"),
        ("[lamps.sys]\npin = 4\n[button]\npin = 4", "button.pin: pin 4 is the pin of lamps.sys.pin already"),
        ("[button]\npin = 4\npull = 'left'", "button.pull: Invalid enum value 'left'; allowed are up and down"),
        ("[button]\npin = 4\nstart_stop = 1", "button.start_stop: Expected `bool`, got `int`; allowed are true and false"),
        ("[light]\nnight = '10pm'", "light.night: Expected `str` matching regex"),
        ("[light]\nnight = '10pm'", "write it like 22:00-06:00"),
        ("[light]\nbrightness = 0", "light.brightness: Expected `int` >= 1; allowed are 1 to 100"),
        ("pins = 'pigpio'", "pins: Invalid enum value 'pigpio'; allowed are auto, lgpio and mock"),
        ("chip = 64", "chip: Expected `int` <= 63; allowed are 0 to 63"),
        ("wings = 2", "Object contains unknown field `wings`; allowed here are lamps, button, pins, chip, flow, light"),
        ("[lamps.sys", "this is not TOML"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(PanelFileError) as caught:
        parse_panel(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith("panel.toml: ")


def test_without_a_file_there_is_no_pin(places: Places) -> None:
    assert not read_panel(places.state, places.run).on_pins
    (places.state / "panel.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PanelFileError, match="cannot be read: it is no text"):
        read_panel(places.state)


@pytest.mark.parametrize(
    ("now", "night", "level"),
    [("23:00", "22:00-06:00", 0.1), ("05:59", "22:00-06:00", 0.1), ("06:00", "22:00-06:00", 1.0), ("13:00", "12:00-14:00", 0.1)],
)
def test_the_night(now: str, night: str, level: float) -> None:
    from datetime import datetime

    assert LightSettings(night=night).level(datetime.fromisoformat(f"2026-05-01T{now}")) == level
    assert parse_panel(EXAMPLE).light.dark_keeps_on_air
