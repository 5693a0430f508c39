"""The watcher: once a second it looks at everything, judges it, and tells what changed. A process of its own, which nothing waits for.

    echo '{"run": "/run/pressbox", "state": "/var/lib/pressbox"}' | python -m firmware.alarms.watcher

It ends when stdin does.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from pathlib import Path

import msgspec

from firmware.alarms.flowwatch import FlowWatch, Judges
from firmware.alarms.journal import EVENTS, Journal, Notice
from firmware.alarms.ledger import Ledger
from firmware.alarms.points import host_points
from firmware.alarms.rules import Rule
from firmware.alarms.settings import FOLDER, AlarmError, Settings, read_settings, settings_path
from firmware.alarms.world import Definitions, Overrides, Stamp, stamp
from firmware.alone import hold
from firmware.boxwatch import BoxWatch
from firmware.places import Places
from firmware.private import make_folder
from hw import systemd

SNAPSHOT = ".flow.json"
NICENESS = 10

_log = logging.getLogger("pressbox.alarms")


class Config(msgspec.Struct, forbid_unknown_fields=True):
    run: str
    state: str


class Watcher:
    """`look` once a second."""

    def __init__(self, config: Config) -> None:
        self.places = Places(Path(config.state), Path(config.run))
        folder = self.places.state / FOLDER
        self.ledger = Ledger(self.places.run, folder)
        self._events = Journal(folder, EVENTS)
        self._definitions = Definitions(self.places.store)
        self._overrides = Overrides(self.places.audit, self.ledger.audited)
        self._rules: list[Rule] = []
        self._settings: Stamp | str | None = "not read"
        self._flows: dict[str, FlowWatch] = {}
        self._host = Judges("", self.ledger)
        self._box = BoxWatch(self.places)
        for name in {alarm.flow for alarm in self.ledger.alarms.values()} - {""}:
            self._flow(name)
        self.failures = 0

    def look(self, now: float, now_s: float) -> None:
        """`now`: Unix time; `now_s`: of a clock that never jumps."""
        self._read_settings()
        self._definitions.look()
        overridden = {override.flow: override.words for override in self._overrides.look()}
        self.ledger.looked_up_to(self._overrides.number)
        with os.scandir(self.places.run) as entries:
            names = {entry.name.removesuffix(SNAPSHOT) for entry in entries if entry.name.endswith(SNAPSHOT)}
        for name in names | self._definitions.flows.keys():
            wanted = self._definitions.flows.get(name)
            notices = self._flow(name).look(now, now_s, wanted, self._rules, overridden.get(name, ""))
            self._tell(name, notices, now)
        for name in self._flows.keys() - names - self._definitions.flows.keys():
            self._tell(name, self._flows.pop(name).gone(now), now)
        self._box.look(now_s)
        found = host_points(self.places.state, self.places.run, self._box.status)
        self._host.arrange([place for place, _ in found], self._rules, now, now_s)
        self._host.push(found, None, now, now_s)
        self.ledger.write(now)

    def close(self) -> None:
        self.ledger.close()
        self._events.close()
        self._overrides.close()

    def _flow(self, name: str) -> FlowWatch:
        if name not in self._flows:
            self._flows[name] = FlowWatch(name, self.places.snapshot(name), self.places.capture_snapshot(name), self.ledger)
        return self._flows[name]

    def _tell(self, flow: str, notices: list[Notice], now: float) -> None:
        for notice in notices:
            try:
                self._events.add(msgspec.structs.replace(notice, flow=flow, at=now))
            except OSError as error:
                self.failures += 1
                if self.failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th …
                    _log.warning("%d events could not be written: %s", self.failures, error.strerror)

    def _read_settings(self) -> None:
        seen = stamp(settings_path(self.places.state))
        if seen == self._settings:
            return
        self._settings = seen
        try:
            self._rules = read_settings(self.places.state).rules
        except AlarmError as error:
            _log.warning("%s", error)
            self._rules = self._rules or Settings().rules


def main() -> None:
    journal = systemd.journal(inherited=True)
    logging.basicConfig(format="alarms: %(message)s", level=logging.INFO, handlers=[journal] if journal else None)
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    os.nice(NICENESS)
    make_folder(Path(config.state) / FOLDER)
    lock = hold(Path(config.state) / FOLDER / "watcher.lock")
    if lock is None:
        sys.exit(f"another one watches {config.state}")
    watcher = Watcher(config)
    while True:
        try:
            watcher.look(time.time(), time.monotonic())
        except OSError as error:
            _log.warning("nothing is watched: %s", error)
        wait_s = 1.0 - (time.monotonic() + 0.25) % 1  # once in each second, on the clock that never jumps
        readable, _, _ = select.select([sys.stdin], [], [], max(0.05, wait_s))
        if readable and not os.read(sys.stdin.fileno(), 4096):
            watcher.close()
            return


if __name__ == "__main__":
    main()
