"""Figures as tables, JSON and a drawing."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from tests.bench.processes import load

Cell = str | float | int | None


@dataclass
class Table:
    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)

    def __str__(self) -> str:
        shown = [self.columns, *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        lines = ["  ".join(_aligned(at, cell, width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in shown]
        return "\n".join([self.title, lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


@dataclass
class Bar:
    """One bar of the drawing, and by whom it is."""

    group: str
    name: str
    value: float
    unit: str
    ours: bool


@dataclass
class Report:
    """What one bench found. `bars` are for the drawing, `commands` so that anybody can do it again."""

    name: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    picture: str = ""  # SVG, where bars do not tell it
    commands: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # rows that could not be measured, and why
    load_before: float = field(default_factory=load)
    load_after: float = 0.0

    def __str__(self) -> str:
        parts = [f"── {self.name} (load average {self.load_before} before, {self.load_after} after, {os.cpu_count()} processors)"]
        failed = [f"not measured: {row}: {why}" for row, why in self.failures.items()]
        return "\n\n".join([*parts, *map(str, self.tables), "\n".join([*failed, *self.notes])]).rstrip()

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "picture"}


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def _aligned(at: int, cell: str, width: int) -> str:
    return cell.rjust(width) if at and (cell[:1].isdigit() or cell[:1] in "-+") else cell.ljust(width)


def machine() -> dict[str, str]:
    def first_line(*command: str) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition("\n")[0]
        except FileNotFoundError:
            return "missing"

    return {
        "kernel": platform.release(),
        "processor": first_line("sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2").strip(),
        "processors": str(os.cpu_count()),
        "python": platform.python_version(),
        "ffmpeg": " ".join(first_line("ffmpeg", "-version").split()[:3]),
        "gstreamer": first_line("gst-launch-1.0", "--version"),
        "commit": first_line("git", "rev-parse", "--short", "HEAD"),
    }


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


ROW, LEFT, WIDE, VALUE = 22, 230, 430, 150


def drawing(bars: list[Bar]) -> str:
    """Bars in groups as SVG; each group has its own scale. Shorter is better everywhere."""
    parts, y = [], 10
    groups = dict.fromkeys(bar.group for bar in bars)
    for group in groups:
        members = [bar for bar in bars if bar.group == group]
        longest = max(bar.value for bar in members) or 1.0
        y += ROW
        parts.append(f'<text x="10" y="{y}" class="group">{escape(group)}</text>')
        for bar in members:
            y += ROW
            width = max(1, round(bar.value / longest * WIDE))
            kind = "ours" if bar.ours else "peer"
            parts.append(f'<text x="{LEFT - 8}" y="{y}" class="name">{escape(bar.name)}</text>')
            parts.append(f'<rect x="{LEFT}" y="{y - 13}" width="{width}" height="16" class="{kind}"/>')
            parts.append(f'<text x="{LEFT + width + 6}" y="{y}">{_short(bar.value)} {escape(bar.unit)}</text>')
        y += ROW // 2
    size = f"{LEFT + WIDE + VALUE} {y + ROW}"
    style = (
        "text{font:13px sans-serif;fill:#222}.group{font-weight:bold}.name{text-anchor:end}.ours{fill:#c2410c}.peer{fill:#94a3b8}"
        "svg{background:#fff}"
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">\n<style>{style}</style>\n' + "\n".join(parts) + "\n</svg>\n"
