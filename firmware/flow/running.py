"""A flow as it runs: its sources, what recovers one stream from them, and its outputs. It waits for nothing: the worker's loop does.

camera --> playout ---------------------------+
udp, rtp --> (read by the loop) --> inbox --+ |
srt, rist --> (a thread a leg) ---> inbox --+-+--> recover --> pacer? --> output, output, output
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from firmware.flow.camera import CameraSource
from firmware.flow.ends import CANNOT_OPEN, Unopened, open_output, open_source
from firmware.flow.fan import Fan
from firmware.flow.orders import Cut, Job
from firmware.flow.outputs import FlowOutput
from firmware.flow.passphrases import Renewal
from firmware.flow.recover import Recover, Straight, recover_for
from firmware.flow.sources import RESTART, Arrival, DatagramSource, FlowSource
from firmware.flow.steer import Steering
from firmware.flow.tap import Tap
from firmware.flow.watch import Watch
from firmware.model import Camera, Flow, Keyed, Output, Source
from firmware.net.links import Change
from firmware.status import FlowStatus
from firmware.wire.keypicture import KeyPictures
from firmware.wire.pacer import Pacer

RETRY_NS = 2_000_000_000
PACER_DELAY_NS = 80_000_000

log = logging.getLogger("pressbox.flow")


class RunningFlow:
    """`wake` is called by the threads of legs, with the time of an arrival; `look_again` when `readers` changed.

    `strict`: an end that cannot be opened is an error; else it is tried again every now and then while the others run."""

    def __init__(self, job: Job, flow: Flow, wake: Callable[[int], None], look_again: Callable[[], None], *, strict: bool) -> None:
        self.flow = flow
        self.lone: DatagramSource | None = None
        """The source whose one socket is all that can bring a datagram: it may be waited for directly."""
        self.patience_ns = 0
        """How long an arrival may wait in the inbox."""
        self.lazy_ns = 0
        """How long arrivals may lie in the sockets while the stream flows, because every output gathers for at least so long."""
        self._job = job
        self._wake = wake
        self._look_again = look_again
        self._strict = strict
        self._started_at = time.time()
        self._inbox: deque[Arrival] = deque()
        self._sources: list[FlowSource] = []
        self._camera: CameraSource | None = None
        self._steering: Steering | None = None
        self._tap = Tap(Path(job.recording)) if job.recording else None
        self._outputs: dict[str, FlowOutput] = {}
        self._specs: dict[str, Output] = {}
        self._recover: Recover
        self._pacer: Pacer | None = None
        self._fan = Fan()
        self._watch: Watch
        self._tried_ns = 0
        self._renewal = Renewal()
        self._key_pictures = KeyPictures() if job.key_picture else None
        self._open_sources()
        self._open_outputs()
        self._strict = False

    # what it is made of

    def apply(self, job: Job, flow: Flow) -> None:
        """Become `flow`. Outputs that stay as they are notice nothing; sources are opened anew only when they changed."""
        before, self.flow = self.flow, flow
        known, self._job = self._job, job
        if _receiving(before) != _receiving(flow):
            for source in self._sources:
                source.close()
            self._open_sources()
        elif before.pacing != flow.pacing:
            self._pacer = _pacer_of(flow)
        self._open_outputs()
        if known.recording != job.recording:
            if self._tap is not None:
                self._tap.close()
            self._tap = Tap(Path(job.recording)) if job.recording else None
        values = (known.secrets, known.former), (job.secrets, job.former)
        both = known.secrets.keys() & job.secrets.keys()  # what uses a secret that is new was opened with it just now
        self._rekey({name for name in both if _values(values[0], name) != _values(values[1], name)})

    def _rekey(self, changed: set[str]) -> None:
        """Have the ends go on with secrets of which the values changed: in place where they can."""
        secrets, former = self._job.secrets, self._job.former
        for leg, (spec, source) in enumerate(zip(self.flow.sources, self._sources, strict=True)):
            name = getattr(spec, "secret", "")
            if name in changed and not source.rekey(secrets[name], former.get(name, "")):
                source.close()
                self._sources[leg] = self._open_source(leg, spec)
        for name, output in self._outputs.items():
            secret = getattr(self._specs[name], "secret", "")
            if secret in changed and not output.rekey(secrets[secret], former.get(secret, "")):
                output.close()
                self._outputs[name] = self._open_output(self._specs[name])
        if changed:
            self._fan.arrange(self._outputs.values())
            self._choose_rhythm()

    def _open_sources(self) -> None:
        self._camera = self._steering = None
        self._inbox = deque()  # the threads of former legs may still fill the old one
        self._recover = recover_for(self.flow)
        self._watch = Watch(len(self.flow.sources), straight=isinstance(self._recover, Straight) and len(self.flow.sources) == 1)
        self._sources = [self._open_source(leg, source) for leg, source in enumerate(self.flow.sources)]
        self._pacer = _pacer_of(self.flow)

    def _open_source(self, leg: int, spec: Source) -> FlowSource:
        try:
            if isinstance(spec, Camera):
                slate = Path(self._job.slate) if self._job.slate else None
                self._camera = CameraSource(spec, Path(self._job.handoff), slate, time.monotonic_ns(), self._look_again)
                self._steering = Steering(self._camera)
                return self._camera
            deliver = self._recover.push if self._watch.straight else self._deliver
            opened = open_source(spec, leg, self._secret(spec), deliver, self._restart, self._inbox, self._wake)
            self._tell_former(spec, opened)
            return opened
        except CANNOT_OPEN as error:
            return self._unopened(spec, error)

    def _open_outputs(self) -> None:
        wanted = {output.name: output for output in self.flow.outputs if output.enabled}
        for name in list(self._outputs):
            if self._specs[name] != wanted.get(name):
                self._outputs.pop(name).close()
                del self._specs[name]
        for name, spec in wanted.items():
            if name not in self._outputs:
                self._outputs[name] = self._open_output(spec)
                self._specs[name] = spec
        self._fan.arrange(self._outputs.values())
        self._choose_rhythm()

    def _open_output(self, spec: Output) -> FlowOutput:
        try:
            opened = open_output(spec, self._secret(spec), self._fan, in_background=not self._strict)
            self._tell_former(spec, opened)
            return opened
        except CANNOT_OPEN as error:
            return self._unopened(spec, error)

    def _secret(self, spec: Source | Output) -> str:
        return self._job.secrets.get(spec.secret, "") if isinstance(spec, Keyed) else ""

    def _tell_former(self, spec: Source | Output, opened: FlowSource | FlowOutput) -> None:
        former = self._job.former.get(getattr(spec, "secret", ""), "")
        if former:
            opened.rekey(self._secret(spec), former)

    def _unopened(self, spec: Source | Output, error: Exception) -> Unopened:
        if self._strict:
            raise error
        log.warning("%s cannot be opened: %s", spec.name, error)
        return Unopened(spec, error)

    def _try_again(self) -> None:
        """What could not be opened: a port may be free by now, an address be there."""
        for leg, source in enumerate(self._sources):
            if isinstance(source, Unopened):
                self._sources[leg] = self._open_source(leg, self.flow.sources[leg])
                self._choose_rhythm()
        for name, output in self._outputs.items():
            if isinstance(output, Unopened):
                self._outputs[name] = self._open_output(self._specs[name])
                self._fan.arrange(self._outputs.values())

    def _choose_rhythm(self) -> None:
        self.lazy_ns = self._fan.waited_ns = 0 if self._pacer is not None else self._fan.gather_ns
        # A merge holds everything for its window anyway: its loop need not wake for every datagram
        merges = len(self.flow.sources) > 1 and self.flow.recover == "merge"
        self.patience_ns = max(self.lazy_ns, self.flow.window_ms * 500_000 if merges else 0)
        only, *others = self._sources
        gathers = any(output.gather_ms or getattr(output, "smooth_ms", 0) for output in self._specs.values())
        straight = isinstance(self._recover, Straight) and self._pacer is None and not gathers and not others
        self.lone = only if straight and isinstance(only, DatagramSource) and only.lone else None
        self._look_again()

    def cut(self, cut: Cut) -> None:
        output = self._outputs.get(cut.output)
        if output is not None:
            output.cut(time.monotonic_ns() + int(cut.seconds * 1e9))

    def network_changed(self, changes: Iterable[Change], now_ns: int) -> None:
        for change in changes:
            self._watch.happened(" ".join(part for part in ("network:", change.kind, change.interface, change.address) if part))
        ends: list[FlowSource | FlowOutput] = [*self._sources, *self._outputs.values()]
        for end in ends:
            end.network_changed()
        self._tried_ns = 0
        self._watch.look_at_ways(list(self._outputs.values()), now_ns, again=True)

    # the stream

    def readers(self, *, sockets: bool) -> dict[int, Callable[[int], None]]:
        """File descriptors to watch, and what to call with `now_ns`. Without `sockets`, not those that `drain` empties."""
        readers: dict[int, Callable[[int], None]] = {}
        for source in self._sources:
            if sockets or not isinstance(source, DatagramSource):
                readers.update(source.readers())
        return readers

    @property
    def waiting(self) -> bool:
        """True while something is in the inbox."""
        return bool(self._inbox)

    def stream_due_ns(self) -> int | None:
        """When a part of the stream is due that has arrived."""
        return self._camera.playout.due_ns() if self._camera is not None else self._recover.due_ns()

    def sending_due_ns(self) -> int | None:
        """When something is due that waits to be sent."""
        paced_ns = self._pacer.due_ns() if self._pacer is not None else None
        gathered_ns = self._fan.due_ns()
        return paced_ns if gathered_ns is None else gathered_ns if paced_ns is None else min(paced_ns, gathered_ns)

    def drain(self, now_ns: int) -> None:
        """Take what lies in the sockets."""
        for source in self._sources:
            if isinstance(source, DatagramSource):
                source.drain(now_ns)

    def carry(self, now_ns: int) -> bool:
        """One step of the stream: inbox, recover, pacer, outputs. True when there was something to carry."""
        if self._camera is not None:
            datagrams = self._camera.playout.pop(now_ns)
        else:
            inbox, recover, straight, arrived = self._inbox, self._recover, self._watch.straight, self._watch.arrived
            while inbox:
                leg, number, datagram, arrived_ns = inbox.popleft()
                if number == RESTART:
                    self._restart(leg)
                else:
                    recover.push(leg, number, datagram, arrived_ns)
                    if not straight:
                        arrived[leg].append(datagram)
            if not straight:
                self._watch.take(now_ns)
            datagrams = recover.pop(now_ns)
            if self._pacer is not None:
                for datagram in datagrams:
                    self._pacer.push(datagram, now_ns)
                datagrams = self._pacer.pop(now_ns)
        if datagrams:
            self._send(datagrams, now_ns)
        if self._fan.waits:
            self._fan.serve(now_ns)
        return bool(datagrams)

    def _deliver(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        self._recover.push(leg, number, datagram, now_ns, rebuilt)
        if not rebuilt:
            self._watch.arrived[leg].append(datagram)

    def _restart(self, leg: int) -> None:
        self._recover.restart(leg)
        self._watch.restart(leg, time.monotonic_ns())

    def _send(self, datagrams: list[bytes], now_ns: int) -> None:
        self._fan.send(datagrams, now_ns)
        self._watch.sent(datagrams, now_ns)
        if self._tap is not None:
            self._tap.push(datagrams)
        if self._key_pictures is not None:
            for datagram in datagrams:
                picture = self._key_pictures.push(datagram, now_ns)
                if picture is not None:
                    self._keep_key_picture(picture)

    def _keep_key_picture(self, picture: bytes) -> None:
        fresh = self._job.key_picture + ".new"
        with suppress(OSError):  # a full disk stops no stream; the snapshot's writer says so
            Path(fresh).write_bytes(picture)
            os.replace(fresh, self._job.key_picture)

    def tick(self, now_ns: int) -> None:
        """Ten times a second: whatever is not the stream."""
        if self._camera is not None:
            self._camera.tick(now_ns)
        outputs = list(self._outputs.values())
        for output in outputs:
            output.tick(now_ns)
        if self._steering is not None:
            self._steering.tick(outputs, now_ns)
        if self._tap is not None:
            self._tap.tick(now_ns)
        for leg, source in enumerate(self._sources):
            self._recover.wait_for_repairs(leg, source.repair_ns)
        for source in self._sources:
            if isinstance(source, DatagramSource):
                source.tick(now_ns)
        self._renewal.tick([*self._sources, *outputs], now_ns)
        self._watch.tick(now_ns)
        self._watch.look_at_ways(outputs, now_ns)
        for text in self._recover.events:
            self._watch.happened(text)
        self._recover.events.clear()
        if now_ns - self._tried_ns > RETRY_NS:
            self._tried_ns = now_ns
            self._try_again()

    def status(self) -> FlowStatus:
        now_ns = time.monotonic_ns()
        watch = self._watch
        sources = [source.status(now_ns) for source in self._sources]
        outputs = [output.status(now_ns) for output in self._outputs.values()]
        merge = self._recover.status([source.name for source in self.flow.sources], now_ns)
        health = watch.health(now_ns)
        for end in outputs:
            end.health = health
        if self._camera is None:
            for leg, end in enumerate(sources):
                end.health = watch.health_of(leg, now_ns)
        return FlowStatus(
            name=self.flow.name,
            state="ACTIVE",
            pid=os.getpid(),
            started_at=self._started_at,
            at=time.time(),
            picture=self._camera.playout.picture if self._camera else None,
            rate_bps=self._camera.rate_bps if self._camera else max((source.rate_bps for source in sources), default=0.0),
            sources=sources,
            outputs=outputs,
            merge=merge,
            account=self._recover.account(sources) if self._camera is None else None,
            alarms=watch.alarms(self._recover, self._sources, sources, outputs, merge),
            events=list(watch.events),
            counters=self._counters(),
        )

    def _counters(self) -> dict[str, int]:
        counters = self._camera.counters() if self._camera else {}
        return counters | ({"recording_dropped_bytes": self._tap.dropped_bytes} if self._tap else {})

    def close(self) -> None:
        if self._tap is not None:
            self._tap.close()
        for source in self._sources:
            source.close()
        for output in self._outputs.values():
            output.close()


def _values(known: tuple[dict[str, str], dict[str, str]], name: str) -> tuple[str, str]:
    secrets, former = known
    return secrets.get(name, ""), former.get(name, "")


def _receiving(flow: Flow) -> tuple[object, ...]:
    """What cannot change without opening the sources anew."""
    return flow.sources, flow.recover, flow.window_ms, flow.failover_ms, flow.primary


def _pacer_of(flow: Flow) -> Pacer | None:
    return Pacer(PACER_DELAY_NS) if flow.pacing == "pcr" and flow.camera is None else None
