"""The plots in a real browser, served by the real process, of figures that the real recorder wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from shutil import which

import pytest

from firmware.alarms.board import Alarm, Board, board_path
from firmware.places import Places
from firmware.status import write_snapshot

from .browser import Browser
from .recordings import Recording

Wait = Callable[..., object]
COMPLAINTS = """
window.complaints = [];
addEventListener("error", (event) => complaints.push(event.message));
addEventListener("unhandledrejection", (event) => complaints.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => complaints.push(`${event.violatedDirective} ${event.blockedURI}`));
console.error = console.warn = (...said) => complaints.push(said.join(" "));
"""
INK = """
(() => {  // how many dots of the colour of a line there are within some seconds
  const plot = plots.find((one) => one.name === NAME);
  const canvas = plot.canvas.querySelector("canvas");
  const { top, height } = plot.drawn.bbox;
  const [left, right] = [SINCE, UNTIL].map((at) => Math.round(plot.drawn.valToPos(at, "x", true)));
  const line = plot.section.querySelector(`[data-key="${KEY}"] .swatch line`);
  const wanted = getComputedStyle(line).stroke.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const { data } = canvas.getContext("2d").getImageData(left, top, Math.max(1, right - left), height);
  const near = (at) => data[at + 3] > 60 && wanted.every((part, place) => Math.abs(part - data[at + place]) < 40);
  return data.filter((_, at) => at % 4 === 0 && near(at)).length;
})()
"""
MARK = """
(() => {  // whether the line of an alarm stands there
  const { drawn } = plots.find((one) => one.name === "merge");
  const bad = getComputedStyle(document.documentElement).getPropertyValue("--bad").match(/[0-9a-f]{2}/g).map((part) => parseInt(part, 16));
  const { data } = drawn.ctx.getImageData(Math.round(drawn.valToPos(AT, "x", true)) - 1, drawn.bbox.top + 40, 3, 1);
  return [0, 4, 8].some((at) => bad.every((part, place) => Math.abs(part - data[at + place]) < 40));
})()
"""


def opened(browser: Browser, url: str, width: int = 1280, height: int = 900, scheme: str = "dark") -> None:
    browser._session = ""
    browser.open("about:blank", width, height)
    browser._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser._ask("Page.enable")
    browser._ask("Page.addScriptToEvaluateOnNewDocument", source=COMPLAINTS)
    browser._ask("Page.navigate", url=url)


def drawn(browser: Browser) -> bool:
    return bool(browser.run("typeof plots === 'object' && plots.length > 0 && plots.every((one) => one.drawn.status === 1)"))


def ink(browser: Browser, since: int, until: int, name: str = "source-rtt", key: str = "sources/path-a") -> int:
    told = f"const [NAME, KEY, SINCE, UNTIL] = {json.dumps([name, key, since, until])};"
    return int(browser.run(f"(() => {{ {told} return {INK.strip()} }})()"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all: each test opens a page of its own."""
    chromium = which("chromium") or which("chromium-browser") or which("google-chrome")
    if not chromium:
        pytest.skip("there is no browser; apt install chromium")
    with Browser(chromium) as started:
        yield started


@pytest.fixture
def recording(places: Places) -> Recording:
    return Recording(places)


def test_lines_are_drawn_a_gap_is_a_gap_and_following_goes_on(
    places: Places, web: str, browser: Browser, wait_for: Wait, recording: Recording
) -> None:
    now = int(time.time())
    recording.seconds(now - 200, 100)
    recording.seconds(now - 50, 50)
    opened(browser, f"{web}flows/studio/metrics")
    wait_for(lambda: drawn(browser), 20, "the plots")
    assert ink(browser, now - 190, now - 110) > 50
    assert ink(browser, now - 95, now - 55) == 0, "nothing was told, and nothing is drawn"
    assert ink(browser, now - 45, now - 10) > 20
    assert ink(browser, now - 45, now - 10, key="sources/path-b") > 20
    asked = "performance.getEntriesByType('resource').map((one) => one.name).filter((name) => name.includes('metrics.json'))"

    def followed() -> bool:
        recording.second(int(time.time()))
        until = int(browser.run("now.until"))
        return until > now + 5 and ink(browser, now + 1, until) > 0

    wait_for(followed, 30, "the next seconds")
    first, *others = browser.run(asked)
    assert "since=" not in first
    assert others
    assert all("since=" in url for url in others), "only what is new"
    assert browser.run("now.lines.get('source-rtt sources/path-a').values.length") <= 310
    assert browser.run("complaints") == []


