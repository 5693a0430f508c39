"""The panel process: status to lamps, button to what the box offers. It never stands between a camera and its viewers.

python -m appliance.paneld --with-parent
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.boxstate import Known, box_state, faults
from appliance.lights import HELD, BoxState, Entry, Fault, Lamp, show
from appliance.panelbutton import Actions
from appliance.panelfile import PanelFile, PanelFileError, read_panel
from appliance.panellook import Look
from appliance.panelstatus import LampStatus, PanelStatus, identifying, is_dark, write_panel
from appliance.panelwords import why
from firmware.alarms.world import Stamp, stamp
from firmware.alone import hold
from firmware.places import Places
from hw import systemd
from hw.button import Button
from hw.leds import fall_back
from hw.panel import Panel, Playing
from hw.wiring import found_leds

LOOK_S = 0.2
TELL_S = 1.0
AGAIN_S = 10.0  # until a panel that could not be opened is tried again

log = logging.getLogger("pressbox.panel")


class Paneld:
    """One loop: look, show, press. `step` does what is due and returns for how long nothing is."""

    def __init__(self, places: Places, now_s: float, *, root: Path = Path("/"), factory: Any = None) -> None:
        self.places, self.root = places, root
        self._factory = factory
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.file = PanelFile()
        self.panel = Panel(self.file)
        self._stamp: Stamp | str | None = "not read"
        self._open_again_s = 0.0
        self.problem = ""
        self.button = Button()
        self._now_s = now_s
        self._begin()
        self.known = Known()
        self._wishes: tuple[bool, bool, bool] | None = None
        self._playing: tuple[dict[Lamp, Entry], float] | None = None  # what is shown and needs no looking after for a while
        self._due_ms, self._brightness = 0.0, 1.0
        self.state = BoxState()
        self.shown: dict[Lamp, Entry] = show(self.state)
        self._look_s = self._told_s = float("-inf")
        self._told_of: dict[Lamp, Entry] | None = None

    def _begin(self) -> None:
        self.look = Look(self.places, flow=self.file.flow, root=self.root, began_s=self._now_s)
        self.actions = Actions(self.places, self._see)

    def _see(self, faults: list[Fault]) -> None:
        self.look.seen |= dict.fromkeys(faults, self._now_s)

    def step(self, now_s: float) -> float:
        self._drain()
        self._now_s = now_s
        if now_s - self._look_s >= LOOK_S:
            self._look_s = now_s
            self._open(now_s)
            self._look()
        due_ms = self._press(now_s * 1e3)
        due_ms = min(due_ms, self._play(now_s * 1e3))
        if now_s - self._told_s >= TELL_S or self._differs():
            self._tell(now_s)
            self._brightness = self.file.light.level(datetime.now().astimezone())
        return max(0.001, min(due_ms / 1e3, self._look_s + LOOK_S - now_s))

    @property
    def wakes(self) -> int:
        """A descriptor that can be read when the button's level changed."""
        return self._wake_r

    def wake(self) -> None:
        try:
            os.write(self._wake_w, b"!")
        except (BlockingIOError, OSError):
            return  # it is awake already, or ends

    def close(self) -> None:
        self.panel.close()
        os.close(self._wake_r)
        os.close(self._wake_w)
        self._wake_w = -1

    def _drain(self) -> None:
        try:
            os.read(self._wake_r, 4096)
        except BlockingIOError:
            return

    def _open(self, now_s: float) -> None:
        """Again when panel.toml changes, and now and then where it could not be opened."""
        found = stamp(self.places.state / "panel.toml")
        if found == self._stamp and not (self.problem and now_s >= self._open_again_s):
            return
        self._stamp, self._open_again_s = found, now_s + AGAIN_S
        before = self.problem
        try:
            before_file, self.file = self.file, read_panel(self.places.state, self.root)
            if self.file.flow != before_file.flow:
                self._begin()
            self.button = Button(may_start=bool(self.file.button and self.file.button.start_stop))
            self.panel.close()
            self.panel = Panel(PanelFile(), root=self.root)
            self._playing, self._brightness = None, self.file.light.level(datetime.now().astimezone())
            self.panel = Panel(self.file, changed=self.wake, factory=self._factory, root=self.root, scratch=self.places.run)
            self.problem = ""
        except (PanelFileError, OSError) as error:
            self.problem = str(error)
        if self.problem and self.problem != before:
            log.warning("%s", self.problem)

    def _look(self) -> None:
        known = self.look.known(self._now_s)
        wishes = (identifying(self.places), is_dark(self.places), self.file.light.dark_keeps_on_air)
        self.look.note(known, self._now_s)
        if (known, wishes) == (self.known, self._wishes):
            return
        self.known, self._wishes = known, wishes
        identify, dark, keeps = wishes
        self.state = box_state(known, identify=identify, dark=dark, dark_keeps_on_air=keeps)
        self.shown = show(self.state)

    def _press(self, now_ms: float) -> float:
        if self.panel.button is None:
            return 60_000.0
        action = self.button.push(self.panel.button.down, now_ms)
        if action is not None:
            self.actions.do(action, self.known)
            self._look_s = float("-inf")  # what it changed is shown at once
        return self.button.due_ms(now_ms)

    def _play(self, now_ms: float) -> float:
        hold, brightness = self.button.hold(now_ms), self._brightness
        shown = (self.shown, brightness)
        if hold is None and shown == self._playing and now_ms < self._due_ms:
            return self._due_ms - now_ms
        playing = {lamp: Playing(entry.pattern) for lamp, entry in self.shown.items()}
        if hold is not None:
            playing["sys"] = Playing(HELD[hold.zone][0], now_ms - hold.ms)
        self._playing = None if hold else shown
        try:
            due_ms = self.panel.play(playing, now_ms, brightness=brightness)
            self._due_ms = now_ms + due_ms
            return due_ms
        except OSError as error:
            self.problem, self._open_again_s = str(error), now_ms / 1e3 + AGAIN_S
            self.panel.close()
            log.warning("%s", error)
            return 1000.0

    def _differs(self) -> bool:
        return self._told_of is not self.shown

    def _tell(self, now_s: float) -> None:
        self._told_s, self._told_of = now_s, self.shown
        told = status(self.known, self.state, self.shown, self.file, self.panel, time.time())
        told.problem = self.problem or ("the button is held down since the start, or is broken" if self.button.stuck else "")
        told.button = self.actions.last
        try:
            write_panel(self.places, told)
        except OSError as error:
            log.warning("%s cannot be written: %s", self.places.run, error.strerror)


