"""What a person may do with flows: validate, store, have it applied. The command line, the pages and the API all come through here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from appliance import rehearsal
from appliance.ask import Refused, ask
from appliance.keys import check_secrets
from appliance.locks import Lock, Locked, check, lock_of, told, with_lock
from appliance.recent import Recent
from appliance.whoami import console_user
from firmware.audit import Audit
from firmware.model import Flow, FlowError
from firmware.places import Places
from firmware.secrets import Secrets
from firmware.status import FlowStatus, read_snapshot
from firmware.store import Become, Kept, Make, Store
from hw.camera import check_camera

if TYPE_CHECKING:
    from appliance.plan import Change

log = logging.getLogger("pressbox.service")


class Service:
    """What is changed by name is recorded as done by the user of this process; callers of `add` and `change` record for themselves."""

    def __init__(self, places: Places, *, patient: bool = False) -> None:
        """`patient`: a change that is kept is done, though the engine did not apply it at once: its state shows. Else that is an error."""
        places.create()
        self._patient = patient
        self.places = places
        self.store = Store(places.store)
        self._recent = Recent(self.store)
        self.secrets = Secrets(places.secrets)
        self.audit = Audit(places.audit)

    def create(self, flow: Flow, *, start: bool = False) -> None:
        self._check(flow)
        kept = Kept(flow, "ACTIVE" if start else "STANDBY")

        def make(every: Sequence[Kept]) -> Kept:
            if flow.name not in [one.flow.name for one in every]:  # else the store refuses it
                self._record("CreateFlow", flow.name, None, kept)
            return kept

        self.add(make)

    def replace(self, flow: Flow) -> None:
        self._check(flow)
        self._change("UpdateFlow", flow.name, lambda kept: replace(kept, flow=flow))

    def switch(self, name: str, output: str, *, on: bool) -> None:
        """Let an output send or not; its definition stays."""

        def switched(kept: Kept) -> Kept:
            names = [end.name for end in kept.flow.outputs]
            if output not in names:
                raise FlowError(f"output: `{output}` is not of flow {name}; it has {', '.join(names) or 'none'}")
            outputs = [msgspec.structs.replace(end, enabled=on) if end.name == output else end for end in kept.flow.outputs]
            return replace(kept, flow=msgspec.structs.replace(kept.flow, outputs=outputs))

        self._change("UpdateFlowOutput", name, switched)

    def start(self, name: str) -> None:
        self._check(self.store.get(name).flow)
        self._change("StartFlow", name, lambda kept: replace(kept, desired="ACTIVE"))

    def stop(self, name: str) -> None:
        self._change("StopFlow", name, lambda kept: replace(kept, desired="STANDBY"))

    def delete(self, name: str) -> None:
        self._change("DeleteFlow", name, lambda kept: None)

    def apply(self, changes: Sequence[Change]) -> None:
        """Make them all, or none where one cannot be made as things are now."""
        for change in changes:
            if change.before is not None:
                check(change.before, change.after)
            if change.after is not None:
                self._check(change.after.flow)
        for change in changes:
            if change.after is None:
                self.delete(change.name)
            elif change.before is None:
                self.create(change.after.flow, start=change.after.desired == "ACTIVE")
            else:
                self._become(change.name, change.after)

    def _become(self, name: str, wanted: Kept) -> None:
        self._change("UpdateFlow", name, lambda kept: replace(kept, flow=wanted.flow, desired=wanted.desired))

    def lock(self, name: str, until: datetime, why: str) -> None:
        """Let nobody change how it runs until then. A lock that holds is replaced only by whom it is from."""
        lock = Lock(console_user(), until, why)

        def locked(kept: Kept, _: Sequence[Kept]) -> Kept:
            before = lock_of(kept)
            if before is not None and before.by != lock.by:
                raise Locked(name, before)
            self.audit.record(lock.by, "LockFlow", name, role="administrator", before=told(before), after=told(lock))
            return with_lock(kept, lock)

        self.store.change(name, locked)

    def unlock(self, name: str, why: str) -> None:
        def unlocked(kept: Kept, _: Sequence[Kept]) -> Kept:
            after = {"why": why}
            self.audit.record(console_user(), "UnlockFlow", name, role="administrator", before=told(lock_of(kept)), after=after)
            return with_lock(kept, None)

        self.store.change(name, unlocked)

    def _change(self, what: str, name: str, become: Callable[[Kept], Kept | None]) -> None:
        def recorded(kept: Kept, _: Sequence[Kept]) -> Kept | None:
            after = become(kept)
            check(kept, after)
            self._record(what, name, kept, after)
            return after

        try:
            self.change(name, recorded)
        except Locked as locked:
            self.audit.record(console_user(), what, name, role="administrator", outcome="refused", why=str(locked))
            raise

    def _record(self, what: str, name: str, before: Kept | None, after: Kept | None) -> None:
        self.audit.record(console_user(), what, name, role="administrator", before=_told(before), after=_told(after))

    def add(self, make: Make) -> Kept:
        """As `Store.add`, and have it applied."""
        made = self.store.add(make)
        self._apply()
        return made

    def change(self, name: str, become: Become) -> Kept | None:
        """As `Store.change`, and have it applied."""
        after = self.store.change(name, become)
        self._apply()
        return after

    def list(self) -> list[Kept]:
        return self._recent.list()

    def get(self, name: str) -> Kept:
        return self.store.get(name)

    def status(self, name: str) -> FlowStatus | None:
        return read_snapshot(self.places.snapshot(name), FlowStatus)

    def cut(self, flow: str, output: str, seconds: float) -> None:
        rehearsal.cut(self.places, flow, output, seconds, who=console_user(), role="administrator")

    def ask(self, request: dict[str, Any]) -> None:
        ask(self.places.control, request)

    def _check(self, flow: Flow) -> None:
        """A secret or a camera that is missing is said now, not when the flow starts."""
        if flow.camera:
            check_camera(flow.camera.camera)
        check_secrets(flow, self.secrets.get)

    def _apply(self) -> None:
        """Tell the engine, where one runs; else it finds the change when it starts."""
        if self.places.control.exists():
            try:
                ask(self.places.control, {"op": "apply"})
            except Refused as error:
                if "cannot be reached" in str(error):
                    return
                if not self._patient:
                    raise
                log.warning("a change is kept and not applied yet: %s", error)


def record(places: Places, what: str, target: str, *, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """What the user of this process does that is no flow's: before it is done."""
    Audit(places.audit).record(console_user(), what, target, role="administrator", before=before, after=after)


def _told(kept: Kept | None) -> dict[str, Any] | None:
    """For the record: a definition names its secrets and holds none."""
    return None if kept is None else {"desired": kept.desired, "flow": msgspec.to_builtins(kept.flow)}
