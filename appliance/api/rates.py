"""How often a key may ask, as MediaConnect limits it: each has so many requests in hand, and gets back so many a second."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from appliance.api.faults import TooManyRequests

OFTEN = frozenset({"DescribeFlow", "DescribeFlowSourceMetadata", "DescribeFlowSourceThumbnail"})
MOST_KEYS = 1000  # that are remembered at once


@dataclass(slots=True)
class _Hand:
    requests: float
    at_s: float


class Rates:
    """`factor` times MediaConnect's limits: 30 requests a second of the operations that are polled, 5 of all others; 30 at once."""

    def __init__(self, factor: float = 1.0) -> None:
        self._a_second = {True: 30 * factor, False: 5 * factor}
        self._at_once = 30 * factor
        self._hands: OrderedDict[tuple[str, bool], _Hand] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key_id: str, operation: str, now_s: float) -> None:
        """TooManyRequests when the key has none in hand. `now_s` is monotonic."""
        often = operation in OFTEN
        with self._lock:
            hand = self._hands.pop((key_id, often), None) or _Hand(self._at_once, now_s)
            self._hands[key_id, often] = hand
            if len(self._hands) > MOST_KEYS:
                self._hands.popitem(last=False)
            hand.requests = min(self._at_once, hand.requests + (now_s - hand.at_s) * self._a_second[often])
            hand.at_s = now_s
            if hand.requests < 1:
                what = "polling operations" if often else "operations"
                raise TooManyRequests(f"more than {self._a_second[often]:g} {what} a second with this key; wait a moment")
            hand.requests -= 1
