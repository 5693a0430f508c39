"""What came against what was sent, reckoned up while it goes on: hours need no more memory than a minute."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from tests.lab.analyse import Analyser
from tests.lab.recorder import difference
from tests.lab.stalls import Stalls

from .lab import Lab


class Ledger:
    """From when it is opened: `settle` now and then, `close` at the end."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._analyser = Analyser()
        self._longest_silence_s = 0.0
        self._stalls = Stalls()
        self._began_s = self._settled_s = time.monotonic()
        self._losses: list[dict[str, Any]] = []
        self.compared = self.lost = self.duplicated = self.disordered = 0
        place, newest = lab.wait(self._newest, what="something that is known at both ends")
        del lab.sent.datagrams[:place], lab.got.datagrams[:newest], lab.got.times[:newest]

    def _newest(self) -> tuple[int, int] | None:
        """Where the newest datagram is that is unmistakable at both ends."""
        sent, got = self._lab.sent.datagrams, self._lab.got.datagrams
        known = Counter(sent)
        newest = next((at for at in range(len(got) - 1, 0, -1) if known[got[at]] == 1), 0)
        return (sent.index(got[newest]), newest) if newest else None

    def settle(self) -> None:
        """Up to the newest common datagram, which stays as the next part's beginning."""
        ends = self._newest()
        if ends is None:
            return
        place, newest = ends
        sent, got, times = self._lab.sent.datagrams, self._lab.got.datagrams, self._lab.got.times
        part = difference(sent[: place + 1], got[: newest + 1])
        self.compared += part.compared - 1
        self.lost += part.lost
        self._note(part.lost)
        self.duplicated += part.duplicated
        self.disordered += part.disordered
        self._longest_silence_s = max(self._longest_silence_s, self._lab.got.longest_silence_s(until=times[newest]))
        self._analyser.feed(b"".join(got[:newest]))
        del sent[:place], got[:newest], times[:newest]

    def _note(self, lost: int) -> None:
        """With what this machine did meanwhile: a stall costs packets that no network took."""
        since_s, self._settled_s = self._settled_s, time.monotonic()
        if lost:
            stall_ms = round(self._stalls.longest_s(since_s) * 1000)
            self._losses.append({"after_s": round(since_s - self._began_s), "lost": lost, "longest_stall_ms": stall_ms})

    def close(self) -> dict[str, Any]:
        self._lab.flows_on(600)
        self.settle()
        self._stalls.close()
        report = self._analyser.finish()
        return {
            "compared": self.compared,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "disordered": self.disordered,
            "continuity_errors": report.continuity_errors,
            "priority_1": report.priority_1,
            "longest_silence_ms": round(self._longest_silence_s * 1000, 1),
            "stalls_of_this_machine": len(self._stalls.found),
            "longest_stall_ms": round(self._stalls.longest_s(self._began_s) * 1000),
        } | ({"losses": self._losses} if self._losses else {})
