"""Boards as folders: /proc and /sys of a machine, planted from tests/fixtures/boards/NAME.tree.

A line is `path = content`, `path -> target` for a link, or `path/` for a folder. `\\0` and `\\n` stand for themselves in a content.
A folder that ends in `}` in a path is one of several: `a/{b,c}/d` is `a/b/d` and `a/c/d`.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

BOARDS = Path(__file__).parent / "fixtures/boards"
NAMES = sorted(path.stem for path in BOARDS.glob("*.tree"))
_SEVERAL = re.compile(r"\{([^}]*)\}")


def plant(name: str, root: Path) -> Path:
    """The root of that board, made under `root`."""
    for line in (BOARDS / f"{name}.tree").read_text().splitlines():
        if line and not line.startswith("#"):
            add(root, line)
    return root


def add(root: Path, line: str) -> None:
    """One line of a tree; what was there before is replaced."""
    where, kind, what = _parts(line)
    for place in _each(where):
        path = root / place.strip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "/":
            path.mkdir(exist_ok=True)
            continue
        path.unlink(missing_ok=True)
        if kind == "->":
            path.symlink_to(what)
        else:
            path.write_text(what.replace("\\0", "\0").replace("\\n", "\n"))


def _parts(line: str) -> tuple[str, str, str]:
    for kind in (" -> ", " = "):
        where, found, what = f"{line} ".partition(kind)
        if found:
            return where.strip(), kind.strip(), what.strip()
    if not line.rstrip().endswith("/"):
        raise ValueError(f"`{line}` is no line of a tree")
    return line.strip(), "/", ""


def _each(path: str) -> list[str]:
    choices = [part.split(",") if at % 2 else [part] for at, part in enumerate(_SEVERAL.split(path))]
    return ["".join(chosen) for chosen in product(*choices)]
