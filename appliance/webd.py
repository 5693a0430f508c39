"""The web process: the pages under gunicorn, one worker with threads, for this machine alone.

python -m appliance.webd --port 8080
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from firmware.places import Places

DEFAULT_PORT = 8080
THREADS = 32  # more than browsers keep open at once; a slow one never holds up another
EXIT_USAGE, EXIT_NETWORK = 2, 3
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, places: Places, listener: socket.socket) -> None:
        self.places = places
        self.listener = listener
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self.listener.fileno()}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "loglevel": "warning",
            "graceful_timeout": 2,
            "timeout": 30,
            "keepalive": 5,
            "limit_request_line": 2048,
            "limit_request_fields": 40,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108 - its heartbeat must not wait for a disk
            "control_socket_disable": True,
        }
        for key, value in settings.items():
            if key in self.cfg.settings:  # the last one exists in later versions only
                self.cfg.set(key, value)

    def load(self) -> Any:
        from appliance.web import create_app

        app = create_app(self.places)
        app.extensions["watch"].follow()
        return app


def listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        sys.exit(0)  # it ended before we could ask


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.webd", description="Serve the pages of this box on 127.0.0.1.")
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("PRESSBOX_WEB_PORT", DEFAULT_PORT),
        help="TCP port (default: PRESSBOX_WEB_PORT or 8080; 0 takes a free one)",
    )
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends, however it ends")
    options = parser.parse_args(arguments)
    port: int = options.port
    if options.with_parent:
        end_with_parent()
    logging.basicConfig(format="web: %(message)s")
    if not 0 <= port <= 65535:
        print(f"web: port {port} is not between 0 and 65535", file=sys.stderr)
        return EXIT_USAGE
    try:
        listener = listen(port)
    except OSError as error:
        print(f"web: port {port} of 127.0.0.1 cannot be used ({error.strerror}); choose another with --port", file=sys.stderr)
        return EXIT_NETWORK
    places = Places.from_environment()
    print(f"web: http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    Server(places, listener).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
