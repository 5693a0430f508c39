"""Packets on a line of time, drawn: a strip for each sender, a stroke for each packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

LEFT, WIDE, RIGHT, ROW, HIGH = 280, 560, 200, 20, 14
SHOWN_MS = 100
STYLE = (
    "text{font:12px sans-serif;fill:#222}.kind{font-weight:bold}.name{text-anchor:end}.ours{stroke:#c2410c}.peer{stroke:#64748b}"
    "path{stroke-width:.7}rect{fill:#f1f5f9}svg{background:#fff}"
)


@dataclass(frozen=True)
class Strip:
    kind: str
    name: str
    at_ns: list[int]  # since the first
    figures: str
    ours: bool


def strips(drawn: Sequence[Strip]) -> str:
    """SVG. A stroke's place is exact to a tenth of a pixel, 18 us."""
    parts = [f'<text x="{LEFT}" y="18">{SHOWN_MS} ms of each: a stroke is a packet</text>']
    y = 18
    for kind, members in groupby(drawn, key=lambda strip: strip.kind):
        y += ROW + 8
        parts.append(f'<text x="10" y="{y}" class="kind">{escape(kind)}</text>')
        for strip in members:
            y += ROW
            parts.append(_row(strip, y))
    size = f"{LEFT + WIDE + RIGHT} {y + ROW}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">\n<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"


def _row(strip: Strip, y: int) -> str:
    top = y - HIGH + 3
    places = [LEFT + at_ns / 1e6 / SHOWN_MS * WIDE for at_ns in strip.at_ns if at_ns < SHOWN_MS * 1e6]
    path = "".join(f"M{place:.1f} {top}v{HIGH}" for place in places)
    return (
        f'<text x="{LEFT - 8}" y="{y}" class="name">{escape(strip.name)}</text><rect x="{LEFT}" y="{top}" width="{WIDE}" height="{HIGH}"/>'
        f'<path d="{path}" class="{"ours" if strip.ours else "peer"}"/><text x="{LEFT + WIDE + 8}" y="{y}">{escape(strip.figures)}</text>'
    )
