"""The alarms as they stand: each change goes to the journal and then onto the board, so that no kill makes one twice or loses it."""

from __future__ import annotations

import logging
import uuid
from collections import deque
from pathlib import Path

import msgspec

from firmware.alarms.board import Alarm, Board, Kind, State, board_path, read_acknowledgements
from firmware.alarms.journal import ALARMS, Journal, Notice, read
from firmware.alarms.rules import Rule
from firmware.alarms.world import stamp
from firmware.status import read_snapshot, write_snapshot

Key = tuple[str, str, Kind, str]
"""Rule, flow, kind and end."""
CLEARED_KEPT_S = 3600.0
CLEARED_KEPT = 100
BOARD_EVERY_S = 2.5  # while nothing changes
WAITING_KEPT = 1000  # notices that the disk does not take
_RANK = {"critical": 0, "warning": 1}

_log = logging.getLogger("pressbox.alarms")


def key_of(alarm: Alarm) -> Key:
    return alarm.alarm, alarm.flow, alarm.kind, alarm.end


class Ledger:
    def __init__(self, run: Path, folder: Path) -> None:
        self._run = run
        self._journal = Journal(folder, ALARMS)
        self._waiting: deque[Notice] = deque(maxlen=WAITING_KEPT)
        self._troubled = False
        self._synced = self._journal.number
        self._acknowledged: object = "not read"
        self._changed = True
        self._written_at = 0.0
        board = read_snapshot(board_path(run), Board) or Board()
        self.audited = board.audited
        self.alarms: dict[Key, Alarm] = {key_of(alarm): alarm for alarm in board.alarms}
        after = board.number if board.number <= self._journal.number else 0
        for notice in read(folder, ALARMS):
            if notice.alarm is not None and notice.number > after:
                self.alarms[key_of(notice.alarm)] = notice.alarm

    def raised(self, key: Key, rule: Rule, before: State, reason: str, flaps: int, now: float) -> None:
        name, flow, kind, end = key
        alarm = Alarm(
            id=str(uuid.uuid4()),
            alarm=name,
            flow=flow,
            kind=kind,
            end=end,
            severity=rule.severity,
            state="ALARM",
            since=now,
            raised_at=now,
            reason=reason,
            advice=rule.advice,
            flaps=flaps,
        )
        self._tell(alarm, before, rule.condition, now)

    def cleared(self, key: Key, reason: str, now: float, condition: str = "") -> None:
        alarm = self.alarms.get(key)
        if alarm is not None and alarm.active:
            self._tell(msgspec.structs.replace(alarm, state="OK", since=now, reason=reason), "ALARM", condition, now)

    def reworded(self, key: Key, rule: Rule) -> None:
        """The rule of a raised alarm has become another one."""
        alarm = self.alarms.get(key)
        if alarm is not None and alarm.active:
            alarm.severity, alarm.advice = rule.severity, rule.advice
            self._changed = True

    def looked_up_to(self, audited: int | None) -> None:
        self._changed = self._changed or audited != self.audited
        self.audited = audited

    def write(self, now: float) -> None:
        """The board, and what the disk did not take before."""
        while self._waiting and self._add(self._waiting[0]):
            self._waiting.popleft()
        if self._synced != self._journal.number:
            self._journal.sync()
            self._synced = self._journal.number
        self._take_acknowledgements()
        self._forget(now)
        if not self._changed and abs(now - self._written_at) < BOARD_EVERY_S:
            return
        self._changed, self._written_at = False, now
        alarms = sorted(
            self.alarms.values(), key=lambda alarm: (not alarm.active, _RANK[alarm.severity] if alarm.active else 0, -alarm.since)
        )
        write_snapshot(board_path(self._run), Board(at=now, alarms=alarms, number=self._journal.number, audited=self.audited))

    def close(self) -> None:
        self._journal.close()

    def _tell(self, alarm: Alarm, before: State, condition: str, now: float) -> None:
        self.alarms[key_of(alarm)] = alarm
        self._changed = True
        notice = Notice(what="alarm", at=now, flow=alarm.flow, end=alarm.end, alarm=alarm, before=before, condition=condition)
        notice.id = str(uuid.uuid4())
        level, event = (logging.WARNING, "alarm") if alarm.active else (logging.INFO, "alarm-over")
        words = f"{alarm.alarm}, {alarm.place}: {alarm.state}: {alarm.reason}"
        _log.log(level, "%s", words, extra={"flow": alarm.flow, "path": alarm.end, "event": event})
        if self._waiting or not self._add(notice):
            self._waiting.append(notice)

    def _add(self, notice: Notice) -> bool:
        try:
            self._journal.add(notice)
        except OSError as error:
            if not self._troubled:
                _log.warning("notices cannot be written, and wait: %s", error.strerror)
            self._troubled = True
            return False
        self._troubled = False
        return True

    def _take_acknowledgements(self) -> None:
        known = stamp(self._run / "alarms.acknowledged.json")
        if known == self._acknowledged:
            return
        self._acknowledged = known
        self._changed = True
        said = read_acknowledgements(self._run)
        for alarm in self.alarms.values():
            alarm.acknowledged = said.get(alarm.id, alarm.acknowledged)

    def _forget(self, now: float) -> None:
        gone = sorted((alarm for alarm in self.alarms.values() if not alarm.active), key=lambda alarm: -alarm.since)
        for place, alarm in enumerate(gone):
            if place >= CLEARED_KEPT or not -CLEARED_KEPT_S < now - alarm.since < CLEARED_KEPT_S:
                del self.alarms[key_of(alarm)]
                self._changed = True
