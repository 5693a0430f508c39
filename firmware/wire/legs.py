"""What the merge knows of each datagram, and of each leg that brings them."""

from __future__ import annotations

from collections import OrderedDict

HoldItem = tuple[bytes, int]  # a datagram, and when it came


class Slot:
    """A place in the stream, and what fills it."""

    __slots__ = ("arrival_ns", "datagram", "leg", "legs", "time_ns", "whole")

    def __init__(self, datagram: bytes, time_ns: int, leg: int, arrival_ns: int, whole: bool) -> None:
        self.datagram = datagram
        self.time_ns = time_ns
        self.leg = leg
        self.arrival_ns = arrival_ns
        self.legs = 1 << leg
        self.whole = whole  # some leg brought it as it was sent, not rebuilt


class Leg:
    """One copy of the stream, and what it was good for. Counters are datagrams."""

    __slots__ = (
        "bad",
        "delivered_ns",
        "held",
        "keys",
        "lag_ns",
        "late",
        "late_since_ns",
        "measured_ns",
        "missed",
        "offered_ns",
        "offset",
        "received",
        "relocks",
        "report",
        "saved",
        "stray",
    )

    def __init__(self) -> None:
        self.offset: int | None = None
        self.lag_ns = 0.0
        self.measured_ns = 0  # when the lag was last looked at
        self.late_since_ns: int | None = None  # since when it has brought nothing in time
        self.bad = self.stray = 0
        self.held: OrderedDict[int, HoldItem] = OrderedDict()
        self.keys: dict[bytes, int] = {}
        self.delivered_ns: int | None = None  # last arrival
        self.offered_ns: int | None = None  # since when it offers datagrams without a lock
        self.received = self.late = self.saved = self.relocks = 0
        self.missed = 0  # released, and this leg never brought them: what it alone would have lost
        self.report = ""  # why this leg does not help, in words

    @property
    def differs(self) -> bool:
        """It brings a stream for a while, and that cannot be matched with the other's."""
        return self.offset is None and bool(self.report)
