"""No bytes from outside break a promise: see `tests/fuzz/targets.py`. `scripts/fuzz` runs the same targets for longer."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds

EXAMPLES = 60


def near(name: str) -> st.SearchStrategy[bytes]:
    """A seed of the target with some bytes changed, put in or left out."""

    def change(drawn: tuple[bytes, int, int]) -> bytes:
        data, seed, changes = drawn
        chance, spoilt = random.Random(seed), bytearray(data)
        for _ in range(changes):
            at = chance.randrange(len(spoilt) + 1)
            spoilt[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        return bytes(spoilt)

    return st.tuples(st.sampled_from(seeds(name)), st.integers(0, 1 << 32), st.integers(0, 8)).map(change)


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_promise(name):
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.one_of(near(name), st.binary(max_size=1600)))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_hold(name):
    for seed in seeds(name):
        TARGETS[name](seed)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_a_url_that_fails_otherwise(text):
    TARGETS["url"](text.encode(errors="surrogatepass"))
