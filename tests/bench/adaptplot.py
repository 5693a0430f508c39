"""What two rules made of the same links, drawn: a panel a link, bitrate over time, what the link lets through in grey."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.capture.adaptruns import CEILING, Run
from tests.capture.adapttraces import Trace

WIDE, HIGH, LEFT, TOP, ACROSS, DOWN = 400, 120, 44, 44, 460, 186
MOST = 11e6
OURS, THEIRS, LINK = "#c2410c", "#0e7490", "#e2e8f0"
STYLE = "text{font:11px sans-serif;fill:#222}.panel{font-weight:bold;font-size:13px}.tick{text-anchor:end}svg{background:#fff}"


@dataclass(frozen=True)
class Panel:
    trace: Trace
    ours: Run
    theirs: Run


def adapt_plot(panels: list[Panel], latency_ms: int) -> str:
    parts = [
        f'<text x="{LEFT}" y="16">Mb/s of picture over seconds, SRT latency {latency_ms} ms. </text>',
        f'<text x="{LEFT + 300}" y="16" style="fill:{OURS}">Pressbox</text>',
        f'<text x="{LEFT + 370}" y="16" style="fill:{THEIRS}">belacoder\'s published rule</text>',
        f'<text x="{LEFT + 540}" y="16">grey: what the better link lets through; strokes below: lost picture</text>',
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, LEFT + number % 2 * ACROSS, TOP + number // 2 * DOWN)
    size = f"{LEFT + 2 * ACROSS} {TOP + (len(panels) + 1) // 2 * DOWN}"
    drawn = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">\n<style>{STYLE}</style>\n{drawn}\n</svg>\n'


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    seconds = panel.trace.seconds

    def x(at: float) -> float:
        return left + at / seconds * WIDE

    def y(bps: float) -> float:
        return top + HIGH * (1 - min(bps, MOST) / MOST)

    lets = [(at / 4, _lets(panel.trace, at / 4)) for at in range(int(seconds * 4))]
    area = " ".join(f"{x(at):.1f},{y(bps):.1f}" for at, bps in lets)
    parts = [
        f'<text x="{left}" y="{top - 6}" class="panel">{escape(panel.trace.name)}</text>',
        f'<polygon points="{x(0):.1f},{y(0):.1f} {area} {x(seconds):.1f},{y(0):.1f}" fill="{LINK}"/>',
    ]
    for mbit in (0, 4, 8):
        parts.append(f'<line x1="{left}" x2="{left + WIDE}" y1="{y(mbit * 1e6):.1f}" y2="{y(mbit * 1e6):.1f}" stroke="#cbd5e1"/>')
        parts.append(f'<text x="{left - 6}" y="{y(mbit * 1e6) + 4:.1f}" class="tick">{mbit}</text>')
    for at in range(0, int(seconds) + 1, 30):
        parts.append(f'<text x="{x(at):.1f}" y="{top + HIGH + 34}">{at} s</text>')
    for row, (found, colour) in enumerate(((panel.theirs, THEIRS), (panel.ours, OURS))):
        line = " ".join(f"{x(at):.1f},{y(bps):.1f}" for at, bps in found.curve[::3])
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        below = top + HIGH + 6 + (1 - row) * 8
        parts += [f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{below}" y2="{below + 6}" stroke="{colour}"/>' for at in found.lost_at]
    return parts


def _lets(trace: Trace, at: float) -> float:
    return min(max(link.rate(at) * (1 - link.loss(at)) for link in trace.links()), CEILING * 1.4)
