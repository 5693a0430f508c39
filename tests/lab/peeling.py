"""What FEC can repair at all: the ideal peeling decoder over sets of numbers, with all the time and memory of the world.

It shares no code with the firmware: it reads the two fields of an FEC packet that it needs by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable


def protected(fec: bytes, near: int) -> range:
    """The unwrapped numbers that a packet of ST 2022-1 protects; `near` is that of the media packet before it."""
    base = near - (near - int.from_bytes(fec[12:14], "big")) % 0x10000
    offset, count = fec[25], fec[26]
    return range(base, base + offset * count, offset)


def ideal(lost: set[int], sets: Iterable[range]) -> set[int]:
    """Which of the lost ones come back: whatever is alone in a set, until there is no such set."""
    open_sets = [holes for members in sets if (holes := lost.intersection(members))]
    in_sets: dict[int, list[set[int]]] = defaultdict(list)
    for holes in open_sets:
        for number in holes:
            in_sets[number].append(holes)
    ready = [holes for holes in open_sets if len(holes) == 1]
    repaired: set[int] = set()
    while ready:
        alone = ready.pop()
        if not alone:
            continue
        (number,) = alone
        repaired.add(number)
        for holes in in_sets[number]:
            holes.discard(number)
            if len(holes) == 1:
                ready.append(holes)
    return repaired
