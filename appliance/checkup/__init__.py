"""What a machine is, what is fitted to it, and whether it can go on air: everything looked at, nothing opened.

Only files are read and names looked up, so a capture that runs loses nothing. Under a folder instead of `/` whatever only the running
machine can tell is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from appliance.checkup.check import Check, State
from appliance.checkup.devices import device_checks
from appliance.checkup.fitting import board_checks
from appliance.checkup.network import network_checks
from appliance.checkup.software import software_checks
from appliance.show import statuses
from firmware.places import Places
from hw.board import Board, read_board
from hw.health import Health, read_health
from hw.strain import RULES

SEVERITIES: dict[str, State] = {"note": "note", "warning": "warning", "fault": "fault"}


class Report(msgspec.Struct, kw_only=True):
    ready: bool
    verdict: str
    board: Board
    health: Health
    checks: list[Check]


def examine(root: Path, places: Places) -> Report:
    board = read_board(root)
    health = read_health(root, places.state if root == Path("/") else None)
    checks = [
        *board_checks(board),
        *health_checks(health),
        *software_checks(board, root),
        *network_checks(root),
        *device_checks(board, root),
        *(flow_checks(places) if root == Path("/") else ()),
    ]
    faults = sum(check.state == "fault" for check in checks)
    warnings = sum(check.state == "warning" for check in checks)
    return Report(ready=not faults, verdict=_verdict(faults, warnings), board=board, health=health, checks=checks)


def health_checks(health: Health) -> list[Check]:
    wrong = [rule for rule in RULES if rule.wrong(health)]
    found = [Check("health", SEVERITIES[rule.severity], rule.words(health)) for rule in wrong]
    return found or [Check("health", "ok", "Temperature, power supply, disk, memory and clock are well, as far as this board tells.")]


def flow_checks(places: Places) -> Iterator[Check]:
    """What runs here, by its own snapshots."""
    for status in statuses(places):
        state: State = "warning" if status.state == "ERROR" else "ok"
        yield Check("flows", state, f"{status.name}: {status.state}{', ' if status.message else ''}{status.message}.")


def _verdict(faults: int, warnings: int) -> str:
    if faults:
        return f"Not ready for air: {_count(faults, 'fault')}" + (f", {_count(warnings, 'warning')}." if warnings else ".")
    if warnings:
        return f"Ready for air, with {_count(warnings, 'warning')}."
    return "Ready for air."


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
