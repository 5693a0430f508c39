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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from appliance.service import Service
from firmware.model import parse_flow
from firmware.places import Places
from firmware.secrets import generate
from firmware.status import CaptureStatus, EndStatus, FlowStatus, read_snapshot
from tests.lab.ports import FEC, free_ports
from tests.lab.programs import TOOLS, RelayProcess
from tests.lab.recorder import Difference, Recorder, difference

T = TypeVar("T")
CAMERA = {"protocol": "camera", "name": "camera", "width": 640, "height": 360, "video_bps": 2_000_000, "preset": "ultrafast"}


def page_answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status.json", timeout=2) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def feed(port: int, rate_bps: float) -> subprocess.Popen[bytes]:
    """`tests/lab/feed.py` as a process of its own."""
    return subprocess.Popen([sys.executable, str(TOOLS / "feed.py"), f"127.0.0.1:{port}", str(rate_bps)], stdin=subprocess.PIPE)


class Lab:
    """The two flows under one engine. `protocol` is that of the paths. With `feed_bps` a made-up stream takes the camera's place.
    `faulty`: a bench camera, which does what `camera_file` says.

    `more` are options of `pressbox run`."""

    def __init__(
        self,
        places: Places,
        ports: Callable[[], int],
        *,
        protocol: Literal["srt", "rtp", "rtp-fec"] = "srt",
        camera: dict[str, Any] | None = None,
        faulty: bool = False,
        feed_bps: float | None = None,
        delays_ms: tuple[float, float] = (0, 0),
        window_ms: int = 200,
        latency_ms: int = 120,
        web_port: int | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.places = places
        self.camera_file = places.state / "bench.camera"
        if faulty:
            self.camera_file.write_text("picture")
            camera = {"camera": f"bench:{self.camera_file}"} | (camera or {})
        self.service = Service(places)
        in_ports = free_ports(2, FEC) if protocol == "rtp-fec" else [ports(), ports()]
        beyond = ["--beyond", *map(str, FEC)] if protocol == "rtp-fec" else []
        self.relays = [
            RelayProcess(("127.0.0.1", port), "--delay-ms", str(delay), *beyond) for port, delay in zip(in_ports, delays_ms, strict=True)
        ]
        self.sent, self.got = Recorder(), Recorder()
        secure = {"secret": "path", "latency_ms": latency_ms} if protocol == "srt" else {}
        into, out = ("srt-listener", "srt-caller") if protocol == "srt" else (protocol, protocol)
        self.service.secrets.set("path", generate())
        (feed_port,) = free_ports(1)
        box = {
            "name": "box",
            "sources": [CAMERA | (camera or {}) if feed_bps is None else {"protocol": "udp", "name": "feed", "port": feed_port}],
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
        self.engine = subprocess.Popen([sys.executable, "-m", "appliance.cli", "run", *web, *more], env=environment, stderr=self.log)
        self.feed = feed(feed_port, feed_bps) if feed_bps is not None else None

    def close(self) -> None:
        self.engine.send_signal(signal.SIGTERM)
        self.engine.wait(10)
        if self.feed is not None:
            self.feed.communicate()
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

    def output(self, path: str) -> EndStatus | None:
        """Of the box: the sending end of path `a` or `b`."""
        box = self.status("box")
        return next((end for end in box.outputs if end.name == f"path-{path}"), None) if box else None

    def source(self, path: str) -> EndStatus | None:
        """Of the studio: the receiving end."""
        studio = self.status("studio")
        return next((end for end in studio.sources if end.name == f"path-{path}"), None) if studio else None

    def harm(self, path: str) -> dict[str, int]:
        """Counters of a path that must stay at rest while only the other one suffers."""
        output, source = self.output(path), self.source(path)
        assert output
        assert source
        return {
            "not sent": output.dropped,
            "not sent in time": output.lost,
            "not received": source.lost,
            "not taken": source.dropped,
        }

    def capture(self) -> CaptureStatus | None:
        return read_snapshot(self.places.capture_snapshot("box"), CaptureStatus)

    def merged(self) -> bool:
        studio = self.status("studio")
        return bool(studio and studio.merge and studio.merge.state == "merged" and self.got.datagrams)

    def wait_for_path(self, path: str) -> None:
        """Until it brings packets again: `merged` alone may be half a second old."""
        now = time.time()
        self.wait(lambda: (studio := self.status("studio")) and studio.at > now, what="a fresh snapshot")
        before = self.source(path)
        packets = before.packets if before else 0
        self.wait(lambda: (source := self.source(path)) and source.packets > packets + 100, what=f"path {path} brings packets again")
        self.wait(self.merged, what="both paths merged again")

    def wait(self, happened: Callable[[], T], timeout_s: float = 60.0, what: str = "") -> T:
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
