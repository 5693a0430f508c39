from __future__ import annotations

import pytest

from appliance.api.faults import TooManyRequests
from appliance.api.rates import MOST_KEYS, Rates


def taken(rates: Rates, operation: str, now_s: float, key: str = "k") -> int:
    """How many requests at this moment are let through."""
    for count in range(1000):
        try:
            rates.take(key, operation, now_s)
        except TooManyRequests:
            return count
    return 1000


def test_a_burst_and_then_so_many_a_second():
    rates = Rates()
    assert taken(rates, "ListFlows", 10.0) == 30
    assert taken(rates, "StartFlow", 10.5) == 2
    assert taken(rates, "ListFlows", 100.0) == 30
    assert taken(rates, "DescribeFlow", 100.0) == 30
    assert taken(rates, "DescribeFlow", 100.5) == 15
    assert taken(Rates(2), "ListFlows", 0.0) == 60


def test_keys_have_hands_of_their_own_and_few_are_remembered():
    rates = Rates()
    assert taken(rates, "ListFlows", 0.0, "a") == 30
    assert taken(rates, "ListFlows", 0.0, "b") == 30
    for number in range(MOST_KEYS):
        rates.take(str(number), "ListFlows", 0.0)
    assert len(rates._hands) == MOST_KEYS
    taken(rates, "StopFlow", 0.0, "c")
    with pytest.raises(TooManyRequests, match="more than 5 operations a second with this key"):
        rates.take("c", "StopFlow", 0.0)
