"""`pressbox send` and `pressbox recv`: one flow in the foreground, from URLs, without a box around it."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from appliance.exits import NOT_ARRIVING, OK, Failure
from firmware.captures import Captures
from firmware.flow.worker import FlowWorker, Job
from firmware.model import Camera, Flow, FlowError, Source, Srt
from firmware.places import Places
from firmware.secrets import Secrets
from firmware.status import FlowStatus
from firmware.urls import Parsed, parse_output, parse_source


def run(options: argparse.Namespace) -> int:
    flow, secrets = flow_of(options)
    if options.command == "recv" and flow.camera:
        raise Failure(2, f"recv takes from the network; `{options.source}` is a camera: use pressbox send")
    warn_of_clear_ends(flow, options.quiet)
    folder = Path(tempfile.mkdtemp(prefix="pressbox-"))
    try:
        return _run(flow, secrets, Places(folder, folder), options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def flow_of(options: argparse.Namespace) -> tuple[Flow, dict[str, str]]:
    """The flow that the URLs describe, and the passphrases it needs."""
    sources: list[Parsed[Source]] = [parse_source(options.source, "in-a")]
    if options.second:
        sources.append(parse_source(options.second, "in-b"))
    outputs = [parse_output(url, f"out-{number}") for number, url in enumerate(options.outputs, 1)]
    try:
        flow = Flow(
            name="foreground",
            sources=[parsed.end for parsed in sources],
            outputs=[parsed.end for parsed in outputs],
            window_ms=options.window,
            recover=options.recover,
            pacing=options.pacing,
        )
    except ValueError as error:
        raise FlowError(str(error)) from None
    secrets = {name: value for found in (*(p.secrets for p in sources), *(p.secrets for p in outputs)) for name, value in found.items()}
    kept = Secrets(Places.from_environment().secrets)
    for name in flow.secrets - secrets.keys():
        secrets[name] = kept.get(name)
    return flow, secrets


def warn_of_clear_ends(flow: Flow, quiet: bool) -> None:
    clear = [end.name for end in (*flow.sources, *flow.outputs) if isinstance(end, Srt) and end.clear]
    if clear and not quiet:
        print(
            f"pressbox: {', '.join(clear)}: SRT without a passphrase is in the clear; add passphrase=@file:PATH to the URL", file=sys.stderr
        )


def _run(flow: Flow, secrets: dict[str, str], places: Places, options: argparse.Namespace) -> int:
    captures = None
    job = Job(flow=flow, secrets=secrets, handoff=str(places.handoff(flow.name)))
    if isinstance(flow.camera, Camera):
        places.create()
        captures = Captures(flow.name, flow.camera, places)
        captures.keep(time.monotonic_ns())  # first, for it takes longest to start
        job = msgspec.structs.replace(job, slate=str(captures.slate))
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
    """Statistics now and then, and the end of the run."""

    def __init__(self, worker: FlowWorker, captures: Captures | None, options: argparse.Namespace) -> None:
        self.worker = worker
        self.captures = captures
        self.options = options
        self.failure: Failure | None = None
        self.began_ns = time.monotonic_ns()
        self._next_ns = self.began_ns
        self._heard = False

    def tick(self, now_ns: int) -> None:
        options = self.options
        if self.captures:
            self.captures.keep(now_ns)
            ended = self.captures.worker.process is None
            if ended and not self._heard and self.captures.worker.words:
                self.failure = Failure(5, self.captures.worker.words)
                self.worker.stop()
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + int((options.stats or 1) * 1e9)
        status = self.worker.status()
        self._heard = self._heard or any(source.packets for source in status.sources)
        passed_s = (now_ns - self.began_ns) / 1e9
        if options.stats:
            self._print(status)
        if options.seconds and passed_s >= options.seconds:
            self.worker.stop()
        if options.timeout and not self._heard and passed_s >= options.timeout:
            self.failure = Failure(NOT_ARRIVING, f"nothing arrived at {options.source.split('?')[0]} within {options.timeout:g} s")
            self.worker.stop()

    def last_words(self) -> None:
        if not self.options.quiet and not self.failure:
            self._print(self.worker.status())

    def _print(self, status: FlowStatus) -> None:
        if self.options.json:
            print(msgspec.json.encode(status).decode(), flush=True)
            return
        ins = " ".join(f"{end.name} {end.packets} in, {end.lost} lost, {end.repaired} repaired;" for end in status.sources)
        outs = " ".join(f"{end.name} {end.state} {end.packets} out, {end.dropped} dropped;" for end in status.outputs)
        merge = f" merge {status.merge.state} {status.merge.released} out, {status.merge.lost} lost;" if status.merge else ""
        print(f"{status.rate_bps / 1e6:.2f} Mb/s; {ins}{merge} {outs}".rstrip(";"), file=sys.stderr, flush=True)
