"""A flow worker: one loop that takes datagrams from the sources, recovers one stream, and gives it to the outputs.

    camera --> playout ---------------------------+
    udp, rtp --> (read by the loop) --> inbox --+ |
    srt --> (a thread a leg) ---------> inbox --+-+--> recover --> pacer? --> output, output, output

`python -m firmware.flow.worker` reads one JSON line of `Job` from standard input; further lines change the flow while
it runs, or cut an output on purpose. The end of standard input ends the worker: its parent is gone.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from firmware.child import NO_SNAPSHOT
from firmware.flow.camera import CameraSource
from firmware.flow.ends import CANNOT_OPEN, Unopened, open_output, open_source
from firmware.flow.fan import Fan
from firmware.flow.orders import Cut, Job, Orders
from firmware.flow.outputs import FlowOutput
from firmware.flow.recover import Recover, Straight, recover_for
from firmware.flow.sources import RESTART, Arrival, DatagramSource, FlowSource
from firmware.flow.watch import Watch
from firmware.model import Camera, Flow, Keyed, Output, Source
from firmware.net.links import LinkWatch
from firmware.status import FlowStatus, write_snapshot
from firmware.wire.keypicture import KeyPictures
from firmware.wire.pacer import Pacer

TICK_NS = 100_000_000
SNAPSHOT_NS = 500_000_000
RETRY_NS = 2_000_000_000
PACER_DELAY_NS = 80_000_000
SWITCH_INTERVAL_S = 0.0005  # a leg's thread must not wait 5 ms for the loop to give way

log = logging.getLogger("pressbox.flow")


class FlowWorker:
    """`strict`: an end that cannot be opened is an error; else it is tried again every now and then while the others run."""

    def __init__(self, job: Job, flow: Flow, *, strict: bool = False) -> None:
        self._strict = strict
        self.job = job
        self.flow = flow
        self.started_at = time.time()
        self.stopping = False
        self.on_tick: Callable[[int], None] | None = None  # for whoever runs a flow in the foreground
        self.readers: dict[int, Callable[[int], None]] = {}
        self._inbox: deque[Arrival] = deque()
        self._asleep_until_ns = 0
        self._readers_changed = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._sources: list[FlowSource] = []
        self._camera: CameraSource | None = None
        self._outputs: dict[str, FlowOutput] = {}
        self._specs: dict[str, Output] = {}
        self._recover: Recover
        self._pacer: Pacer | None = None
        self._lone: DatagramSource | None = None
        self._tried_ns = 0
        self._patience_ns = 0  # how long an arrival may wait in the inbox
        self._fan = Fan()
        self._watch: Watch
        self._key_pictures = KeyPictures() if job.key_picture else None
        self._open_sources()
        self._open_outputs()
        self._strict = False
        self._links = _watch_links()

    # what the flow is made of

    def apply(self, job: Job, flow: Flow) -> None:
        """Become `flow`. Outputs that stay as they are notice nothing; sources are opened anew only when they changed."""
        before, self.job, self.flow = self.flow, job, flow
        if _receiving(before) != _receiving(flow):
            for source in self._sources:
                source.close()
            self._open_sources()
        elif before.pacing != flow.pacing:
            self._choose_pacer()
        self._open_outputs()

    def _choose_pacer(self) -> None:
        self._pacer = Pacer(PACER_DELAY_NS) if self.flow.pacing == "pcr" and self.flow.camera is None else None
        # Where one socket is all that can bring a datagram it is waited for directly; orders are looked for ten times a second
        only, *others = self._sources
        straight = isinstance(self._recover, Straight) and self._pacer is None and not others
        self._lone = only if straight and isinstance(only, DatagramSource) and only.lone else None

    def _open_sources(self) -> None:
        self._camera = None
        self._inbox = deque()  # the threads of former legs may still fill the old one
        self._recover = recover_for(self.flow)
        self._watch = Watch(len(self.flow.sources), straight=isinstance(self._recover, Straight) and len(self.flow.sources) == 1)
        self._sources = [self._open_source(leg, source) for leg, source in enumerate(self.flow.sources)]
        self._choose_pacer()
        # A merge holds everything for its window anyway: its loop need not wake for every datagram
        self._patience_ns = self.flow.window_ms * 500_000 if len(self.flow.sources) > 1 and self.flow.recover == "merge" else 0
        self._look_again()

    def _open_source(self, leg: int, spec: Source) -> FlowSource:
        try:
            if isinstance(spec, Camera):
                slate = Path(self.job.slate) if self.job.slate else None
                self._camera = CameraSource(spec, Path(self.job.handoff), slate, time.monotonic_ns(), self._look_again)
                return self._camera
            deliver = self._recover.push if self._watch.straight else self._deliver
            return open_source(spec, leg, self._secret(spec), deliver, self._restart, self._inbox, self._wake)
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

    def _open_output(self, spec: Output) -> FlowOutput:
        try:
            return open_output(spec, self._secret(spec), self._fan, in_background=not self._strict)
        except CANNOT_OPEN as error:
            return self._unopened(spec, error)

    def _secret(self, spec: Source | Output) -> str:
        return self.job.secrets.get(spec.secret, "") if isinstance(spec, Keyed) else ""

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
                self._look_again()
        for name, output in self._outputs.items():
            if isinstance(output, Unopened):
                self._outputs[name] = self._open_output(self._specs[name])
                self._fan.arrange(self._outputs.values())

    def cut(self, cut: Cut) -> None:
        output = self._outputs.get(cut.output)
        if output is not None:
            output.cut(time.monotonic_ns() + int(cut.seconds * 1e9))

    # the loop

    def run(self) -> None:
        """Until `stopping`."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        next_tick = next_snapshot = time.monotonic_ns()
        readers = self._all_readers()
        look_round = True
        while not self.stopping:
            now_ns = time.monotonic_ns()
            due_ns = self._due_ns(next_tick)
            self._asleep_until_ns = due_ns
            if self._inbox:  # it came after the last look and before a leg's thread could know that we sleep
                due_ns = min(due_ns, now_ns + self._patience_ns)
            if self._lone is not None and not look_round:
                self._lone.wait()
                ready = []
            else:
                wait_s = (due_ns - now_ns) / 1e9 if due_ns > now_ns and self._lone is None else 0
                ready = select.select(readers, (), (), wait_s)[0]
                look_round = False
            self._asleep_until_ns = 0
            now_ns = time.monotonic_ns()
            for descriptor in ready:
                reader = readers.get(descriptor)
                if reader is not None:
                    reader(now_ns)
                    if self._readers_changed:
                        self._readers_changed = False
                        readers = self._all_readers()
            self._carry(now_ns)
            if now_ns >= next_tick:
                next_tick = now_ns + TICK_NS
                look_round = True  # for orders, which a lone source does not wait for
                self._tick(now_ns)
                readers = self._all_readers()
                if now_ns >= next_snapshot:
                    next_snapshot = now_ns + SNAPSHOT_NS
                    self._report()

    def stop(self, *_: Any) -> None:
        self.stopping = True
        self._wake(1 << 62)

    def close(self) -> None:
        for source in self._sources:
            source.close()
        for output in self._outputs.values():
            output.close()
        if self._links is not None:
            self._links.close()

    def _all_readers(self) -> dict[int, Callable[[int], None]]:
        readers = {self._wake_read: self._woken, **self.readers}
        if self._links is not None:
            readers[self._links.fileno()] = self._links_changed
        for source in self._sources:
            readers.update(source.readers())
        return readers

    def _wake(self, arrived_ns: int) -> None:
        """Called by the legs' threads: see to it that the loop looks into the inbox in time."""
        if self._asleep_until_ns > arrived_ns + self._patience_ns or arrived_ns == 1 << 62:
            self._asleep_until_ns = 0
            try:
                os.write(self._wake_write, b"!")
            except BlockingIOError:
                return  # it is full of wake-ups already

    def _deliver(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None:
        self._recover.push(leg, number, datagram, now_ns, rebuilt)
        if not rebuilt:
            self._watch.arrived[leg].append(datagram)

    def _restart(self, leg: int) -> None:
        self._recover.restart(leg)
        self._watch.restart(leg, time.monotonic_ns())

    def _links_changed(self, now_ns: int) -> None:
        changes = self._links.read() if self._links is not None else []
        if not changes:
            return
        for change in changes:
            self._watch.happened(" ".join(part for part in ("network:", change.kind, change.interface, change.address) if part))
        ends: list[FlowSource | FlowOutput] = [*self._sources, *self._outputs.values()]
        for end in ends:
            end.network_changed()
        self._tried_ns = 0
        self._watch.look_at_ways(list(self._outputs.values()), now_ns, again=True)

    def _look_again(self) -> None:
        """A source has another file descriptor to watch."""
        self._readers_changed = True

    def _woken(self, now_ns: int) -> None:
        os.read(self._wake_read, 4096)

    def _due_ns(self, tick_ns: int) -> int:
        part_ns = self._camera.playout.due_ns() if self._camera else self._recover.due_ns()
        due_ns = tick_ns if part_ns is None or part_ns > tick_ns else part_ns
        for part in (self._pacer, self._fan):
            part_ns = part.due_ns() if part is not None else None
            if part_ns is not None and part_ns < due_ns:
                due_ns = part_ns
        return due_ns

    def _carry(self, now_ns: int) -> None:
        """One step of the stream: inbox, recover, pacer, outputs."""
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
            self._watch.take(now_ns)
            datagrams = recover.pop(now_ns)
            if self._pacer is not None:
                for datagram in datagrams:
                    self._pacer.push(datagram, now_ns)
                datagrams = self._pacer.pop(now_ns)
        if datagrams:
            self._send(datagrams, now_ns)
        self._fan.serve(now_ns)

    def _send(self, datagrams: list[bytes], now_ns: int) -> None:
        self._fan.send(datagrams, now_ns)
        self._watch.left.push(datagrams, now_ns)
        if self._key_pictures is not None:
            for datagram in datagrams:
                picture = self._key_pictures.push(datagram, now_ns)
                if picture is not None:
                    self._keep_key_picture(picture)

    def _keep_key_picture(self, picture: bytes) -> None:
        fresh = self.job.key_picture + ".new"
        with suppress(OSError):  # a full disk stops no stream; the snapshot's writer says so
            Path(fresh).write_bytes(picture)
            os.replace(fresh, self.job.key_picture)

    def _report(self) -> None:
        if self.job.snapshot:
            try:
                write_snapshot(Path(self.job.snapshot), self.status())
            except OSError as error:  # a full disk stops no stream
                log.warning("%s to %s: %s", NO_SNAPSHOT, self.job.snapshot, error.strerror)

    def _tick(self, now_ns: int) -> None:
        if self._camera is not None:
            self._camera.tick(now_ns)
        outputs = list(self._outputs.values())
        for output in outputs:
            output.tick(now_ns)
        self._watch.tick(now_ns)
        self._watch.look_at_ways(outputs, now_ns)
        for text in self._recover.events:
            self._watch.happened(text)
        self._recover.events.clear()
        if now_ns - self._tried_ns > RETRY_NS:
            self._tried_ns = now_ns
            self._try_again()
        if self.on_tick is not None:
            self.on_tick(now_ns)

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
            started_at=self.started_at,
            at=time.time(),
            picture=self._camera.playout.picture if self._camera else None,
            rate_bps=self._camera.rate_bps if self._camera else max((source.rate_bps for source in sources), default=0.0),
            sources=sources,
            outputs=outputs,
            merge=merge,
            account=self._recover.account(sources) if self._camera is None else None,
            alarms=watch.alarms(self._recover, self._sources, sources, outputs, merge),
            events=list(watch.events),
            counters=self._camera.counters() if self._camera else {},
        )


def _receiving(flow: Flow) -> tuple[object, ...]:
    """What cannot change without opening the sources anew."""
    return flow.sources, flow.recover, flow.window_ms, flow.failover_ms, flow.primary


def _watch_links() -> LinkWatch | None:
    try:
        return LinkWatch()
    except OSError as error:  # a sandbox without AF_NETLINK: then silence alone tells that a link is gone
        log.warning("changes of links are not seen: %s", error.strerror)
        return None


def _follow(worker: FlowWorker, jobs: list[Job] | None) -> None:
    if jobs is None:
        worker.stop()
        return
    for job in jobs:
        if job.flow is not None:
            worker.apply(job, job.flow)
        if job.cut is not None:
            worker.cut(job.cut)


def main() -> int:
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
    orders = Orders()
    jobs: list[Job] = []
    while not jobs:
        came = orders.read()
        if came is None:
            return 0
        jobs = came
    first, *more = jobs
    if first.flow is None:
        print("the first line must hold a flow", file=sys.stderr)
        return 2
    try:
        worker = FlowWorker(first, first.flow)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 3
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    _follow(worker, more)
    worker.readers[0] = lambda _now_ns: _follow(worker, orders.read())
    try:
        worker.run()
    finally:
        worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
