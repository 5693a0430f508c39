"""What this process may not do itself and asks for: a USB port power-cycled, a driver bound anew, this machine started anew.

The request is a file in the run folder. A small root service that does nothing else takes it up (`appliance.rescued`): it
decides whether it may be, and writes down what was done. Where there is no such service, nothing is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import msgspec

from firmware.places import Places
from firmware.status import Event, read_snapshot, write_snapshot

Need = Literal["power-cycle", "reboot"]

log = logging.getLogger("pressbox.rescue")


class Request(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    need: Need
    camera: str
    at: float  # Unix time


class Done(msgspec.Struct, kw_only=True):
    """What the service did, the newest last, in words."""

    events: list[Event] = []


class Rescue:
    def __init__(self, places: Places) -> None:
        self._places = places
        self.live: Callable[[], bool] = lambda: False  # whether some camera of this machine is live: then it is not started anew

    def ask(self, need: Need, camera: str) -> None:
        if need == "reboot" and self.live():
            log.warning("%s is there and gives no picture; this machine stays up, for another camera is live", camera)
            return
        log.warning("%s is there and gives no picture; asked for: %s", camera, need)
        with suppress(OSError):  # a full disk is said by others
            write_snapshot(self._places.rescue, Request(need=need, camera=camera, at=time.time()))


def what_was_done(places: Places) -> list[Event]:
    done = read_snapshot(places.rescued, Done)
    return done.events if done else []
