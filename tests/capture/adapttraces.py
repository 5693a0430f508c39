"""Links that change, on which rules for the bitrate are tried. Each is well for a while first."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .linksim import Curve, Link

MBIT = 1e6
LEAD_S = 10.0


@dataclass(frozen=True)
class Trace:
    name: str
    links: Callable[[], list[Link]]
    seconds: float
    falls_at: float | None = None  # where a rule must react, to below `to_bps`
    to_bps: float = 0.0
    better_at: float | None = None  # from where on the link holds the ceiling again
    words: str = field(default="", compare=False)


def queue(ms: float, bps: float) -> int:
    return int(ms * bps / 8000)


def steps(*parts: tuple[float, float]) -> Curve:
    """(from second, value) in order."""
    return lambda s: next(value for start, value in reversed(parts) if s >= start)


def between(start: float, end: float, low: Curve | float, high: Curve | float) -> Curve:
    """`low` from start to end, else `high`."""

    def at(s: float) -> float:
        value = low if start <= s < end else high
        return value(s) if callable(value) else value

    return at


def fade(start: float, down_s: float, stay_s: float, high: float, low: float) -> Curve:
    """Down by equal factors, and up again."""

    def at(s: float) -> float:
        since = s - start
        share = min(max(since / down_s, 0), 1) - min(max((since - down_s - stay_s) / down_s, 0), 1)
        return high * math.exp(math.log(low / high) * share)

    return at


def wander(seed: int, start: float, end: float, high: float, low: float) -> Curve:
    """Another rate every two seconds, as of a phone that moves."""
    chance = random.Random(seed)
    rates = [low * (high / low) ** chance.random() for _ in range(int(end - start) // 2 + 1)]
    return lambda s: rates[int(s - start) // 2] if start <= s < end else high


def regularly(every: float, seconds: float, value: float, start: float, end: float, otherwise: float = 0.0) -> Curve:
    return lambda s: value if start <= s < end and s % every < seconds else otherwise


TEN = 10 * MBIT
END = LEAD_S + 60
TRACES = [
    Trace(
        "10 to 1 to 10 Mb/s",
        lambda: [Link(between(LEAD_S, LEAD_S + 30, 1 * MBIT, TEN), queue_bytes=queue(100, TEN))],
        LEAD_S + 90,
        LEAD_S,
        1 * MBIT,
        LEAD_S + 30,
        "a step down and, 30 s later, up; the queue holds 100 ms of 10 Mb/s",
    ),
    Trace(
        "10 to 4 to 10 Mb/s",
        lambda: [Link(between(LEAD_S, LEAD_S + 30, 4 * MBIT, TEN), queue_bytes=queue(100, TEN))],
        LEAD_S + 90,
        LEAD_S,
        4 * MBIT,
        LEAD_S + 30,
        "the same, less deep",
    ),
    Trace(
        "slow fade",
        lambda: [Link(fade(LEAD_S, 30, 10, TEN, 0.9 * MBIT), queue_bytes=queue(200, 4 * MBIT))],
        LEAD_S + 110,
        None,
        0,
        LEAD_S + 70,
        "10 to 0.9 Mb/s in 30 s by equal factors, 10 s there, and back",
    ),
    Trace(
        "outages",
        lambda: [Link(lambda s: TEN, loss=regularly(5, 0.2, 1.0, LEAD_S, END), queue_bytes=queue(100, TEN))],
        LEAD_S + 90,
        None,
        0,
        END,
        "everything is lost for 200 ms in every 5 s",
    ),
    Trace(
        "5 % lost",
        lambda: [Link(lambda s: 12 * MBIT, loss=between(LEAD_S, END, 0.05, 0.0), queue_bytes=queue(100, TEN))],
        LEAD_S + 90,
        None,
        0,
        END,
        "at random",
    ),
    Trace(
        "round trip jumps",
        lambda: [
            Link(
                lambda s: TEN,
                rtt=steps((0, 40), (LEAD_S, 180), (LEAD_S + 15, 40), (LEAD_S + 30, 260), (LEAD_S + 45, 90)),
                queue_bytes=queue(100, TEN),
            )
        ],
        LEAD_S + 75,
        None,
        0,
        LEAD_S + 45,
        "40, 180, 40, 260, 90 ms",
    ),
    Trace(
        "bufferbloat",
        lambda: [Link(between(LEAD_S, LEAD_S + 30, 3 * MBIT, TEN), queue_bytes=queue(2000, 3 * MBIT))],
        LEAD_S + 90,
        LEAD_S,
        3 * MBIT,
        LEAD_S + 30,
        "10 to 3 to 10 Mb/s with a queue of 2 s",
    ),
    Trace(
        "policed",
        lambda: [Link(between(LEAD_S, LEAD_S + 30, 3 * MBIT, TEN), queue_bytes=queue(15, 3 * MBIT))],
        LEAD_S + 90,
        LEAD_S,
        3 * MBIT,
        LEAD_S + 30,
        "10 to 3 to 10 Mb/s with next to no queue",
    ),
    Trace(
        "moving phone",
        lambda: [Link(wander(7, LEAD_S, END, TEN, 1.2 * MBIT), rtt=lambda s: 60.0, loss=lambda s: 0.005, queue_bytes=queue(300, 4 * MBIT))],
        LEAD_S + 90,
        None,
        0,
        END,
        "1.2 to 10 Mb/s, another rate every 2 s",
    ),
    Trace(
        "two paths in turn",
        lambda: [
            Link(regularly(40, 10, 1 * MBIT, LEAD_S, LEAD_S + 80, TEN), queue_bytes=queue(100, TEN), seed=1),
            Link(lambda s: regularly(40, 10, 1 * MBIT, LEAD_S + 20, LEAD_S + 100, TEN)(s + 20), queue_bytes=queue(100, TEN), seed=2),
        ],
        LEAD_S + 110,
        None,
        0,
        LEAD_S + 80,
        "A falls to 1 Mb/s for 10 s, 10 s later B does, and so on",
    ),
]
