"""A box in one network namespace and a studio in another, with two real paths between them (see tests/lab/networks.py).

camera --> box --- path-a --- router --- path-a --- studio --> recorder `got`
            |  \\-- path-b ---        --- path-b --/
            \\--> recorder `sent`
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import msgspec

from appliance.service import Service
from firmware.model import parse_flow
from firmware.places import Places
from firmware.secrets import generate
from tests.lab.networks import STUDIO, Lane, Networks
from tests.lab.recorder import Recorder

from .lab import CAMERA, Lab, feed

PORT = 5000


class Apart(Lab):
    """An engine with the flow `box` at the venue, and a flow worker with the flow `studio`.

    Path A is bound to its interface alone, as one with a lease must be; path B to interface and address.
    """

    def __init__(
        self,
        places: Places,
        networks: Networks,
        *,
        camera: dict[str, Any] | None = None,
        feed_bps: float | None = None,
        latency_ms: int = 120,
    ) -> None:
        self.places = places
        self.networks = networks
        self.relays = []
        self.service = Service(places)
        self.service.secrets.set("path", generate())
        secure = {"secret": "path", "latency_ms": latency_ms}
        with networks.inside("venue"):
            self.sent = Recorder()
        with networks.inside("studio"):
            self.got = Recorder()
        bound = {"path-a": {"bind_device": "path-a"}, "path-b": {"bind_device": "path-b", "bind_address": networks.address["b"]}}
        box = {
            "name": "box",
            "sources": [CAMERA | (camera or {}) if feed_bps is None else {"protocol": "udp", "name": "feed", "port": PORT}],
            "outputs": [
                {"protocol": "srt-caller", "name": f"path-{path}", "host": host, "port": PORT, **secure, **bound[f"path-{path}"]}
                for path, host in STUDIO.items()
            ]
            + [{"protocol": "udp", "name": "sent", "host": "127.0.0.1", "port": self.sent.port}],
        }
        studio = {
            "name": "studio",
            "sources": [
                {"protocol": "srt-listener", "name": f"path-{path}", "address": host, "port": PORT, "allow": ["10.77.0.0/16"], **secure}
                for path, host in STUDIO.items()
            ],
            "outputs": [{"protocol": "udp", "name": "got", "host": "127.0.0.1", "port": self.got.port}],
        }
        self.service.create(parse_flow(box), start=True)
        self.log = (places.state / "engine.log").open("wb")
        environment = dict(os.environ, PRESSBOX_STATE=str(places.state), PRESSBOX_RUN=str(places.run))
        with networks.inside("studio"):
            self.studio = subprocess.Popen(
                [sys.executable, "-m", "firmware.flow.worker"], stdin=subprocess.PIPE, stderr=self.log, env=environment
            )
        with networks.inside("venue"):
            self.engine = subprocess.Popen([sys.executable, "-m", "appliance.cli", "run", "--no-web"], stderr=self.log, env=environment)
            self.feed = feed(PORT, feed_bps) if feed_bps is not None else None
        secrets = {"path": self.service.secrets.get("path")}
        job = {"flow": studio, "secrets": secrets, "snapshot": str(places.snapshot("studio"))}
        assert self.studio.stdin
        self.studio.stdin.write(msgspec.json.encode(job) + b"\n")
        self.studio.stdin.flush()

    def close(self) -> None:
        super().close()
        self.studio.communicate(timeout=10)
        for path in STUDIO:
            self.networks.mend(path)

    def carries(self, path: Lane) -> bool:
        """Connected at both ends, and packets come."""
        ends = self.output(path), self.source(path)
        return all(end and end.state == "connected" and end.rate_bps for end in ends)

    def comes_from(self, path: Lane, address: str, *, since: float) -> bool:
        """It carries the stream, sent from this address, in a report made after `since` (monotonic)."""
        source, studio = self.source(path), self.status("studio")
        fresh = bool(studio and studio.at > time.time() - (time.monotonic() - since))
        return fresh and bool(source and source.peer.startswith(f"{address}:")) and self.carries(path)
