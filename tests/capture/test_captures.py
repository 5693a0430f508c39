"""How long a capture worker may take to give its first picture."""

from __future__ import annotations

from firmware.captures import start_patience_ns


def test_a_worker_that_needs_longer_than_was_thought_gets_longer() -> None:
    """A board on which it takes half a minute to load everything: it is not ended at ten seconds for ever."""
    assert [start_patience_ns(in_vain) // 1_000_000_000 for in_vain in (0, 1, 2, 3, 4, 1000)] == [10, 20, 40, 60, 60, 60]
