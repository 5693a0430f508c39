"""A whole box and a studio flow as real processes, with a cuttable relay on each path and a recorder at each end.

camera --> box --> relay a --> studio --> recorder `got`
              \\-> relay b --/
               \\-> recorder `sent`
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from appliance.service import Service
from firmware.model import parse_flow
from firmware.places import Places
from firmware.secrets import generate
from firmware.status import CaptureStatus, FlowStatus, read_snapshot
from tests.lab.recorder import Difference, Recorder, difference

T = TypeVar("T")
RELAY = Path(__file__).parents[1] / "lab" / "relay.py"


def page_answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False


class RelayProcess:
    """`tests/lab/relay.py` as a process of its own, so that it takes nothing from what is measured."""

    def __init__(self, target: tuple[str, int], *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(RELAY), f"{target[0]}:{target[1]}", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        host, port = self.process.stdout.readline().split()
        self.address = (host, int(port))

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def counts(self) -> list[int]:
        self.say("counts")
        assert self.process.stdout
        return [int(number) for number in self.process.stdout.readline().split()]

    def close(self) -> None:
        self.process.communicate()


class Lab:
    """The two flows under one engine. `protocol` is that of the paths: srt or rtp."""

    def __init__(
        self,
        places: Places,
        ports: Callable[[], int],
        *,
        protocol: str = "srt",
        camera: dict[str, Any] | None = None,
        delays_ms: tuple[float, float] = (0, 0),
        window_ms: int = 200,
        latency_ms: int = 120,
        web_port: int | None = None,
    ) -> None:
        self.places = places
        self.service = Service(places)
        in_ports = (ports(), ports())
        self.relays = [RelayProcess(("127.0.0.1", port), "--delay-ms", str(delay)) for port, delay in zip(in_ports, delays_ms, strict=True)]
        self.sent, self.got = Recorder(), Recorder()
        secure = {"secret": "path", "latency_ms": latency_ms} if protocol == "srt" else {}
        into, out = ("srt-listener", "srt-caller") if protocol == "srt" else ("rtp", "rtp")
        self.service.secrets.set("path", generate())
        box = {
            "name": "box",
            "sources": [
                {"protocol": "camera", "name": "camera", "width": 640, "height": 360, "video_bps": 2_000_000, "preset": "ultrafast"}
                | (camera or {})
            ],
            "outputs": [
                {"protocol": out, "name": name, "host": relay.address[0], "port": relay.address[1], **secure}
                for name, relay in zip(("path-a", "path-b"), self.relays, strict=True)
            ]
            + [{"protocol": "udp", "name": "sent", "host": "127.0.0.1", "port": self.sent.port}],
        }
        studio = {
            "name": "studio",
            "window_ms": window_ms,
            "sources": [
                {"protocol": into, "name": name, "port": port, **secure} for name, port in zip(("path-a", "path-b"), in_ports, strict=True)
            ],
            "outputs": [{"protocol": "udp", "name": "got", "host": "127.0.0.1", "port": self.got.port}],
        }
        for flow in (studio, box):
            self.service.create(parse_flow(flow), start=True)
        environment = dict(os.environ, PRESSBOX_STATE=str(places.state), PRESSBOX_RUN=str(places.run))
        web = ["--no-web"] if web_port is None else ["--port", str(web_port)]
        self.log = (places.state / "engine.log").open("wb")
        self.engine = subprocess.Popen([sys.executable, "-m", "appliance.cli", "run", *web], env=environment, stderr=self.log)

    def close(self) -> None:
        self.engine.send_signal(signal.SIGTERM)
        self.engine.wait(10)
        for part in (*self.relays, self.sent, self.got):
            part.close()
        self.log.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self, flow: str) -> FlowStatus | None:
        status = read_snapshot(self.places.snapshot(flow), FlowStatus)
        return None if status is None or status.stale else status

    def capture(self) -> CaptureStatus | None:
        return read_snapshot(self.places.capture_snapshot("box"), CaptureStatus)

    def merged(self) -> bool:
        studio = self.status("studio")
        return bool(studio and studio.merge and studio.merge.state == "merged" and self.got.datagrams)

    def wait(self, happened: Callable[[], T], timeout_s: float = 20.0, what: str = "") -> T:
        until = time.monotonic() + timeout_s
        while not (value := happened()):
            if self.engine.poll() is not None:
                raise AssertionError(f"the engine ended: {self.said()}")
            if time.monotonic() > until:
                shown = [json.dumps(str(self.status(name))) for name in ("box", "studio")]
                raise AssertionError(f"{what or happened}: not within {timeout_s:g} s\n" + "\n".join(shown) + "\n" + self.said())
            time.sleep(0.005)
        return value

    def said(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text()[-3000:]

    def flows_on(self, count: int = 200) -> None:
        """Wait for so many more datagrams at the studio's output."""
        now = len(self.got.datagrams)
        self.wait(lambda: len(self.got.datagrams) > now + count, what="the stream goes on")

    def difference(self) -> Difference:
        return difference(self.sent.datagrams, self.got.datagrams)

    def child(self, module: str) -> int:
        """Pid of the newest process that runs this module under the engine."""
        found = subprocess.run(
            ["pgrep", "-n", "-P", str(self.engine.pid), "-f", module], capture_output=True, text=True, check=False
        ).stdout.split()
        return int(found[0]) if found else 0
