"""Figures as the pages write them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from appliance.account import IN_THE_CLEAR
from firmware.status import EndStatus

THIN = "\N{NARROW NO-BREAK SPACE}"
WIDTH, HEIGHT = 120, 26  # of a sparkline, in its own units
GAP_S = 3.0  # without a sample for longer, the line breaks


def count(number: int) -> str:
    if number < 10_000_000:
        return f"{number:,}".replace(",", THIN)
    return f"{number / 1e6:.1f}{THIN}M" if number < 1e9 else f"{number / 1e9:.2f}{THIN}G"


def rate(bps: float) -> str:
    if bps < 999_500:
        return f"{bps / 1e3:.0f}{THIN}kb/s"
    return f"{bps / 1e6:.2f}{THIN}Mb/s" if bps < 9.995e6 else f"{bps / 1e6:.1f}{THIN}Mb/s"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}{THIN}ms" if abs(value) < 10 else f"{value:.0f}{THIN}ms"


def percent(value: float) -> str:
    return f"{value:.0f}{THIN}%" if not value or value >= 10 else f"{value:.2f}{THIN}%" if value >= 0.01 else f"<{THIN}0.01{THIN}%"


def number(value: float) -> str:
    """A count, or the average of counts."""
    return count(round(value)) if value == round(value) or value >= 100 else f"{value:.2f}"


def shortened(text: str) -> str:
    """What a stranger wrote, as far as an error repeats it."""
    return text if len(text) <= 64 else f"{text[:63]}…"


def duration(seconds: float) -> str:
    whole = int(max(0, seconds))
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}{THIN}d {clock}" if days else clock


def protocol(tag: str) -> str:
    """`srt-listener` as a person says it."""
    name, _, side = tag.partition("-")
    side = "+ FEC" if side == "fec" else side
    return f"{name.upper()} {side}".strip() if name in ("srt", "rist", "rtp", "udp") else tag


def exposed(end: EndStatus) -> bool:
    """In the clear, and not on this machine alone."""
    return end.encryption == IN_THE_CLEAR and not end.peer.startswith(("127.", "[::1]", "::1:", "localhost:"))


def sparkline(samples: Iterable[tuple[float, float]], span_s: float = 60.0) -> list[str]:
    """Points of one polyline for each unbroken run; the newest moment is at the right edge, 0 at the bottom."""
    samples = list(samples)
    top = max((value for _, value in samples), default=0.0) * 1.15 or 1.0
    now = time.monotonic()
    runs: list[list[str]] = []
    previous = float("-inf")
    for at, value in samples:
        if at - previous > GAP_S:
            runs.append([])
        x = max(0.0, WIDTH * (1 - (now - at) / span_s))
        runs[-1].append(f"{x:.1f},{HEIGHT - 1 - value / top * (HEIGHT - 2):.1f}")
        previous = at
    return [" ".join(run) for run in runs if len(run) > 1]
