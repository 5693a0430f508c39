"""The page "What does my light mean?": served words, and the lamps drawn in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.legend import code_lines, held_lines, legend_lines
from appliance.lights import HELD, TABLE
from appliance.panelfile import EXAMPLE, parse_panel
from appliance.panelstatus import read_panel_status, set_dark
from appliance.web.lights import rhythms_css
from firmware.places import Places
from hw.rhythm import OFF, SOLID

from .browser import Browser
from .paneling import PANEL, captured, live
from .test_live_page import CONTRAST
from .test_web import HERE

Wait = Callable[..., object]
ROOT = Path(__file__).parents[2]


def words(client: FlaskClient, url: str = "/lights") -> str:
    html = client.get(url).get_data(as_text=True)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html)))


def test_it_says_what_would_be_shown_where_no_panel_runs(client: FlaskClient) -> None:
    text = words(client)
    assert "No panel runs on this box, so no lamp is lit." in text
    assert "The box's own program does not run as it should." in text
    assert "No flow of this box has a camera." in text


def test_every_line_of_the_table_is_there_with_its_drawing(client: FlaskClient) -> None:
    html, text = client.get("/lights").get_data(as_text=True), words(client)
    for lamp, entries in TABLE.items():
        for entry in entries.values():
            said = entry.words.replace("path A", "the path").replace("path B", "the path").replace("`", "")
            assert said[1:] in text, f"{entry.state} of {lamp}"
            assert f"rhythm-{entry.pattern.rhythm.name} " in html or f'rhythm-{entry.pattern.rhythm.name}"' in html
    for _, does in HELD.values():
        assert does in text


def test_the_drawings_play_the_rhythms_of_the_lamps() -> None:
    css = rhythms_css()
    for entries in TABLE.values():
        for entry in entries.values():
            one = entry.pattern.rhythm
            if one in (OFF, SOLID):
                assert f".rhythm-{one.name} .glow {{ opacity: {one.steps[0].level:g}; }}" in css
                continue
            assert f"animation: {one.name} {one.period_ms}ms " in css
            if not one.glides:
                frames = re.search(rf"@keyframes {one.name} {{ (.*) }}\n", css)
                assert frames
                assert frames[1].count("opacity") == len(one.steps)


def test_no_script_and_no_style_is_in_the_page(client: FlaskClient) -> None:
    """The content security policy would refuse them."""
    html = client.get("/lights").get_data(as_text=True)
    assert "style=" not in html
    assert "<style" not in html
    assert not re.search(r"<script(?![^>]* src=)", html)
    assert client.get("/lights.css").content_type == "text/css; charset=utf-8"


def test_a_box_is_identified_from_the_page_and_from_nowhere_else(client: FlaskClient) -> None:
    token = re.search(r'name="token" value="([0-9a-f]{64})"', client.get("/lights").text)
    assert token
    assert client.post("/lights/identify", data={}, headers=HERE).status_code == 403
    evil = {"Origin": "http://evil.example"}
    assert client.post("/lights/identify", data={"token": token[1]}, headers=evil).status_code == 403
    assert "This is the box that you asked for. It flashes" not in words(client)
    assert client.post("/lights/identify", data={"token": token[1]}, headers=HERE).status_code == 303
    assert "This is the box that you asked for. It flashes" in words(client)


@pytest.fixture
def panel(places: Places, wait_for: Wait) -> Iterator[None]:
    (places.state / "panel.toml").write_text(PANEL)
    environment = os.environ | {"PRESSBOX_STATE": str(places.state), "PRESSBOX_RUN": str(places.run)}
    with subprocess.Popen([sys.executable, "-m", "appliance.paneld"], env=environment, cwd=ROOT) as process:
        wait_for(lambda: read_panel_status(places), 20, "the panel")
        yield
        process.terminate()
        assert process.wait(10) == 0


def rhythm_of(browser: Browser, lamp: str) -> str:
    return str(browser.run(f"getComputedStyle(document.querySelector('#bulb-{lamp} .glow')).animationName"))


@pytest.mark.usefixtures("panel")
def test_the_page_follows_the_lamps(places: Places, web: str, browser: Browser, wait_for: Wait) -> None:
    def told(**how: object) -> bool:
        live(places, **how)  # type: ignore[arg-type]
        captured(places)
        return True

    browser.open(web + "lights", 390, 844)
    wait_for(lambda: told() and "far end confirms" in browser.text("#says-on-air"), 20, "on air")
    assert rhythm_of(browser, "on-air") == "none", "it is lit without a flash"
    down = {"state": "connecting", "confirmed": None}
    wait_for(lambda: told(b=down) and "at risk" in browser.text("#says-on-air"), 20, "at risk")
    assert rhythm_of(browser, "on-air") == "double"
    assert rhythm_of(browser, "b") == "fast"
    current = "[...document.querySelectorAll('.current')].map(row => row.dataset.lamp + ' ' + row.dataset.state)"
    wait_for(lambda: told(b=down) and "on-air at-risk" in browser.run(current), 10, "the line of the table")
    starts = "[...new Set(document.getAnimations().map(one => Math.round(one.startTime)))].length"
    wait_for(lambda: told(b=down) and browser.run(starts) == 1, 10, "all drawings to keep phase")
    set_dark(places, dark=True)
    wait_for(lambda: told(b=down) and "Dark stage" in browser.text("#driven"), 20, "the dark stage")
    assert rhythm_of(browser, "b") == "none"
    assert rhythm_of(browser, "on-air") == "double", "the tally stays"


def opened(browser: Browser, url: str, wait_for: Wait, width: int = 390, **features: str) -> None:
    browser.open("about:blank", width)
    browser._ask(
        "Emulation.setEmulatedMedia", features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
    )
    browser._ask("Page.navigate", url=url)
    wait_for(lambda: browser.run("document.readyState") == "complete" and browser.text("h1"), 20, "the page")


def test_nothing_sticks_out_and_every_text_can_be_read(web: str, browser: Browser, wait_for: Wait) -> None:
    for width, scheme in ((320, "dark"), (390, "light"), (1280, "dark")):
        opened(browser, web + "lights", wait_for, width, prefers_color_scheme=scheme)
        assert browser.run("document.documentElement.scrollWidth") <= width
        small = "[...document.querySelectorAll('button, .still label')].filter(e => e.getBoundingClientRect().height < 44).length"
        assert browser.run(small) == 0
        assert browser.run(CONTRAST) == []


def test_without_motion_nothing_moves_and_the_words_tell_the_rhythm(web: str, browser: Browser, wait_for: Wait) -> None:
    opened(browser, web + "lights", wait_for, prefers_reduced_motion="reduce")
    assert browser.run("document.getAnimations().length") == 0
    assert "flashes 10 times" in browser.text("#says-sys")
    opened(browser, web + "lights", wait_for, prefers_reduced_motion="no-preference")
    wait_for(lambda: browser.run("document.getAnimations().length") > 20, 10, "the drawings to move")
    browser.run("document.getElementById('still').click()")
    wait_for(lambda: browser.run("document.getAnimations().length") == 0, 10, "them to be held still")


def test_the_document_has_the_table_that_the_lamps_have() -> None:
    text = (ROOT / "docs/lights.md").read_text()
    for part in (legend_lines(), held_lines()):
        assert "\n".join(part) in text, "run `pressbox lights --legend` and put it there"
    assert EXAMPLE in text
    assert parse_panel(EXAMPLE).light.night == "22:00-06:00"
    assert len(code_lines()) == 9


def test_the_diagram_has_the_pins_of_the_example() -> None:
    drawn = (ROOT / "docs/wiring.svg").read_text()
    for line, _ in parse_panel(EXAMPLE).used():
        assert f">GPIO {line}<" in drawn
