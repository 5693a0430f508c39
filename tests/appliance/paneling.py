"""A box with a panel on gpiozero's mock pins, in folders of its own, and made-up time where nothing has to wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from appliance.paneld import Paneld
from firmware.alarms.board import Alarm, Board, board_path
from firmware.places import Places
from firmware.status import CaptureStatus, EndStatus, FlowStatus, write_snapshot

from .boxes import on_air, path

PANEL = """\
pins = "mock"

[lamps.sys]
red = 17
green = 27
blue = 22

[lamps.in]
pin = 5

[lamps.a]
pin = 6

[lamps.b]
pin = 13

[lamps.on-air]
pin = 26

[button]
pin = 16
"""


def live(places: Places, *, a: dict[str, Any] | None = None, b: dict[str, Any] | None = None, **changes: Any) -> FlowStatus:
    """On air over two paths, as the far end confirms."""
    outputs = [
        EndStatus(name="path-a", protocol="srt-caller", **{"state": "connected", "packets": 900, "confirmed": True} | (a or {})),
        EndStatus(name="path-b", protocol="srt-caller", **{"state": "connected", "packets": 900, "confirmed": True} | (b or {})),
    ]
    return on_air(places, **{"outputs": outputs, "pid": os.getpid()} | changes)


def captured(places: Places, **changes: Any) -> None:
    fields: dict[str, Any] = {"pid": 1, "at": time.time(), "camera": "v4l2:/dev/video0", "encoder": "x264", "picture": "moving"}
    write_snapshot(places.capture_snapshot("court-3"), CaptureStatus(**fields | {"sound": "heard"} | changes))


def alarmed(places: Places, *names: str) -> None:
    alarms = [
        Alarm(
            id=f"{name}-1",
            alarm=name,
            flow="court-3",
            kind="flow",
            severity="critical",
            state="ALARM",
            since=time.time(),
            raised_at=time.time(),
            reason="it is so",
            advice="Do something.",
        )
        for name in names
    ]
    write_snapshot(board_path(places.run), Board(at=time.time(), alarms=alarms))


class Stepped:
    """The panel, stepped through made-up time, in which `renew` writes the snapshots again twice a second, as workers do."""

    def __init__(self, paneld: Paneld, now_s: float) -> None:
        self.paneld, self.now_s = paneld, now_s
        self.renew: list[Callable[[], object]] = []
        self._renewed_s = float("-inf")

    def run(self, seconds: float) -> list[tuple[float, dict[str, float]]]:
        """Every moment at which something was shown, with what each lamp's pins had."""
        until_s, seen = self.now_s + seconds, []
        while self.now_s < until_s:
            if self.now_s - self._renewed_s >= 0.5:
                self._renewed_s = self.now_s
                for write in self.renew:
                    write()
            wait_s = self.paneld.step(self.now_s)
            seen.append((self.now_s, self.levels()))
            self.now_s += min(wait_s, until_s - self.now_s) or wait_s
        return seen

    def levels(self) -> dict[str, float]:
        lamps = self.paneld.panel.wiring.lamps
        return {name: max(self.pin(line).state for line in lamp.lines) for name, lamp in lamps.items()}

    def pin(self, line: int) -> Any:
        return self.paneld.panel._factory.pin(line)

    def told(self, *renew: Callable[[], object], settle_s: float = 1.5) -> None:
        """From now on this is what the workers tell."""
        self.renew = list(renew)
        self._renewed_s = float("-inf")
        self.run(settle_s)

    def hold(self, seconds: float) -> list[tuple[float, dict[str, float]]]:
        self.pin(16).drive_low()
        self.run(0.05)
        seen = self.run(seconds - 0.05)
        self.pin(16).drive_high()
        self.run(0.1)
        return seen

    @property
    def states(self) -> dict[str, str]:
        return {str(lamp): entry.state for lamp, entry in self.paneld.shown.items()}


__all__ = ["PANEL", "Stepped", "alarmed", "captured", "live", "path"]
