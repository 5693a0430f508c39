"""May this user open what is fitted, and who says so."""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Iterator
from pathlib import Path

from appliance.checkup.check import Check
from appliance.whoami import console_user
from hw.board import Board
from hw.sysfs import children

RULES = ("etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d")
_SUBSYSTEMS = {"video": "video4linux", "media": "media", "snd": "sound", "gpiochip": "gpio", "dma_heap": "dma_heap"}
_SHOWN = 6


def device_checks(board: Board, root: Path) -> Iterator[Check]:
    nodes = list(_nodes(board, root))
    refused = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    for node in refused:
        yield Check("devices", "warning", *_refused(node, root))
    allowed = [f"/{node.relative_to(root)}" for node in nodes if node not in refused]
    if allowed:
        more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
        yield Check("devices", "ok", f"{console_user()} may open {', '.join(allowed[:_SHOWN])}{more}.")


def _nodes(board: Board, root: Path) -> Iterator[Path]:
    """Those that Pressbox opens, as far as they are there."""
    wanted = [camera.path for camera in board.fitted.cameras]
    wanted += [board.encoder_device] if board.encoder_device else []
    wanted += [f"/dev/snd/pcmC{card.number}D0c" for card in board.fitted.sound if card.takes]
    wanted += [f"/dev/{chip.name}" for chip in board.fitted.gpio]
    yield from (root / path.lstrip("/") for path in dict.fromkeys(wanted) if (root / path.lstrip("/")).exists())
    if any(sensor.bound for sensor in board.fitted.sensors):
        yield from [*children(root / "dev", "media*"), *children(root / "dev/dma_heap")]


def _refused(node: Path, root: Path) -> tuple[str, str]:
    user, name = console_user(), f"/{node.relative_to(root)}"
    told = node.stat()
    try:
        group = grp.getgrgid(told.st_gid).gr_name
    except KeyError:
        group = str(told.st_gid)
    rule = udev_rule(node, root)
    who = f"its group is {group}" + (f" by {rule}" if rule else "")
    if told.st_mode & 0o060 == 0o060 and told.st_gid:
        return f"{user} may not open {name}: {who}.", f"sudo usermod -aG {group} {user}, then log in again."
    return (
        f"{user} may not open {name}: {who}, which may not either.",
        "Install the udev rules that come with Pressbox (60-pressbox.rules).",
    )


def udev_rule(node: Path, root: Path) -> str:
    """`50-udev-default.rules` where that gives nodes of this kind their group; the last one that says something wins."""
    kind = next((kind for kind in _SUBSYSTEMS if node.name.startswith(kind) or kind in node.parent.name), "")
    subsystem = _SUBSYSTEMS.get(kind, "")
    files = {file.name: file for folder in reversed(RULES) for file in children(root / folder, "*.rules")}  # /etc hides the rest by name
    found = ""
    for name in sorted(files):
        text = files[name].read_text(errors="replace")
        if subsystem and re.search(rf'^[^#\n]*SUBSYSTEM=="[^"]*\b{subsystem}\b[^"]*"[^\n]*GROUP=', text, re.MULTILINE):
            found = name
    return found
