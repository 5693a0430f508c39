"""The passphrase of an SRT end while it is being replaced: the secret's value, and for a while its former one too.

One that dials tries the value, then the former one. One that listens cannot tell which of them a caller has until that has failed with
the other: so each caller is offered them by turns. Connections that are up go on; `Renewal` has those that dialled with the former one
dial again, one at a time, so that of two paths one always carries.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

WAIT_NS = 30_000_000_000  # a value that the far end does not know yet is tried again after so long
RENEW_NS = 3_000_000_000
BY_FORMER = "connected with the former passphrase"
WRONG = 10  # libsrt's reject code
MOST_CALLERS = 256


class Passphrases:
    def __init__(self, current: str) -> None:
        self.current = current
        self.former = ""
        self._refused_ns = -WAIT_NS
        self._in_vain: OrderedDict[str, str] = OrderedDict()  # by address: what was offered last, until somebody there is in
        self._offered: OrderedDict[tuple[str, int], str] = OrderedDict()  # by address and port

    def become(self, current: str, former: str) -> None:
        if current != self.current:
            self._refused_ns = -WAIT_NS
        self.current, self.former = current, former

    def takes(self, passphrase: str) -> bool:
        return passphrase in (self.current, self.former)

    # for one that dials

    def to_dial(self) -> str:
        return self.former if self.former and self._lately_refused else self.current

    def refused(self, passphrase: str, code: int) -> bool:
        """Whether it is worth dialling again at once, with the other one."""
        if code != WRONG or passphrase != self.current or not self.former:
            return False
        self._refused_ns = time.monotonic_ns()
        return True

    def is_outdated(self, passphrase: str) -> bool:
        """Of a connection: whether it could be one by the current passphrase."""
        return passphrase != self.current and not self._lately_refused

    @property
    def _lately_refused(self) -> bool:
        return time.monotonic_ns() - self._refused_ns < WAIT_NS

    # for one that listens; from the threads of libsrt

    def to_offer(self, address: str, port: int) -> str:
        offered = self.former if self.former and self._in_vain.get(address) == self.current else self.current
        _remember(self._in_vain, address, offered)
        _remember(self._offered, (address, port), offered)
        return offered

    def let_in(self, address: str, port: int) -> str:
        """What it came in with."""
        self._in_vain.pop(address, None)
        return self._offered.pop((address, port), self.current)


@runtime_checkable
class Dials(Protocol):
    """An end that dials, and whether it should again."""

    @property
    def is_up(self) -> bool: ...

    @property
    def outdated(self) -> bool: ...

    def redial(self) -> None: ...


class Renewal:
    """Of the connections of a flow."""

    def __init__(self) -> None:
        self._next_ns = 0

    def tick(self, ends: Sequence[object], now_ns: int) -> None:
        if now_ns < self._next_ns:
            return
        dialling = [end for end in ends if isinstance(end, Dials)]
        outdated = next((end for end in dialling if end.outdated), None)
        if outdated is not None and all(end.is_up for end in dialling):
            self._next_ns = now_ns + RENEW_NS
            outdated.redial()


def _remember(memory: OrderedDict, key: object, passphrase: str) -> None:  # type: ignore[type-arg]
    memory[key] = passphrase
    memory.move_to_end(key)
    if len(memory) > MOST_CALLERS:
        memory.popitem(last=False)