def test_the_tables_follow_and_the_cursor_is_in_all_plots(
    places: Places, web: str, browser: Browser, wait_for: Wait, recording: Recording
) -> None:
    now = int(time.time())
    recording.seconds(now - 60, 61)
    opened(browser, f"{web}flows/studio/metrics")
    wait_for(lambda: drawn(browser), 20, "the plots")
    total = "[...document.querySelectorAll('#plot-source-repaired [data-key=\"flow\"] td')].at(-1).innerText"
    before = browser.run(total)
    wait_for(lambda: recording.second(int(time.time())) and browser.run(total) != before, 20, "the new total")
    box = browser.run("(({left, top, width}) => [left + width * 0.9, top + 50])(plots[0].drawn.over.getBoundingClientRect())")
    browser._ask("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    heads = "[...document.querySelectorAll('[data-last]')].map((head) => head.innerText)"
    wait_for(lambda: len(set(browser.run(heads))) == 1 and ":" in browser.run(heads)[0], 20, "the same moment in every table")
    assert browser.run("complaints") == []


def test_a_stretch_that_is_marked_is_looked_at_closer(
    places: Places, web: str, browser: Browser, wait_for: Wait, recording: Recording
) -> None:
    now = int(time.time())
    recording.seconds(now - 100, 101)
    opened(browser, f"{web}flows/studio/metrics?range=1h&output=out-1")
    wait_for(lambda: drawn(browser), 20, "the plots")
    left, right, top = browser.run(
        "(({left, top, width}) => [left + width * 0.5, left + width * 0.99, top + 40])(plots[0].drawn.over.getBoundingClientRect())"
    )
    for kind, x in (("mouseMoved", left), ("mousePressed", left), ("mouseMoved", right), ("mouseReleased", right)):
        browser._ask("Input.dispatchMouseEvent", type=kind, x=x, y=top, button="none" if kind == "mouseMoved" else "left", clickCount=1)
    wait_for(lambda: "until=" in browser.run("location.search") and drawn(browser), 20, "the stretch")
    assert "output=out-1" in browser.run("location.search")
    assert browser.run("now.period") == 2
    assert ink(browser, now - 90, now - 20) > 20


def test_fifty_outputs_together(places: Places, web: str, browser: Browser, wait_for: Wait) -> None:
    recording = Recording(places, outputs=50)
    now = int(time.time())
    recording.seconds(now - 30, 31)
    opened(browser, f"{web}flows/studio/metrics", 390, 800)
    wait_for(lambda: drawn(browser), 20, "the plots")
    assert browser.run("document.querySelectorAll('#plot-output-bitrate tbody tr').length") == 1
    assert ink(browser, now - 25, now - 5, "output-bitrate", "outputs") > 0
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_an_alarm_is_marked_and_said_at_once(places: Places, web: str, browser: Browser, wait_for: Wait, recording: Recording) -> None:
    now = int(time.time())
    recording.seconds(now - 100, 101)
    opened(browser, f"{web}flows/studio/metrics")
    wait_for(lambda: drawn(browser), 20, "the plots")
    browser.run("window.kept = true")
    here = {"flow": "studio", "kind": "flow", "state": "ALARM", "since": now - 50.0, "raised_at": now - 50.0, "severity": "critical"}
    alarm = Alarm(**here, id="1", alarm="no-source", reason="no source: 0 of 2", advice="Call.")  # type: ignore[arg-type]
    write_snapshot(board_path(places.run), Board(at=time.time(), alarms=[alarm]))
    wait_for(lambda: recording.second(int(time.time())) and "CRITICAL" in browser.text("#alarms"), 20, "the alarm in words")
    wait_for(lambda: browser.run(MARK.replace("AT", str(now - 50))), 20, "its mark")
    assert browser.run("window.kept"), "the page was not made again"


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_the_page_fits_and_can_be_read(
    places: Places, web: str, browser: Browser, wait_for: Wait, recording: Recording, width: int, scheme: str
) -> None:
    from .test_live_page import CONTRAST

    now = time.time()
    here = {"flow": "studio", "kind": "flow", "state": "ALARM", "since": now, "raised_at": now, "severity": "warning"}
    alarm = Alarm(**here, id="1", alarm="x", reason="a-long-word-" * 12 + ": x", advice="Call.")  # type: ignore[arg-type]
    write_snapshot(board_path(places.run), Board(at=now, alarms=[alarm]))
    recording.seconds(int(now) - 30, 31)
    opened(browser, f"{web}flows/studio/metrics", width, 900, scheme)
    wait_for(lambda: drawn(browser), 20, "the plots")
    browser.run("for (const drawer of document.querySelectorAll('details')) drawer.open = true")
    assert browser.run("document.documentElement.scrollWidth") <= width
    tables = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.innerText)"
    assert browser.run(tables) == []
    assert browser.run(CONTRAST) == []
