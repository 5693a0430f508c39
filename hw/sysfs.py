"""Small files of /proc and /sys: what they say, or nothing. Every path is under a root, so that a folder can stand in for a board."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST = 1 << 16


def read_text(path: Path) -> str:
    """Without white space and NUL at the ends; empty where there is no such file, or none that may be read."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST).decode(errors="replace").strip("\0 \t\r\n")
    except OSError:
        return ""


def read_strings(path: Path) -> list[str]:
    """The strings of a device tree property."""
    return [part for part in read_text(path).split("\0") if part]


def read_number(path: Path, base: int = 10) -> int | None:
    try:
        return int(read_text(path), base)
    except ValueError:
        return None


def link_name(path: Path) -> str:
    """The last part of where a link leads: the name of a driver, a bus, a device."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return ""


def children(folder: Path, pattern: str = "*") -> list[Path]:
    """In the order of the numbers in their names: video2 before video10."""
    try:
        return sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))
    except OSError:
        return []
