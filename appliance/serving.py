"""A WSGI application under gunicorn: one worker with threads, on a socket that is open already."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

THREADS = 32  # more than browsers keep open at once; a slow one never holds up another
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, make: Callable[[], Any], listener: socket.socket, **settings: Any) -> None:
        """`make` makes the application, in the worker. `settings` are gunicorn's, beside ours."""
        self._make = make
        self._settings = settings
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
            **self._settings,
        }
        for key, value in settings.items():
            if key in self.cfg.settings:  # the last one of ours exists in later versions only
                self.cfg.set(key, value)

    def load(self) -> Any:
        return self._make()


def listen(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        sys.exit(0)  # it ended before we could ask
