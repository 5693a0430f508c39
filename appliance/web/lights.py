"""The page "What does my light mean?": the lamps as they are now, in the same rhythms, and the table of all that they can say."""

from __future__ import annotations

import socket
import time
from functools import cache
from typing import Any, NamedTuple

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from appliance.lights import ABOUT, DARK_STAGE, HELD, LAMPS, TABLE, TITLES, Entry, Lamp
from appliance.paneld import seen_now
from appliance.panelstatus import PanelStatus, identify, read_panel_status
from appliance.web.guard import check_form
from firmware.places import Places
from hw.rhythm import OFF, SOLID, Colour, Pattern, Rhythm

SPAN_MS = 10_000  # of the strip that draws a rhythm: the longest code is a little shorter
STRIP_WIDTH, STRIP_HEIGHT = 250, 12

lights = Blueprint("lights", __name__)


class Bar(NamedTuple):
    x: float
    width: float
    colour: Colour


@lights.get("/lights")
def lights_page() -> str:
    return render_template("lights.html", **_now(), table=TABLE, lamps=LAMPS, held=HELD, about=ABOUT)


@lights.get("/lights/live")
def lights_fragment() -> str:
    return render_template("lamps.html", **_now())


@lights.get("/lights.css")
def rhythms() -> Response:
    return Response(rhythms_css(), mimetype="text/css")


@lights.post("/lights/identify")
def identify_box() -> AnyResponse:
    check_form()
    seconds = 0.0 if request.form.get("end") else 30.0
    identify(_places(), seconds)
    return redirect(url_for("lights.lights_page"), 303)


def _places() -> Places:
    found: Places = current_app.extensions["watch"].places
    return found


def _now() -> dict[str, Any]:
    told = read_panel_status(_places())
    status = told or seen_now(_places())
    return {
        "box": socket.gethostname(),
        "driven": told is not None,
        "status": status,
        "shown": {lamp: _entry(lamp, status) for lamp in LAMPS},
        "titles": TITLES,
        "uptime_ms": round(time.monotonic() * 1000),
        "bulb": bulb_class,
        "bars": bars,
        "humps": humps,
        "sentence": sentence,
        "parts": lambda text: text.split("`"),
        "strip": (STRIP_WIDTH, STRIP_HEIGHT),
        "OFF": OFF,
    }


def _entry(lamp: Lamp, status: PanelStatus) -> Entry:
    """The line of the table; the panel may be of another version, with a state that this one does not know."""
    told = status.lamps.get(lamp)
    return DARK_STAGE if told is None or told.state not in TABLE[lamp] else TABLE[lamp][told.state]


def bulb_class(pattern: Pattern) -> str:
    """The names that lights.css and page.css know."""
    return " ".join(["bulb", f"rhythm-{pattern.rhythm.name}", *(f"lamp{place}-{colour}" for place, colour in enumerate(pattern.colours))])


def bars(pattern: Pattern) -> list[Bar]:
    """The rhythm drawn as it goes, from left to right."""
    if pattern.rhythm is SOLID:
        return [Bar(0, STRIP_WIDTH, pattern.colours[0])]
    found: list[Bar] = []
    scale, ms = STRIP_WIDTH / SPAN_MS, 0
    while ms < SPAN_MS and pattern.rhythm is not OFF:
        for step in pattern.rhythm.steps:
            lit_ms = min(step.ms, SPAN_MS - ms)
            if step.level and lit_ms > 0:
                found.append(Bar(round(ms * scale, 2), round(lit_ms * scale, 2), pattern.colours[step.colour]))
            ms += step.ms
    return found


def humps(pattern: Pattern) -> str:
    """The points of a line that glides as the lamp does."""
    points = [(ms * STRIP_WIDTH / SPAN_MS, STRIP_HEIGHT * (1 - pattern.rhythm.level_at(ms))) for ms in range(0, SPAN_MS + 1, 100)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in [(0, STRIP_HEIGHT), *points, (STRIP_WIDTH, STRIP_HEIGHT)])


def sentence(text: str) -> list[str]:
    """With a capital and a full stop, in parts of which every second one is something to type."""
    text = text.strip()
    return (text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")).split("`")


@cache
def rhythms_css() -> str:
    """The rhythms as animations, made from the steps that the lamps play."""
    every = {entry.pattern.rhythm for entries in TABLE.values() for entry in entries.values()} | {one.rhythm for one, _ in HELD.values()}
    return "\n".join(_animation(one) for one in sorted(every, key=lambda one: one.name)) + "\n"


def _animation(one: Rhythm) -> str:
    lit = f".rhythm-{one.name} .glow"
    if len(one.steps) == 1:
        return f"{lit} {{ opacity: {one.steps[0].level:g}; }}"
    if one.glides:
        frames = "0%, 100% { opacity: 0; } 50% { opacity: 1; }"
        how = "cubic-bezier(.37, 0, .63, 1)"
    else:
        frames, how = _frames(one), "step-end"
    animation = f"{lit} {{ animation: {one.name} {one.period_ms}ms {how} infinite; }}"
    return f"{animation}\n@keyframes {one.name} {{ {frames} }}"


def _frames(one: Rhythm) -> str:
    """Each holds until the next."""
    ms, frames = 0, []
    for step in one.steps:
        colour = f" fill: var(--lamp{step.colour});" if any(other.colour for other in one.steps) else ""
        frames.append(f"{100 * ms / one.period_ms:.4g}% {{ opacity: {step.level:g};{colour} }}")
        ms += step.ms
    return " ".join(frames)
