"""How this machine is, looked at every five seconds and written down for everybody: `box.json` in the run folder."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from firmware.places import Places
from firmware.status import write_snapshot
from hw.health import Finding, Health, StepDown, Watch, read_health
from hw.network import Network, read_network

EVERY_S = 5.0


class BoxStatus(msgspec.Struct, kw_only=True):
    at: float  # Unix time
    health: Health
    findings: list[Finding]
    level: int = 0  # how much less is asked of the board: 0 nothing less, to 3
    why: str = ""  # that level
    network: Network | None = None


class BoxWatch:
    """`look` as often as you like. Asking a board's firmware may take seconds: not in a loop that has anything else to do."""

    def __init__(self, places: Places, root: Path = Path("/")) -> None:
        self._places = places
        self._root = root
        self._watch, self._step_down = Watch(), StepDown()
        self._due_s = 0.0
        self.status: BoxStatus | None = None

    def look(self, now_s: float) -> None:
        """`now_s` of a clock that never jumps. Raises OSError where the run folder takes nothing."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + EVERY_S
        now_ns = int(now_s * 1e9)
        health = read_health(self._root, self._places.state)
        findings = self._watch.push(health, now_ns)
        level = self._step_down.push(health, now_ns)
        self.status = BoxStatus(
            at=time.time(),
            health=health,
            findings=findings,
            level=level,
            why=self._step_down.why,
            network=read_network(self._root),
        )
        write_snapshot(self._places.box, self.status)
