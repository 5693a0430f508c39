"""`pressbox lights`: what the lamps show now and why, and what somebody may want of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from appliance.exits import OK
from firmware.places import Places

if TYPE_CHECKING:
    from appliance.panelstatus import PanelStatus

EXAMPLES = """\
  pressbox lights
  pressbox lights --identify
  pressbox lights --dark on
  pressbox lights --legend"""
MORE = """\
The same table makes the lamps, the page /lights and docs/lights.md, which has the wiring and panel.toml too. A dark stage stays dark over a
restart; only ON AIR stays lit, unless panel.toml says `dark_keeps_on_air = false`."""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    lights = command("lights", run, "what the lamps show now and why", EXAMPLES, MORE)
    lights.add_argument("--json", action="store_true", help="as JSON")
    wish = lights.add_mutually_exclusive_group()
    wish.add_argument("--identify", action="store_true", help="have SYS flash blue for 30 s, so that this box is found among others")
    wish.add_argument("--dark", choices=["on", "off"], help="dark stage: no lamp is lit, but for ON AIR")
    wish.add_argument("--legend", action="store_true", help="the table of all patterns, as docs/lights.md has it")


def run(options: argparse.Namespace) -> int:
    from appliance.legend import legend_lines
    from appliance.panelstatus import IDENTIFY_S, identify, read_panel_status, set_dark
    from appliance.service import record

    places = Places.from_environment()
    if options.legend:
        print("\n".join(legend_lines()))
        return OK
    if options.identify:
        places.create()
        identify(places)
        print(f"SYS flashes twice, blue, for {IDENTIFY_S:.0f} s" + _nobody(places))
        return OK
    if options.dark:
        places.create()
        record(places, "panel.dark", "host", before=None, after={"dark": options.dark == "on"})
        set_dark(places, dark=options.dark == "on")
        print(("the stage is dark" if options.dark == "on" else "the lamps are lit again") + _nobody(places))
        return OK
    status = read_panel_status(places)
    if options.json:
        print(msgspec.json.encode({"driven": status is not None, "panel": status or _computed(places)}).decode())
    else:
        print("\n".join(_lines(status or _computed(places), driven=status is not None)))
    return OK


def _computed(places: Places) -> PanelStatus:
    from appliance.paneld import seen_now

    return seen_now(places)


def _nobody(places: Places) -> str:
    from appliance.panelstatus import read_panel_status

    return "" if read_panel_status(places) else "; nobody drives the lamps now, `python -m appliance.paneld` does"


def _lines(status: PanelStatus, *, driven: bool) -> list[str]:
    from appliance.lights import TITLES

    lines = [] if driven else ["no panel runs, so no lamp is driven; they would show:"]
    for lamp, told in status.lamps.items():
        wired = f"   [{told.wired}]" if told.wired else ""
        lines.append(f"{TITLES[lamp]:7} {told.pattern}: {told.words}{wired}")
    if driven and not any(told.wired for told in status.lamps.values()):
        lines.append("no lamp is wired: panel.toml names no pin, and the kernel has no LED for us")
    lines += [f"why: {sentence}" for sentence in status.why]
    lines += [f"button: {status.button}"] if status.button else []
    return lines + ([f"problem: {status.problem}"] if status.problem else [])
