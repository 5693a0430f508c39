"""What the panel tells of itself, what it is asked for, and what it asks others for: small files, each replaced as a whole."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Literal

import msgspec

from appliance.lights import Lamp
from firmware.places import Places
from firmware.status import read_snapshot, write_snapshot

IDENTIFY_S = 30.0
STALE_S = 3.0
REQUEST_HOLDS_S = 60.0


class LampStatus(msgspec.Struct, kw_only=True):
    state: str  # of the table in appliance/lights.py
    words: str  # what it means
    pattern: str  # what a person sees
    wired: str = ""  # to which pins; empty: there is no such lamp


class PanelStatus(msgspec.Struct, kw_only=True):
    """What the lamps show now, and why."""

    at: float  # Unix time
    flow: str = ""  # whose lamps they are
    lamps: dict[Lamp, LampStatus] = {}
    faults: list[str] = []  # all that there are, those acknowledged too
    why: list[str] = []  # sentences
    identify: bool = False
    dark: bool = False
    brightness_percent: int = 100
    problem: str = ""  # why no lamp can be driven, or the button is of no use
    button: str = ""  # what it did last

    @property
    def stale(self) -> bool:
        return abs(time.time() - self.at) > STALE_S


class Wish(msgspec.Struct, kw_only=True):
    """Until when the box is to be told from others, in the clock of this machine's uptime."""

    identify_until_s: float = 0.0


class Stage(msgspec.Struct, kw_only=True):
    dark: bool = False


class Request(msgspec.Struct, kw_only=True):
    """What somebody asked for with the button. It holds for a minute; whoever carries it out deletes it first."""

    what: Literal["set-up", "factory"]
    at_s: float  # of the clock of uptime: a request never outlives a restart


def write_panel(places: Places, status: PanelStatus) -> None:
    write_snapshot(places.run / "panel.json", status)


def read_panel_status(places: Places) -> PanelStatus | None:
    """None where no panel runs."""
    status = read_snapshot(places.run / "panel.json", PanelStatus)
    return None if status is None or status.stale else status


def identify(places: Places, seconds: float = IDENTIFY_S) -> None:
    """For so long; 0 ends it."""
    write_snapshot(places.run / "panel.wish.json", Wish(identify_until_s=time.monotonic() + seconds))


def identifying(places: Places) -> bool:
    wish = read_snapshot(places.run / "panel.wish.json", Wish)
    return wish is not None and 0 < wish.identify_until_s - time.monotonic() <= 3600


def set_dark(places: Places, *, dark: bool) -> None:
    """Kept over a restart: a box that starts again in the middle of a play must not light up."""
    write_snapshot(places.state / "stage.json", Stage(dark=dark))


def is_dark(places: Places) -> bool:
    stage = read_snapshot(places.state / "stage.json", Stage)
    return stage is not None and stage.dark


def ask_for(places: Places, what: Literal["set-up", "factory"]) -> None:
    write_snapshot(places.run / "panel.request.json", Request(what=what, at_s=time.monotonic()))


def take_request(places: Places) -> Request | None:
    """For whoever carries requests out: the one that holds, which is then gone."""
    path = places.run / "panel.request.json"
    request = read_snapshot(path, Request)
    with suppress(FileNotFoundError):
        os.unlink(path)
    return request if request is not None and 0 <= time.monotonic() - request.at_s <= REQUEST_HOLDS_S else None
