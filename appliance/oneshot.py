"""`pressbox send` and `pressbox recv`: one flow in the foreground, from URLs, without a box around it."""

from __future__ import annotations

import argparse
import logging
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from appliance import account
from appliance.exits import AUTH, MEDIA, NOT_ARRIVING, OK, USAGE, Failure
from appliance.keys import check_secrets
from appliance.show import summary_lines
from firmware.captures import Captures
from firmware.model import Camera, Flow, FlowError, Output, Rist, Source, Srt, dump_flow, parse_flow
from firmware.places import Places
from firmware.secrets import Secrets
from firmware.status import EndStatus, FlowStatus, MergeStatus
from firmware.urlparts import UrlError, redact
from firmware.urls import Parsed, parse_output, parse_source
from hw.camera import check_camera

if TYPE_CHECKING:
    from firmware.flow.worker import FlowWorker

LOOK_NS = 500_000_000

RESTARTS = logging.getLogger("pressbox.child")  # of the camera: worth a word once there was a picture, else it is why the command ends

E = TypeVar("E", Source, Output)


def run(options: argparse.Namespace) -> int:
    flow, secrets = flow_of(options)
    if options.command == "recv" and flow.camera:
        raise Failure(USAGE, f"recv takes from the network; `{options.source}` is a camera: use pressbox send")
    warn_of_clear_ends(flow, options.quiet)
    logging.basicConfig(format="pressbox: %(message)s", level=logging.WARNING)
    RESTARTS.setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="pressbox-"))
    try:
        return _run(flow, secrets, Places(folder, folder), options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def flow_of(options: argparse.Namespace) -> tuple[Flow, dict[str, str]]:
    """The flow that the URLs describe, and the passphrases it needs."""
    sources = [_parsed(parse_source, url, name) for url, name in ((options.source, "in-a"), (options.second, "in-b")) if url is not None]
    outputs = [_parsed(parse_output, url, f"out-{number}") for number, url in enumerate(options.outputs, 1)]
    try:
        wanted = Flow(
            name="foreground",
            sources=[parsed.end for parsed in sources],
            outputs=[parsed.end for parsed in outputs],
            window_ms=options.window,
            recover=options.recover,
            failover_ms=options.silence,
            primary=primary_of(options),
            pacing=options.pacing,
        )
        flow = parse_flow(dump_flow(wanted))
    except ValueError as error:
        raise FlowError(str(error)) from None
    secrets = {name: value for found in (*(p.secrets for p in sources), *(p.secrets for p in outputs)) for name, value in found.items()}
    kept = Secrets(Places.from_environment().secrets)
    for name in flow.secrets - secrets.keys():
        secrets[name] = kept.get(name)
    check_secrets(flow, secrets.__getitem__)
    return flow, secrets


def primary_of(options: argparse.Namespace) -> str:
    if options.primary and (options.recover != "failover" or options.second is None):
        raise Failure(USAGE, "--primary: is for two sources of which one plays; add --second IN --recover failover")
    return {"first": "in-a", "second": "in-b"}.get(options.primary, "")


def _parsed(parse: Callable[[str, str], Parsed[E]], url: str, name: str) -> Parsed[E]:
    try:
        return parse(url, name)
    except UrlError as error:
        raise UrlError(f"`{redact(url)}`: {error}") from None


def warn_of_clear_ends(flow: Flow, quiet: bool) -> None:
    if quiet:
        return
    ends = [*flow.sources, *flow.outputs]
    srt = [end.name for end in ends if isinstance(end, Srt) and end.clear]
    rist = [end.name for end in ends if isinstance(end, Rist) and end.clear and end.profile == "main"]
    simple = [end.name for end in ends if isinstance(end, Rist) and end.profile == "simple"]
    for clear, words in (
        (srt, "SRT without a passphrase is in the clear; add passphrase=@file:PATH to the URL"),
        (rist, "RIST without a passphrase is in the clear; add secret=@file:PATH to the URL"),
        (simple, "RIST in simple profile is in the clear"),
    ):
        if clear:
            print(f"pressbox: {', '.join(clear)}: {words}", file=sys.stderr)


def _run(flow: Flow, secrets: dict[str, str], places: Places, options: argparse.Namespace) -> int:
    captures = None
    if isinstance(flow.camera, Camera):
        places.create()
        check_camera(flow.camera.camera)
        captures = Captures(flow.name, flow.camera, places)
        captures.keep(time.monotonic_ns())
    from firmware.flow.orders import Job
    from firmware.flow.worker import FlowWorker  # only now: the camera takes longest to start, and starts meanwhile

    job = Job(flow=flow, secrets=secrets, handoff=str(places.handoff(flow.name)), slate=str(captures.slate) if captures else "")
    try:
        worker = FlowWorker(job, flow, strict=True)
    except BaseException:
        if captures:
            captures.stop()
        raise
    watch = Watch(worker, captures, options)
    worker.on_tick = watch.tick
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    try:
        worker.run()
    finally:
        if captures:
            captures.stop()
        worker.close()
    watch.last_words()
    if watch.failure:
        raise watch.failure
    return OK


class Watch:
    """What goes wrong as it happens, statistics now and then, and the end of the run."""

    def __init__(self, worker: FlowWorker, captures: Captures | None, options: argparse.Namespace) -> None:
        self.worker = worker
        self.captures = captures
        self.options = options
        self.failure: Failure | None = None
        self.began_ns = time.monotonic_ns()
        self._next_look_ns = self._next_print_ns = self.began_ns
        self._heard = self._reached = False
        self._told: dict[str, str] = {}  # trouble by end
        self._alarms: set[str] = set()
        self._event_at = 0.0

    def tick(self, now_ns: int) -> None:
        options = self.options
        if self.captures:
            self.captures.keep(now_ns)
            ended = self.captures.worker.process is None
            words = self.captures.worker.words if ended else self.captures.trouble
            if words and not self._heard:
                self.failure = Failure(MEDIA, words)
                self.worker.stop()
        if now_ns < self._next_look_ns:
            return
        self._next_look_ns = now_ns + LOOK_NS
        status = self.worker.status()
        for end in (*status.sources, *status.outputs):
            self._tell(end)
        self._tell_news(status)
        if not self._heard and any(source.packets for source in status.sources):
            self._heard = True
            RESTARTS.setLevel(logging.WARNING)
        self._reached = self._reached or any(output.state in ("connected", "waiting") for output in status.outputs)
        passed_s = (now_ns - self.began_ns) / 1e9
        if options.stats and now_ns >= self._next_print_ns:
            self._next_print_ns = now_ns + int(options.stats * 1e9)
            self._print(status)
        if options.seconds and passed_s >= options.seconds:
            self.worker.stop()
        if options.timeout and passed_s >= options.timeout and not (self._heard and self._reached):
            self.failure = self._given_up(status)
            self.worker.stop()

    def _tell(self, end: EndStatus) -> None:
        """Say why an end is not connected, once for each reason, and when it is after all."""
        trouble = end.message if end.state in ("connecting", "failed") else ""
        if trouble != self._told.get(end.name, ""):
            if trouble or end.state == "connected":
                print(f"pressbox: {end.name}: {trouble + '; trying again' if trouble else 'connected'}", file=sys.stderr, flush=True)
            self._told[end.name] = trouble

    def _tell_news(self, status: FlowStatus) -> None:
        """Each event once; an alarm when it comes, and not again because a figure in it changed."""
        if self.options.quiet:
            return
        for event in status.events:
            if event.at > self._event_at:
                self._event_at = event.at
                print(f"pressbox: {event.text}", file=sys.stderr, flush=True)
        alarms = {re.sub("[0-9]+", "#", alarm): alarm for alarm in status.alarms}
        for kind in alarms.keys() - self._alarms:
            print(f"pressbox: alarm: {alarms[kind]}", file=sys.stderr, flush=True)
        self._alarms = set(alarms)

    def _given_up(self, status: FlowStatus) -> Failure:
        options = self.options
        what = f"nothing arrived at {redact(options.source).split('?')[0]}" if not self._heard else "no output could be reached"
        silent = status.sources if not self._heard else status.outputs
        why = "; ".join(f"{end.name}: {end.message}" for end in silent if end.message)
        code = AUTH if all(end.state == "failed" for end in silent) else NOT_ARRIVING
        return Failure(code, f"{what} within {options.timeout:g} s" + (f" ({why})" if why else ""))

    def last_words(self) -> None:
        if self.options.quiet or self.failure:
            return
        status = self.worker.status()
        self._print(status)
        if not self.options.json:
            status.events = []  # told as they came
            for line in (f"encryption: {_encryption(status)}", *summary_lines(status)):
                print(line, file=sys.stderr, flush=True)

    def _print(self, status: FlowStatus) -> None:
        if self.options.json:
            print(msgspec.json.encode(status).decode(), flush=True)
            return
        ins = " ".join(f"{end.name} {end.packets} in, {end.lost} lost, {_repaired(end)};" for end in status.sources)
        outs = " ".join(f"{end.name} {end.state} {end.packets} out, {end.dropped} dropped;" for end in status.outputs)
        print(f"{status.rate_bps / 1e6:.2f} Mb/s; {ins}{_recovered(status.merge)} {outs}".rstrip(";"), file=sys.stderr, flush=True)


def _encryption(status: FlowStatus) -> str:
    return "; ".join(f"{end.name} {end.encryption}" for end in (*status.sources, *status.outputs) if end.encryption)


def _repaired(end: EndStatus) -> str:
    return f"{end.repaired} repaired" if not end.fec_matrix else account.fec(end) if end.fec_repaired else f"{account.fec(end)}, 0 repaired"


def _recovered(merge: MergeStatus | None) -> str:
    if merge is None:
        return ""
    return f" {account.plays(merge)};" if merge.state == "failover" else f" merge {merge.state} {merge.released} out, {merge.lost} lost;"
