"""What the button does: nothing that a person could not do at the console, recorded in the same log, refused by the same locks."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from appliance.boxstate import Known, faults
from appliance.lights import Fault
from appliance.panelstatus import ask_for, identify, identifying
from firmware.alarms.board import acknowledge, read_alarms
from firmware.audit import Audit
from firmware.places import Places
from hw.button import Action

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firmware.store import Kept

WHO, ORIGIN = "button", "panel"

log = logging.getLogger("pressbox.panel")


class Actions:
    """`do` returns at once; what takes time (a disk, the engine) is done in a thread, one thing after the other. Lamps never wait."""

    def __init__(self, places: Places, see: Callable[[list[Fault]], None]) -> None:
        self.places, self._see = places, see
        self.last = ""  # in words
        self._jobs: queue.SimpleQueue[Callable[[], str]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, action: Action, known: Known) -> None:
        name = known.told.name
        if action == "press":
            self._pressed(known)
        elif action == "start-stop":
            self._soon(lambda: start_or_stop(self.places, name))
        else:
            self._soon(lambda: asked(self.places, action))

    def _pressed(self, known: Known) -> None:
        fresh = [fault for fault in faults(known) if fault not in known.seen]
        self._see(fresh)
        alarms = [alarm for alarm in read_alarms(self.places).active if alarm.acknowledged is None]
        if fresh or alarms:
            self.last = "acknowledged " + ", ".join([*fresh, *(alarm.alarm for alarm in alarms)])
            self._soon(lambda: self._acknowledged([(alarm.id, alarm.alarm, alarm.flow) for alarm in alarms]))
            return
        ends = identifying(self.places)
        identify(self.places, 0.0) if ends else identify(self.places)
        self.last = "identify ended" if ends else "identify"

    def _acknowledged(self, alarms: Sequence[tuple[str, str, str]]) -> str:
        for alarm_id, name, flow in alarms:
            after = {"alarm": name, "id": alarm_id}
            Audit(self.places.audit).record(WHO, "alarm.ack", flow or "host", role="operator", origin=ORIGIN, after=after)
            acknowledge(self.places, alarm_id, WHO)
        return self.last

    def _soon(self, job: Callable[[], str]) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="button", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                self.last = job()
            except (RuntimeError, ValueError, OSError) as error:  # Locked, AuditError, StoreError, Refused, FlowError: each a sentence
                self.last = f"refused: {error}"
            log.info("button: %s", self.last)


def start_or_stop(places: Places, name: str) -> str:
    from appliance.locks import Locked, check
    from appliance.service import Service
    from firmware.audit import Audit

    if not name:
        return "refused: there is no flow to start or stop"
    service, audit = Service(places, patient=True), Audit(places.audit)
    starts = service.get(name).desired != "ACTIVE"
    desired: Literal["ACTIVE", "STANDBY"] = "ACTIVE" if starts else "STANDBY"
    what = "StartFlow" if starts else "StopFlow"

    def become(kept: Kept, _: Sequence[Kept]) -> Kept | None:
        after = replace(kept, desired=desired)
        check(kept, after)
        before, later = {"desired": kept.desired}, {"desired": desired}
        audit.record(WHO, what, name, role="operator", origin=ORIGIN, before=before, after=later)
        return after

    try:
        service.change(name, become)
    except Locked as locked:
        audit.record(WHO, what, name, role="operator", origin=ORIGIN, outcome="refused", why=str(locked))
        raise
    return f"{'started' if starts else 'stopped'} {name}"


def asked(places: Places, what: Literal["set-up", "factory"]) -> str:
    """It is written down for whoever can do it; until then nothing happens, and the lamps say nothing else."""
    Audit(places.audit).record(WHO, f"panel.{what}", "host", role="operator", origin=ORIGIN)
    ask_for(places, what)
    return f"asked for {'set-up' if what == 'set-up' else 'factory settings'}"
