"""What a sequence parameter set says (H.264, 7.3.2.1.1 and annex E), read by somebody else than who wrote it."""

from __future__ import annotations

from dataclasses import dataclass

from hw.h264 import SPS, nals

HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128)


class Bits:
    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data.replace(b"\0\0\3", b"\0\0"))
        self._at = 0

    def take(self, count: int) -> int:
        self._at += count
        return int(self._text[self._at - count : self._at], 2)

    def golomb(self) -> int:
        zeros = self._text.index("1", self._at) - self._at
        self._at += zeros
        return self.take(zeros + 1) - 1

    def signed_golomb(self) -> int:
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)


@dataclass
class Sps:
    profile: int
    level: int
    units_in_tick: int = 0
    time_scale: int = 0
    fixed_rate: bool = False
    reorders: int | None = None  # pictures; None where it does not say

    @property
    def fps(self) -> float:
        return self.time_scale / self.units_in_tick / 2 if self.units_in_tick else 0.0


def sps_of(data: bytes) -> Sps:
    place = next(place for kind, place in nals(data) if kind == SPS)
    bits = Bits(data[place + 1 :])
    profile, _, level = bits.take(8), bits.take(8), bits.take(8)
    found = Sps(profile, level)
    bits.golomb()
    if profile in HIGH_PROFILES:
        _skip_high(bits)
    bits.golomb()
    _skip_order(bits)
    bits.golomb()
    bits.take(1)
    bits.golomb(), bits.golomb()
    if not bits.take(1):
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        _ = [bits.golomb() for _ in range(4)]
    if bits.take(1):
        _read_vui(bits, found)
    return found


def _skip_high(bits: Bits) -> None:
    if bits.golomb() == 3:
        bits.take(1)
    bits.golomb(), bits.golomb(), bits.take(1)
    assert not bits.take(1), "scaling matrices are not read here"


def _skip_order(bits: Bits) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.take(1), bits.signed_golomb(), bits.signed_golomb()
        _ = [bits.signed_golomb() for _ in range(bits.golomb())]


def _read_vui(bits: Bits, found: Sps) -> None:
    if bits.take(1) and bits.take(8) == 255:
        bits.take(32)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.golomb(), bits.golomb()
    if bits.take(1):
        found.units_in_tick, found.time_scale, found.fixed_rate = bits.take(32), bits.take(32), bool(bits.take(1))
    hrd = [_skip_hrd(bits) for _ in range(2) if bits.take(1)]
    if hrd:
        bits.take(1)
    bits.take(1)
    if bits.take(1):
        bits.take(1)
        _ = [bits.golomb() for _ in range(4)]
        found.reorders = bits.golomb()


def _skip_hrd(bits: Bits) -> bool:
    count = bits.golomb() + 1
    bits.take(8)
    for _ in range(count):
        bits.golomb(), bits.golomb(), bits.take(1)
    bits.take(20)
    return True


def slice_type(data: bytes) -> int:
    """0 P, 1 B, 2 I (7.4.3), of the first slice of a picture."""
    place = next(place for kind, place in nals(data) if kind in (1, 5))
    bits = Bits(data[place + 1 : place + 24])
    bits.golomb()
    return bits.golomb() % 5
