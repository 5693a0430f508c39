"""`pressbox doctor`: what this machine is, what is fitted, what will run, what is wrong, and what to do about it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from appliance.exits import FAILED, OK, USAGE, Failure
from firmware.places import Places

if TYPE_CHECKING:
    from appliance.checkup import Report
    from hw.health import Health

EXAMPLES = """\
  pressbox doctor
  sudo pressbox doctor        sees the ports of all users
  pressbox doctor --json | jq '.checks[] | select(.state != "ok")'"""
MORE = """\
It reads what the kernel tells and opens no device, so a picture on air is not disturbed. Exit code 1 says that something must be put right
first; warnings leave it 0."""
MARKS = {"ok": "  ", "note": "· ", "warning": "! ", "fault": "✗ "}
WIDTH = 10


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    doctor = command("doctor", _run, "say what this machine is, what is fitted, what is wrong and what to do", EXAMPLES, MORE)
    doctor.add_argument("--json", action="store_true", help="everything, as JSON")
    doctor.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="look at a machine's files in this folder (default: /)")


def _run(options: argparse.Namespace) -> int:
    from appliance.checkup import examine

    root: Path = options.root
    if not root.is_dir():
        raise Failure(USAGE, f"--root: {root} is no folder")
    report = examine(root.resolve(), Places.from_environment())
    if options.json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        print("\n".join(lines(report)))
    return OK if report.ready else FAILED


def lines(report: Report) -> list[str]:
    found, area = [], ""
    for check in report.checks:
        head = "" if check.area == area else check.area
        area = check.area
        found.append(f"{head:{WIDTH}}{MARKS[check.state]}{check.words}")
        if check.advice:
            found.append(f"{'':{WIDTH}}  → {check.advice}")
        if check.area == "encoder":
            found += [f"{'':{WIDTH}}  {mode}" for mode in report.board.modes]
        if check.area == "health" and check is _last(report, "health"):
            found.append(f"{'':{WIDTH}}  {figures(report.health)}")
    return [*found, "", report.verdict]


def _last(report: Report, area: str) -> object:
    return [check for check in report.checks if check.area == area][-1]


def figures(health: Health) -> str:
    parts = [
        f"{health.soc_celsius:.0f} °C" + (f" of {health.limit_celsius:.0f}" if health.limit_celsius else "") if health.soc_celsius else "",
        f"{health.memory_available_bytes / 2**20:.0f} MB of memory free" if health.memory_available_bytes is not None else "",
        f"{health.disk_free_bytes / 2**30:.1f} GB of disk free" if health.disk_free_bytes is not None else "",
        "" if health.clock_synchronised is None else "clock kept" if health.clock_synchronised else "clock not kept",
        f"eMMC {health.storage_wear_percent} % used up" if health.storage_wear_percent is not None else "",
    ]
    return ", ".join(part for part in parts if part) + "."
