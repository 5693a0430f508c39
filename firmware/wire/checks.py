"""The checks of ETSI TR 101 290, 5.2, priority 1 and 2: their names, and how faults are counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Check:
    number: str  # in TR 101 290, table 5.0 a and b
    words: str


CHECKS = {
    "sync_loss": Check("1.1", "no stream: two sync bytes wrong running, or nothing for half a second"),
    "sync_byte": Check("1.2", "a packet without the sync byte 0x47"),
    "pat": Check("1.3", "no PAT for half a second, another table in its place, or scrambled"),
    "continuity_count": Check("1.4", "packets lost, out of order, or more than twice"),
    "pmt": Check("1.5", "no PMT of a programme for half a second, or scrambled"),
    "pid": Check("1.6", "no packet of a picture or a sound for five seconds"),
    "transport": Check("2.1", "a packet that an earlier receiver marked as damaged"),
    "crc": Check("2.2", "a PAT, CAT or PMT with a wrong checksum"),
    "pcr_repetition": Check("2.3a", "more than 40 ms from PCR to PCR"),
    "pcr_discontinuity": Check("2.3b", "a PCR that jumps by more than 100 ms or backwards, unannounced"),
    "pcr_accuracy": Check("2.4", "a PCR more than 500 ns off its place in a stream of constant rate"),
    "pts": Check("2.5", "more than 700 ms from PTS to PTS"),
    "cat": Check("2.6", "scrambled packets without a CAT, or another table in its place"),
}


@dataclass(slots=True)
class Fault:
    count: int = 0
    first_ns: int | None = None
    last_ns: int | None = None


class Faults:
    """Counts by name of `CHECKS`."""

    __slots__ = ("by_name", "now_ns")

    def __init__(self) -> None:
        self.by_name: dict[str, Fault] = {}
        self.now_ns = 0  # of what is being looked at

    def count(self, name: str) -> None:
        fault = self.by_name.setdefault(name, Fault())
        fault.count += 1
        fault.last_ns = self.now_ns
        if fault.first_ns is None:
            fault.first_ns = self.now_ns


class Due:
    """Something that must come again within `limit_ns` of the stream's time."""

    __slots__ = ("limit_ns", "mark", "missed", "name", "seen_ns")

    def __init__(self, name: str, limit_ns: int, seen_ns: int) -> None:
        self.name = name
        self.limit_ns = limit_ns
        self.seen_ns = seen_ns
        self.missed = False  # counted since it came last
        self.mark: int | None = None  # the PID's next counter when it was last looked at

    def came(self, now_ns: int) -> None:
        self.seen_ns = now_ns
        self.missed = False

    def is_late(self, now_ns: int) -> bool:
        """Once for each `limit_ns` without it."""
        if now_ns - self.seen_ns <= self.limit_ns:
            return False
        self.seen_ns += self.limit_ns
        self.missed = True
        return True
