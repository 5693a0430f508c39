"""A courier takes the notices of the journal to one destination, in their order, each until it is taken. He waits for nobody else's.

Where he is he writes down after each: killed in between, he brings one notice a second time, with the same id, and never leaves one out.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from appliance.alarms.undelivered import Undelivered, Unwanted
from firmware.alarms.journal import ALARMS, EVENTS, Follower, Notice

LOOK_S = 0.5
LONGEST_WAIT_S = 60.0
TRIES_OF_UNWANTED = 3

_log = logging.getLogger("pressbox.alarms")


class Sender(Protocol):
    def keep(self) -> None: ...
    def send(self, notice: Notice) -> None: ...
    def close(self) -> None: ...


class Patience(NamedTuple):
    first_wait_s: float = 1.0
    oldest_s: float = 86_400.0  # what was not taken for a day of trying is news to nobody


PATIENCE = Patience()


class Place(msgspec.Struct, kw_only=True):
    """How far a courier is, and how he fares. Kept over restarts."""

    alarms: int = 0
    events: int = 0
    delivered: int = 0
    missed: int = 0  # gone before they could be brought: too old, or pushed out of the journal
    unwanted: int = 0  # which the far end did not take
    last_at: float = 0.0  # Unix time of the last one that was taken
    error: str = ""  # why it is not taken now
    failing_since: float = 0.0


class Courier(threading.Thread):
    def __init__(
        self, name: str, sender: Sender, folder: Path, since: tuple[int, int], *, events: bool, patience: Patience = PATIENCE
    ) -> None:
        super().__init__(name=f"to {name}", daemon=True)
        self.destination = name
        self.disowned = False  # another one brings them on
        self._sender = sender
        self._path = place_path(folder, name)
        self.place = read_place(folder, name)
        self.place.alarms, self.place.events = max(self.place.alarms, since[0]), max(self.place.events, since[1])
        self._alarms = Follower(folder, ALARMS, self.place.alarms)
        self._events = Follower(folder, EVENTS, self.place.events) if events else None
        self._patience = patience
        self._well_s = time.monotonic()  # when he last brought something, or had nothing to bring
        self._over = threading.Event()

    def run(self) -> None:
        failures = 0
        while not self._over.is_set():
            wait_s = LOOK_S
            try:
                if self._bring_one():
                    wait_s = 0.0
                else:
                    self._sender.keep()
                    self._idle()
                failures, self._well_s = 0, time.monotonic()
            except Undelivered as error:
                failures += 1
                self._failed(str(error), unwanted=isinstance(error, Unwanted) and failures >= TRIES_OF_UNWANTED)
                wait_s = waiting_s(failures, self._patience.first_wait_s)
            except OSError as error:  # of our own disk
                _log.warning("%s: %s", self.destination, error.strerror)
                wait_s = LONGEST_WAIT_S
            self._over.wait(wait_s)
        self._sender.close()
        for follower in self._followers():
            follower.close()

    def stop(self) -> None:
        self._over.set()

    def _followers(self) -> list[Follower]:
        return [self._alarms, *([self._events] if self._events else [])]

    def _bring_one(self) -> bool:
        """The next alarm, else the next event; False where all is told."""
        for follower in self._followers():
            while (notice := follower.next()) is not None:
                if self._is_too_old(notice):
                    self._pass(follower, missed=1)
                    continue
                self._sender.send(notice)
                self.place.delivered += 1
                self.place.last_at, self.place.error, self.place.failing_since = time.time(), "", 0.0
                self._pass(follower)
                return True
        return False

    def _is_too_old(self, notice: Notice) -> bool:
        """By the clock, which may jump, and by how long it has been tried."""
        return min(time.time() - notice.at, time.monotonic() - self._well_s) > self._patience.oldest_s

    def _idle(self) -> None:
        """There is nothing to bring, and he could."""
        if self.place.error:
            self.place.error, self.place.failing_since = "", 0.0
            self._write()

    def _pass(self, follower: Follower, missed: int = 0) -> None:
        self.place.missed += follower.missed + missed
        if follower.missed or missed:
            _log.warning("%s: %d notices were gone before they could be told", self.destination, self.place.missed)
        follower.missed = 0
        follower.passed()
        self.place.alarms = self._alarms.after
        self.place.events = self._events.after if self._events else self.place.events
        self._write()

    def _failed(self, why: str, *, unwanted: bool) -> None:
        if why != self.place.error:
            _log.warning("%s: %s; it is tried again", self.destination, why)
        self.place.error = why
        self.place.failing_since = self.place.failing_since or time.time()
        if unwanted:
            self.place.unwanted += 1
            self._pass(next(follower for follower in self._followers() if follower.next() is not None))
        else:
            self._write()

    def _write(self) -> None:
        if self.disowned:
            return
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self.place))
        os.replace(fresh, self._path)


def waiting_s(failures: int, first_s: float = PATIENCE.first_wait_s) -> float:
    """Twice as long after each failure, and never all couriers at once."""
    return random.uniform(0.5, 1.0) * min(LONGEST_WAIT_S, first_s * 2.0 ** min(failures - 1, 20))  # noqa: S311


def place_path(folder: Path, name: str) -> Path:
    return folder / f"to-{name}.json"


def read_place(folder: Path, name: str) -> Place:
    try:
        return msgspec.json.decode(place_path(folder, name).read_bytes(), type=Place)
    except (OSError, msgspec.DecodeError):
        return Place()
