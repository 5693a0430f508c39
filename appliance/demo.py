"""`pressbox demo`: the main job on one machine. A camera, two encrypted paths, a flow that merges them, three outputs.

camera --> demo-box ==path-a (127.0.0.1:5001)==> demo-studio --> srt, udp, rtp
                    ==path-b (127.0.0.2:5002)==>
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
import threading
import time

from appliance import mediad
from appliance.exits import NETWORK, NOT_ARRIVING, OK, USAGE, Failure
from appliance.service import Service
from firmware.engine import Engine
from firmware.model import Flow, FlowError, parse_flow
from firmware.places import Places
from firmware.players import player_lines
from firmware.secrets import generate
from firmware.status import FlowStatus, read_snapshot
from firmware.urlparts import UrlError
from firmware.urls import parse_source
from hw.camera import check_camera

BOX, STUDIO = "demo-box", "demo-studio"
PATHS = {"path-a": ("127.0.0.1", 5001), "path-b": ("127.0.0.2", 5002)}
PLAY, UDP, RTP = 5010, 5011, 5012
CUT_S = 5.0
START_S = 30.0


def flows(camera_url: str) -> tuple[Flow, Flow]:
    camera = parse_source(camera_url, "camera").end
    box = parse_flow(
        {
            "name": BOX,
            "sources": [camera],
            "outputs": [
                {"protocol": "srt-caller", "name": path, "host": host, "port": port, "bind_address": host, "secret": f"demo-{path}"}
                for path, (host, port) in PATHS.items()
            ],
        }
    )
    studio = parse_flow(
        {
            "name": STUDIO,
            "sources": [
                {"protocol": "srt-listener", "name": path, "address": host, "port": port, "secret": f"demo-{path}"}
                for path, (host, port) in PATHS.items()
            ],
            "outputs": [
                {"protocol": "srt-listener", "name": "play", "port": PLAY, "secret": "demo-play"},
                {"protocol": "udp", "name": "udp", "host": "127.0.0.1", "port": UDP},
                {"protocol": "rtp", "name": "rtp", "host": "127.0.0.1", "port": RTP},
            ],
        }
    )
    return box, studio


def run(options: argparse.Namespace) -> int:
    places = Places.from_environment()
    try:
        made = flows(options.camera)
    except (UrlError, FlowError) as error:
        raise Failure(USAGE, f"--camera: {error}") from None
    if made[0].camera:
        check_camera(made[0].camera.camera)
    _check_page_port(options.port)
    logging.getLogger("pressbox").setLevel(logging.INFO if options.verbose else logging.WARNING)
    engine = Engine(places)  # first: where another one runs, nothing of its is touched
    service = Service(places)
    for name in (*(f"demo-{path}" for path in PATHS), "demo-play"):
        service.secrets.set(name, generate())
    _forget(service)
    demo = Demo(service, options)
    try:
        for flow in reversed(made):  # the studio first, so that the box finds it listening
            service.store.create(flow, "ACTIVE")
        mediad.run(engine, web_port=options.port, when_up=demo.watch)
    finally:
        _forget(service)
    if demo.failure:
        raise demo.failure
    return OK


def _check_page_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Failure(NETWORK, f"--port {port}: the page cannot be there ({error.strerror}); choose another port") from None


def _forget(service: Service) -> None:
    """Take away what an earlier demo left, or this one made."""
    for kept in service.list():
        if kept.flow.name in (BOX, STUDIO):
            service.store.delete(kept.flow.name)


class Demo:
    """What the demo says, beside the engine."""

    def __init__(self, service: Service, options: argparse.Namespace) -> None:
        self.service = service
        self.options = options
        self.failure: Failure | None = None

    def watch(self, engine: Engine) -> None:
        try:
            self._wait_for_picture(engine)
            self._introduce()
            if sys.stdin.isatty():
                threading.Thread(target=self._obey, args=(engine,), daemon=True).start()
            self._report(engine)
        except Failure as failure:
            self.failure = failure
        engine.stopping = True

    def _status(self, name: str) -> FlowStatus | None:
        return read_snapshot(self.service.places.snapshot(name), FlowStatus)

    def _wait_for_picture(self, engine: Engine) -> None:
        say(f"starting: camera {self.options.camera}, two encrypted SRT paths, one flow that merges them")
        until = time.monotonic() + START_S
        while time.monotonic() < until and not engine.stopping:
            studio = self._status(STUDIO)
            if studio and studio.merge and studio.merge.state == "merged" and self.service.places.preview(STUDIO).exists():
                return
            self._end_if_impossible(studio)
            time.sleep(0.1)
        told = [status.message for name in (BOX, STUDIO) if (status := self._status(name)) and status.message]
        raise Failure(NOT_ARRIVING, "; ".join(told) or f"no picture arrived within {START_S:.0f} s")

    def _end_if_impossible(self, studio: FlowStatus | None) -> None:
        """A port that somebody else has is not waited for."""
        for end in (*studio.sources, *studio.outputs) if studio else ():
            if end.state == "failed":
                raise Failure(NETWORK, f"{end.name}: {end.message}")

    def _introduce(self) -> None:
        studio = self.service.get(STUDIO).flow
        say("on air: the picture travels over both paths and comes out of the studio flow")
        print(f"\n  page     http://127.0.0.1:{self.options.port}/\n")
        for output in studio.outputs:
            print(f"  {output.name}")
            for tool, line in player_lines(output, self.service.secrets.path("demo-play")).items():
                print(f"    {tool:18} {line}")
        print("\n  cut a path for 5 s and watch nothing happen to the picture:")
        print(f"    {sys.argv[0]} cut {BOX} path-a")
        if sys.stdin.isatty():
            print("    or type a or b and Enter here; q and Enter ends the demo")
        print(flush=True)

    def _obey(self, engine: Engine) -> None:
        for line in sys.stdin:
            word = line.strip().lower()
            if word == "q":
                engine.stopping = True
                return
            if word in ("a", "b"):
                self.service.cut(BOX, f"path-{word}", CUT_S)
                say(f"path {word.upper()} is cut for {CUT_S:.0f} s")

    def _report(self, engine: Engine) -> None:
        began = time.monotonic()
        while not engine.stopping:
            time.sleep(1.0)
            passed = time.monotonic() - began
            line = self._line()
            if sys.stdout.isatty():
                print(f"\r\x1b[K{line}", end="", flush=True)
            elif int(passed) % 5 == 0:
                print(line, flush=True)
            if self.options.seconds and passed >= self.options.seconds:
                print()
                return

    def _line(self) -> str:
        box, studio = self._status(BOX), self._status(STUDIO)
        if box is None or studio is None or studio.merge is None:
            return "a worker is being started again"
        legs = ", ".join(f"{end.name} {end.state} (RTT {end.rtt_ms or 0:.1f} ms, repaired {end.repaired})" for end in studio.sources)
        merge = studio.merge
        saved = ", ".join(f"{name} saved {count}" for name, count in merge.saved_by.items())
        return f"{studio.rate_bps / 1e6:.1f} Mb/s  {legs}  {merge.state}: {saved}, lost {merge.lost}"


def say(text: str) -> None:
    print(f"pressbox: {text}", flush=True)
