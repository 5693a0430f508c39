"""The media daemon: the engine, with the pages and the API beside it where they are wanted."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from firmware.child import Child
from firmware.engine import Engine


def run(engine: Engine, *, web_port: int | None, api: list[str] | None = None, when_up: Callable[[Engine], None] | None = None) -> int:
    """Until SIGTERM, SIGINT or `stop` on the control socket. `api`: arguments of the API's process, or None for none.

    `when_up` runs in a thread beside the engine."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", level=os.environ.get("PRESSBOX_LOG", "INFO"))

    def stop(*_: Any) -> None:
        engine.stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if web_port is not None:
        engine.extra.append(Child("web", "appliance.webd", lambda: b"", arguments=["--port", str(web_port), "--with-parent"]))
    if api is not None:
        engine.extra.append(Child("api", "appliance.apid", lambda: b"", arguments=[*api, "--with-parent"]))
    engine.extra.append(Child("alarm notices", "appliance.alarmd", lambda: b"", arguments=["--with-parent"]))
    try:
        if when_up is not None:
            threading.Thread(target=when_up, args=(engine,), daemon=True).start()
        engine.run()
    finally:
        engine.close()
    return 0
