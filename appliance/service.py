"""What a person may do with flows: validate, store, have it applied. The command line, the pages and the API all come through here."""

from __future__ import annotations

from typing import Any

import msgspec

from appliance.ask import Refused, ask
from appliance.keys import check_secrets
from firmware.model import Flow, FlowError
from firmware.places import Places
from firmware.secrets import Secrets
from firmware.status import FlowStatus, read_snapshot
from firmware.store import Become, Kept, Make, Store
from hw.camera import check_camera


class Service:
    def __init__(self, places: Places) -> None:
        places.create()
        self.places = places
        self.store = Store(places.store)
        self.secrets = Secrets(places.secrets)

    def create(self, flow: Flow, *, start: bool = False) -> None:
        self._check(flow)
        self.store.create(flow, "ACTIVE" if start else "STANDBY")
        self._apply()

    def replace(self, flow: Flow) -> None:
        self._check(flow)
        self.store.replace(flow)
        self._apply()

    def switch(self, name: str, output: str, *, on: bool) -> None:
        """Let an output send or not; its definition stays."""
        flow = self.store.get(name).flow
        names = [end.name for end in flow.outputs]
        if output not in names:
            raise FlowError(f"output: `{output}` is not of flow {name}; it has {', '.join(names) or 'none'}")
        outputs = [msgspec.structs.replace(end, enabled=on) if end.name == output else end for end in flow.outputs]
        self.store.replace(msgspec.structs.replace(flow, outputs=outputs))
        self._apply()

    def start(self, name: str) -> None:
        self._check(self.store.get(name).flow)
        self.store.set_desired(name, "ACTIVE")
        self._apply()

    def stop(self, name: str) -> None:
        self.store.set_desired(name, "STANDBY")
        self._apply()

    def delete(self, name: str) -> None:
        self.store.delete(name)
        self._apply()

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
        return self.store.list()

    def get(self, name: str) -> Kept:
        return self.store.get(name)

    def status(self, name: str) -> FlowStatus | None:
        return read_snapshot(self.places.snapshot(name), FlowStatus)

    def cut(self, flow: str, output: str, seconds: float) -> None:
        ask(self.places.control, {"op": "cut", "flow": flow, "output": output, "seconds": seconds})

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
                if "cannot be reached" not in str(error):
                    raise