def status(known: Known, state: BoxState, shown: dict[Lamp, Entry], file: PanelFile, panel: Panel | None, at: float) -> PanelStatus:
    wired = {lamp: driven.words for lamp, driven in panel.lamps.items()} if panel else {}
    return PanelStatus(
        at=at,
        flow=known.told.name,
        lamps={
            lamp: LampStatus(state=entry.state, words=entry.words, pattern=entry.pattern.words, wired=wired.get(lamp, ""))
            for lamp, entry in shown.items()
        },
        faults=list(faults(known)),
        why=why(known),
        identify=state.identify,
        dark=state.dark,
        brightness_percent=round(100 * file.light.level(datetime.fromtimestamp(at).astimezone())),
    )


def seen_now(places: Places, root: Path = Path("/")) -> PanelStatus:
    """What lamps would show where no panel runs: one look, without what came before."""
    try:
        file = read_panel(places.state, root)
        problem = ""
    except PanelFileError as error:
        file, problem = PanelFile(), str(error)
    now_s = time.monotonic()
    known = Look(places, flow=file.flow, root=root, began_s=now_s, patience_s=0.0).known(now_s)
    state = box_state(known, identify=identifying(places), dark=is_dark(places), dark_keeps_on_air=file.light.dark_keeps_on_air)
    found = status(known, state, show(state), file, None, time.time())
    found.problem = problem
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.paneld", description="Show on the lamps how this box is; heed its button.")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends, however it ends")
    parser.add_argument(
        "--let-go", action="store_true", help="leave the kernel's LEDs to the kernel, after a panel that was killed, and end"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(format="panel: %(message)s", level=logging.INFO)
    places = Places.from_environment()
    if options.let_go:
        return let_go(places)
    places.create()
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: ending.append(number))
    while hold(places.run / "panel.lock") is None:
        if not options.with_parent:
            print(f"panel: another panel runs with {places.run}", file=sys.stderr)
            return 1
        readable, _, _ = select.select([sys.stdin], [], [], AGAIN_S)  # the box's own service drives the lamps; this one stands by
        if ending or (readable and _parent_is_gone()):
            return 0
    paneld = Paneld(places, time.monotonic())
    try:
        return run(paneld, ending, with_parent=options.with_parent)
    finally:
        paneld.close()


def let_go(places: Places, root: Path = Path("/")) -> int:
    """A LED keeps what was written there last, and nobody would know how old that is. Pins are let go by the kernel itself."""
    try:
        lamps = read_panel(places.state, root).lamps
    except PanelFileError as error:
        log.warning("%s", error)
        lamps = found_leds(root)
    for lamp in lamps.values():
        with suppress(OSError):
            if lamp.led:
                fall_back(lamp, root)
    return 0


def run(paneld: Paneld, ending: list[int], *, with_parent: bool) -> int:
    watched = [paneld.wakes, sys.stdin.fileno()] if with_parent else [paneld.wakes]
    every_s = None if with_parent else systemd.watchdog_s()  # a child is its parent's to watch
    fed_s, is_ready = float("-inf"), with_parent
    while not ending:
        wait_s = paneld.step(time.monotonic())
        now_s = time.monotonic()
        if not is_ready:
            is_ready = systemd.ready(paneld.problem or "the lamps are looked after") or True
        if every_s is not None and now_s - fed_s >= every_s / 2:  # only here: lamps, button and snapshots were looked after
            fed_s = now_s
            systemd.alive()
        readable, _, _ = select.select(watched, [], [], wait_s)
        if with_parent and sys.stdin.fileno() in readable and _parent_is_gone():
            break
    if not with_parent:
        systemd.stopping()
    return 0


def _parent_is_gone() -> bool:
    return not os.read(sys.stdin.fileno(), 4096)


if __name__ == "__main__":
    sys.exit(main())
