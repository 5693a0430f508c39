"""The media daemon: the engine, with the pages and the API beside it where they are wanted."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from firmware.child import Child
from firmware.engine import Engine
from hw import systemd


def run(engine: Engine, *, web_port: int | None, api: list[str] | None = None, when_up: Callable[[Engine], None] | None = None) -> int:
    """Until SIGTERM, SIGINT or `stop` on the control socket. `api`: arguments of the API's process, or None for none.

    `when_up` runs in a thread beside the engine."""
    journal = systemd.journal()
    level = os.environ.get("PRESSBOX_LOG", "INFO")
    logging.basicConfig(
        format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=level, handlers=[journal] if journal else None
    )
    if journal:
        journal.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def stop(*_: Any) -> None:
        engine.stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if web_port is not None:
        engine.extra.append(Child("web", "appliance.webd", lambda: b"", arguments=["--port", str(web_port), "--with-parent"]))
    if api is not None:
        engine.extra.append(Child("api", "appliance.apid", lambda: b"", arguments=[*api, "--with-parent"]))
    if not os.environ.get(systemd.NOTIFY):  # a box has a unit for it, which may reach pins and lamps as this may not
        engine.extra.append(Child("panel", "appliance.paneld", lambda: b"", arguments=["--with-parent"]))
    engine.extra.append(Child("alarm notices", "appliance.alarmd", lambda: b"", arguments=["--with-parent"]))
    engine.on_look = _Pulse(engine).beat
    try:
        systemd.ready("running")
        if when_up is not None:
            threading.Thread(target=when_up, args=(engine,), daemon=True).start()
        engine.run()
    finally:
        systemd.stopping()
        engine.close()
    return 0


class _Pulse:
    """Tells the service manager that packets progress, and nothing where they do not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._every_s = systemd.watchdog_s()
        self._due_s = 0.0

    def beat(self) -> None:
        now_s = time.monotonic()
        if self._every_s is None or now_s < self._due_s:
            return
        self._due_s = now_s + self._every_s / 2
        if self._engine.goes_on:
            systemd.alive()
