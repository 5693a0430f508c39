"""How evenly packets leave: what a cost must be read beside, because who sends in bursts sleeps longer and costs less."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from tests.bench.ports import Packet

BACK_TO_BACK_NS = 50_000
FEWEST = 100  # packets for a judgement
ALIKE = 2.5  # up to so many times as many packets in 5 ms
APART = 0.25  # of the share of gaps under 50 us


@dataclass(frozen=True)
class Shape:
    """Of the packets that carry the stream, by the kernel's time of their arrival on loopback, which is that of their departure."""

    packets: float
    back_to_back: float  # share of gaps under 50 us
    in_1_ms: float  # most packets in any
    usual_in_1_ms: float  # 99 of 100 stretches hold no more: one stall of the machine does not show here
    in_5_ms: float
    usual_in_5_ms: float
    longest_gap_ms: float
    spread_ms: float  # around the line of constant rate that fits best; the middle 99 %
    rate: float  # packets a second

    def compared(self, other: Shape) -> str:
        """In words: a cost may only be held against that of a sender whose packets leave alike."""
        more = self.back_to_back - other.back_to_back
        if abs(more) < APART:
            few, many = sorted((self.usual_in_5_ms, other.usual_in_5_ms))
            if many <= ALIKE * max(few, 1):
                return "alike"
            more = self.usual_in_5_ms - other.usual_in_5_ms
        return f"NOT COMPARABLE: {'ours' if more > 0 else 'the peer'} bursts"


def shape_of(packets: Sequence[Packet]) -> Shape | None:
    """Around the line are those of the stream; bursts are counted with FEC, which the network must carry too. None where too few came."""
    media = min((packet.place for packet in packets), default=0)
    stream = sorted(packet.at_ns for packet in packets if packet.place == media)
    if len(stream) < FEWEST:
        return None
    times_ns = sorted(packet.at_ns for packet in packets)
    gaps = [later - earlier for earlier, later in pairwise(times_ns)]
    off = sorted(offsets_ns(stream))
    ones, fives = sorted(within(times_ns, 1_000_000)), sorted(within(times_ns, 5_000_000))
    count = len(times_ns)
    return Shape(
        packets=count,
        back_to_back=sum(gap < BACK_TO_BACK_NS for gap in gaps) / len(gaps),
        in_1_ms=ones[-1],
        usual_in_1_ms=ones[int(count * 0.99)],
        in_5_ms=fives[-1],
        usual_in_5_ms=fives[int(count * 0.99)],
        longest_gap_ms=max(gaps) / 1e6,
        spread_ms=(off[int(len(off) * 0.995)] - off[int(len(off) * 0.005)]) / 1e6,
        rate=(len(stream) - 1) / (stream[-1] - stream[0]) * 1e9,
    )


def offsets_ns(times_ns: list[int]) -> list[float]:
    """How much later than on the line of constant rate that fits all of them best (least squares)."""
    middle = (len(times_ns) - 1) / 2
    mean_ns = statistics.fmean(time_ns - times_ns[0] for time_ns in times_ns)
    square = sum((number - middle) ** 2 for number in range(len(times_ns)))
    gap_ns = sum((number - middle) * (time_ns - times_ns[0] - mean_ns) for number, time_ns in enumerate(times_ns)) / square
    return [time_ns - times_ns[0] - mean_ns - (number - middle) * gap_ns for number, time_ns in enumerate(times_ns)]


def within(times_ns: list[int], span_ns: int) -> list[int]:
    """How many packets there are in the `span_ns` that begin with each."""
    return [bisect_right(times_ns, time_ns + span_ns) - number for number, time_ns in enumerate(times_ns)]


def median_shape(shapes: Sequence[Shape]) -> Shape:
    """Each figure's own median."""
    return Shape(*(statistics.median(getattr(shape, figure.name) for shape in shapes) for figure in fields(Shape)))
