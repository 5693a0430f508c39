"""The page in a real browser, served by the real process."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from firmware.places import Places
from firmware.status import EndStatus, Event

from .boxes import on_air, path, protected, received
from .browser import Browser

Wait = Callable[..., object]
PIXEL = bytes.fromhex(  # the smallest JPEG: one grey pixel
    "ffd8ffdb004300"
    + "01" * 64
    + "ffc0000b080001000101011100ffc40014000100000000000000000000000000000009ffc40014100100000000000000000000000000000000"
    "ffda0008010100003f0054dfffd9"
)


def test_the_page_follows_the_box(places: Places, web: str, browser: Browser, wait_for: Wait) -> None:
    browser.open(web)
    wait_for(lambda: on_air(places) and browser.text("#state-court-3") == "LIVE", 20, "LIVE")
    assert browser.run("document.title").startswith("LIVE · ")
    browser.run("document.querySelector('details.act').open = true; window.kept = document.querySelector('details.act')")
    outputs = [path("path-a", "203.0.113.9:5000", repaired=777), path("path-b", "198.51.100.4:5000", rtt_ms=64)]
    wait_for(lambda: on_air(places, outputs=outputs) and "777" in browser.text("#cells-court-3-outputs-path-a"), 20, "the new figure")
    assert browser.run("window.kept.isConnected && window.kept.open"), "an open drawer stays open"
    wait_for(lambda: browser.text("#state-court-3") == "NO NEWS", 20, "the worker's silence to be noticed")
    assert browser.run("document.querySelector('#flow-court-3 .row').classList.contains('stale')")
    outputs = [path("path-a", "", state="connecting", message="timed out"), path("path-b", "198.51.100.4:5000")]
    wait_for(lambda: on_air(places, outputs=outputs) and browser.text("#state-court-3") == "AT RISK", 20, "AT RISK")
    assert "path-a: timed out" in browser.text("#reasons-court-3")


def test_faults_and_events_are_folded_and_stay_open_while_they_change(places: Places, web: str, browser: Browser, wait_for: Wait) -> None:
    status = protected(places)
    browser.open(web)
    wait_for(lambda: "path-b: event 6" in browser.text("#events-sum-hall"), 20, "the last event")
    assert not browser.run("document.querySelector('#events-hall').open || document.querySelector('#stream-hall').open")
    browser.run("document.querySelector('#events-hall').open = true; window.kept = document.querySelector('#events-hall')")
    protected(places, events=[*status.events, Event(at=time.time(), text="path-b: is merged")])
    wait_for(lambda: "path-b: is merged" in browser.text("#events-lines-hall li"), 20, "the new event, first")
    assert browser.run("window.kept.isConnected && window.kept.open")


def test_the_picture_changes_once_a_second(places: Places, web: str, browser: Browser, wait_for: Wait) -> None:
    on_air(places)
    places.preview("court-3").write_bytes(PIXEL)
    browser.open(web)
    first = str(wait_for(lambda: browser.run("document.querySelector('img.picture')?.src"), 20, "a picture"))
    wait_for(lambda: browser.run("document.querySelector('img.picture').src") != first, 20, "the next picture")


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800)])
def test_nothing_sticks_out(places: Places, web: str, browser: Browser, wait_for: Wait, width: int, height: int) -> None:
    on_air(places)
    protected(places)
    long = EndStatus(name="a-name-of-some-length-for-an-output", protocol="udp", state="connected", packets=123_456_789_012)
    browser.open(web, width, height)
    wait_for(lambda: received(places, outputs=[long]) and browser.text("#state-studio") == "LIVE", 20, "LIVE")
    wait_for(lambda: browser.run("document.readyState") == "complete", 20, "the style sheet")
    browser.run("for (const drawer of document.querySelectorAll('details')) drawer.open = true")
    assert browser.run("document.documentElement.scrollWidth") <= width
    wider = "filter(e => e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    beyond = f"[...document.querySelectorAll('dd, .row:not(.merge) dt, .state, .about, .more, .more li, .reasons')].{wider}"
    assert browser.run(beyond) == []
    sizes = browser.run(
        "[...document.querySelectorAll('body *:not(svg, svg *)')].map(e => [parseFloat(getComputedStyle(e).fontSize), e.className])"
    )
    largest = max(size for size, _ in sizes)
    assert all(name.startswith("state ") or size < largest for size, name in sizes), "the state is the largest thing"


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_text_can_be_read(places: Places, web: str, browser: Browser, wait_for: Wait, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1, in good times and in bad ones."""
    on_air(places, outputs=[path("path-a", "", state="failed", message="x", refused=3, dropped=2, lost=4), path("path-b", "b:1")])
    received(places)
    protected(places)
    received(places, name="gone", at=time.time() - 20)
    browser.open("about:blank")
    browser._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser._ask("Page.navigate", url=web)
    wait_for(lambda: browser.text("#state-gone") == "NO NEWS", 20, "the page")
    wait_for(lambda: browser.run("document.readyState") == "complete", 20, "the style sheet")
    browser.run("for (const drawer of document.querySelectorAll('details')) drawer.open = true")
    assert browser.run(CONTRAST) == []


CONTRAST = """
(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.clientHeight && !e.getClientRects().length) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${e.className} ${e.innerText} ${ratio.toFixed(2)}`);
  }
  return poor;
})()
"""


def test_a_silent_server_is_said_and_forgotten_again(places: Places, web: str, browser: Browser, wait_for: Wait) -> None:
    browser.open(web)
    wait_for(lambda: on_air(places) and browser.text("#state-court-3") == "LIVE", 20, "LIVE")
    browser.run("window.fetched = window.fetch; window.fetch = () => Promise.reject(new TypeError('no network'))")
    wait_for(lambda: "does not answer" in browser.text("#silence:not([hidden])"), 20, "the banner")
    browser.run("window.fetch = window.fetched")
    wait_for(lambda: not browser.text("#silence:not([hidden])"), 20, "the banner to go")
