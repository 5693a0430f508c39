"""The service manager hears that packets go, and nothing once they stop for good."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.service import Service
from firmware import engine as engine_module
from firmware.model import parse_flow
from firmware.places import Places
from tests.lab.recorder import Recorder

ROOT = Path(__file__).parents[2]
CAMERA = {"protocol": "camera", "name": "camera", "width": 320, "height": 180, "video_bps": 300_000, "preset": "ultrafast"}
PATIENCE_NS = 5_000_000_000
# the engine as it is, but that it gives up hope sooner
RUN = f"""
import sys
from firmware import engine
engine.HOPELESS_NS = {PATIENCE_NS}
from appliance.cli import main
sys.exit(main(["run", "--no-web"]))
"""


@contextmanager
def box(places: Places, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(20)
        more = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "1000000"}
        environment = os.environ | more | {"PRESSBOX_STATE": str(places.state), "PRESSBOX_RUN": str(places.run)}
        process = subprocess.Popen([sys.executable, "-c", RUN], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        try:
            yield process, manager
        finally:
            process.terminate()
            process.wait(10)


def test_what_the_service_manager_hears(places: Places, tmp_path: Path, wait_for: Callable[..., Any]) -> None:
    assert engine_module.HOPELESS_NS > PATIENCE_NS
    recorder = Recorder()
    output = {"protocol": "udp", "name": "out", "host": "127.0.0.1", "port": recorder.port}
    Service(places).create(parse_flow({"name": "show", "sources": [CAMERA], "outputs": [output]}), start=True)
    with box(places, tmp_path) as (process, manager):
        assert b"READY=1" in manager.recv(4096)
        wait_for(lambda: recorder.datagrams, what="packets")
        for _ in range(8):
            assert manager.recv(4096) == b"WATCHDOG=1"
        with hanging_workers(process.pid):
            manager.settimeout(3)
            wait_for(lambda: heard_nothing(manager), what="silence", timeout_s=60)
    recorder.close()


def heard_nothing(manager: socket.socket) -> bool:
    """Three seconds long, six times as long as it may take."""
    try:
        manager.recv(4096)
    except TimeoutError:
        return True
    return False


@contextmanager
def hanging_workers(engine: int) -> Iterator[None]:
    """Every flow worker of the engine hangs from its start on."""
    stopped: set[int] = set()
    ended = threading.Event()

    def stop_them() -> None:
        while not ended.wait(0.02):
            told = subprocess.run(["pgrep", "-P", str(engine), "-f", "firmware.flow.worker"], capture_output=True, text=True, check=False)
            for pid in {int(word) for word in told.stdout.split()} - stopped:
                os.kill(pid, signal.SIGSTOP)
                stopped.add(pid)

    thread = threading.Thread(target=stop_them)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        assert stopped
