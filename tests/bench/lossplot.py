"""Loss on the way against loss at the far end, drawn: a panel for each protocol, a line for each chain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDE, HIGH, TOP, LEFT, GAP = 250, 220, 40, 56, 24
LEAST, MOST = 1e-5, 0.3  # shares on the scale; what is none stands below it
NONE_Y = 22
MARKS = (0.1, 0.01, 0.001, 0.0001, 0.00001)
PEERS = ("#64748b", "#0e7490", "#7c3aed")
OURS, WAY = "#c2410c", "#cbd5e1"
STYLE = (
    "text{font:11px sans-serif;fill:#222}.panel{font-weight:bold;font-size:13px}.tick{text-anchor:end}"
    ".cause{text-anchor:end;font-size:10px}svg{background:#fff}"
)


@dataclass(frozen=True)
class Curve:
    """Shares lost at the far end, one for each cause."""

    panel: str
    name: str
    shares: list[float]
    ours: bool


def loss_plot(curves: list[Curve], causes: list[str], on_the_way: dict[str, list[float]]) -> str:
    """SVG; lower is better. `on_the_way`: by panel, what was lost before anything was done about it."""
    panels = list(dict.fromkeys(curve.panel for curve in curves))
    parts: list[str] = []
    for number, panel in enumerate(panels):
        left = LEFT + number * (WIDE + GAP)
        parts += _frame(panel, left, causes, first=number == 0)
        parts += _line(on_the_way[panel], left, WAY, "lost on the way", 0)
        peers = iter(PEERS)
        members = [curve for curve in curves if curve.panel == panel]
        for row, curve in enumerate(members, 1):
            parts += _line(curve.shares, left, OURS if curve.ours else next(peers), curve.name, row, sideways=(row - 1) * 5)
    size = f"{LEFT + len(panels) * (WIDE + GAP)} {TOP + HIGH + NONE_Y + 190}"
    drawn = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">\n<style>{STYLE}</style>\n{drawn}\n</svg>\n'


def _frame(panel: str, left: float, causes: list[str], *, first: bool) -> list[str]:
    parts = [f'<text x="{left}" y="{TOP - 14}" class="panel">{escape(panel)}</text>']
    for share in (*MARKS, 0.0):
        y = _y(share)
        parts.append(f'<line x1="{left}" x2="{left + WIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e8f0"/>')
        if first:
            parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" class="tick">{share * 100:g} %</text>')
    for place, cause in enumerate(causes):
        x, y = _x(left, place, len(causes)), TOP + HIGH + NONE_Y + 14
        parts.append(f'<text transform="translate({x + 4:.1f} {y}) rotate(-40)" class="cause">{escape(cause)}</text>')
    return parts


def _line(shares: list[float], left: float, colour: str, name: str, row: int, sideways: float = 0) -> list[str]:
    """Dots, joined while the causes are of one kind, and a line of the legend."""
    at = [(_x(left, place, len(shares)) + sideways, _y(share)) for place, share in enumerate(shares)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at[:4])
    legend = TOP + HIGH + NONE_Y + 96 + row * 18
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in at]
    parts.append(f'<circle cx="{left + 6}" cy="{legend - 4}" r="4" fill="{colour}"/>')
    parts.append(f'<text x="{left + 16}" y="{legend}">{escape(name)}</text>')
    return parts


def _x(left: float, place: int, places: int) -> float:
    return left + 20 + place * (WIDE - 40) / max(1, places - 1)


def _y(share: float) -> float:
    if share <= 0:
        return TOP + HIGH + NONE_Y
    down = (math.log(MOST) - math.log(max(share, LEAST))) / (math.log(MOST) - math.log(LEAST))
    return TOP + max(0.0, down) * HIGH
