"""Numbers that wrap, made numbers that grow."""

from __future__ import annotations


class Unwrap:
    """Turns `bits`-wide counters (RTP: 16, SRT packet number: 31, PTS: 33) into ints that keep growing across the wrap.

    A step of less than half the range, either way, is taken as that step; the first number stands for itself.
    """

    __slots__ = ("_half", "_last", "_modulus")

    def __init__(self, bits: int) -> None:
        self._modulus = 1 << bits
        self._half = self._modulus >> 1
        self._last: int | None = None

    def __call__(self, number: int) -> int:
        if self._last is None:
            self._last = number
            return number
        step = (number - self._last) % self._modulus
        if step >= self._half:
            step -= self._modulus
        self._last += step
        return self._last
