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

import msgspec

from firmware.child import NO_SNAPSHOT
from firmware.flow.camera import CameraSource
from firmware.flow.ends import CANNOT_OPEN, Unopened, open_output, open_source
from firmware.flow.outputs import FlowOutput
from firmware.flow.recover import Recover, Straight, recover_for
from firmware.flow.sources import RESTART, Arrival, DatagramSource, FlowSource
from firmware.model import Camera, Flow, Output, Source, Srt
from firmware.status import FlowStatus, write_snapshot
from firmware.wire.keypicture import KeyPictures
from firmware.wire.pacer import Pacer
from firmware.wire.rtp import Numberer

TICK_NS = 100_000_000
SNAPSHOT_NS = 500_000_000
RETRY_NS = 2_000_000_000
PACER_DELAY_NS = 80_000_000
SWITCH_INTERVAL_S = 0.0005  # a leg's thread must not wait 5 ms for the loop to give way

log = logging.getLogger("pressbox.flow")


class Cut(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Behave as if an output's path were cut."""

    output: str
    seconds: float


class Job(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a flow worker is told. `secrets` by name; paths are absolute."""

    flow: Flow | None = None
    secrets: dict[str, str] = {}
    snapshot: str = ""
    handoff: str = ""
    slate: str = ""
    key_picture: str = ""
    cut: Cut | None = None

    def __repr__(self) -> str:
        return f"Job({self.flow.name if self.flow else 'change'})"


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
        self._number = Numberer(int.from_bytes(os.urandom(4), "big"), int.from_bytes(os.urandom(2), "big"))
        self._key_pictures = KeyPictures() if job.key_picture else None
        self._open_sources()
        self._open_outputs()
        self._strict = False

    # what the flow is made of

    def apply(self, job: Job, flow: Flow) -> None:
        """Become `flow`. Outputs that stay as they are notice nothing; sources are opened anew only when they changed."""
        before, self.job, self.flow = self.flow, job, flow
        unchanged = (before.sources, before.recover, before.window_ms, before.failover_ms) == (
            flow.sources,
            flow.recover,
            flow.window_ms,
            flow.failover_ms,
        )
        if not unchanged:
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
        self._lone = only if straight and isinstance(only, DatagramSource) else None

    def _open_sources(self) -> None:
        self._camera = None
        self._inbox = deque()  # the threads of former legs may still fill the old one
        self._recover = recover_for(self.flow)
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
            secret = self.job.secrets.get(spec.secret, "") if isinstance(spec, Srt) else ""
            return open_source(spec, leg, secret, self._recover, self._inbox, self._wake)
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

    def _open_output(self, spec: Output) -> FlowOutput:
        try:
            secret = self.job.secrets.get(spec.secret, "") if isinstance(spec, Srt) else ""
            return open_output(spec, secret, in_background=not self._strict)
        except CANNOT_OPEN as error:
            return self._unopened(spec, error)

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

    def _all_readers(self) -> dict[int, Callable[[int], None]]:
        readers = {self._wake_read: self._woken, **self.readers}
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

    def _look_again(self) -> None:
        """A source has another file descriptor to watch."""
        self._readers_changed = True

    def _woken(self, now_ns: int) -> None:
        os.read(self._wake_read, 4096)

    def _due_ns(self, tick_ns: int) -> int:
        part_ns = self._camera.playout.due_ns() if self._camera else self._recover.due_ns()
        due_ns = tick_ns if part_ns is None or part_ns > tick_ns else part_ns
        if self._pacer is not None:
            part_ns = self._pacer.due_ns()
            if part_ns is not None and part_ns < due_ns:
                return part_ns
        return due_ns

    def _carry(self, now_ns: int) -> None:
        """One step of the stream: inbox, recover, pacer, outputs."""
        if self._camera is not None:
            datagrams = self._camera.playout.pop(now_ns)
        else:
            inbox, recover = self._inbox, self._recover
            while inbox:
                leg, number, datagram, arrived_ns = inbox.popleft()
                if number == RESTART:
                    recover.restart(leg)
                else:
                    recover.push(leg, number, datagram, arrived_ns)
            datagrams = recover.pop(now_ns)
            if self._pacer is not None:
                for datagram in datagrams:
                    self._pacer.push(datagram, now_ns)
                datagrams = self._pacer.pop(now_ns)
        if datagrams:
            self._send(datagrams, now_ns)

    def _send(self, datagrams: list[bytes], now_ns: int) -> None:
        packets: list[bytes] | None = None
        for output in self._outputs.values():
            if output.wants_rtp:
                if packets is None:
                    packets = [self._number(datagram, now_ns) for datagram in datagrams]
                output.send(packets, now_ns)
            else:
                output.send(datagrams, now_ns)
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
        for output in tuple(self._outputs.values()):
            output.tick(now_ns)
        if now_ns - self._tried_ns > RETRY_NS:
            self._tried_ns = now_ns
            self._try_again()
        if self.on_tick is not None:
            self.on_tick(now_ns)

    def status(self) -> FlowStatus:
        now_ns = time.monotonic_ns()
        sources = [source.status(now_ns) for source in self._sources]
        return FlowStatus(
            name=self.flow.name,
            state="ACTIVE",
            pid=os.getpid(),
            started_at=self.started_at,
            at=time.time(),
            picture=self._camera.playout.picture if self._camera else None,
            rate_bps=self._camera.rate_bps if self._camera else max((source.rate_bps for source in sources), default=0.0),
            sources=sources,
            outputs=[output.status(now_ns) for output in self._outputs.values()],
            merge=self._recover.status([source.name for source in self.flow.sources], now_ns),
            counters=self._camera.counters() if self._camera else {},
        )


class _Orders:
    """Lines of JSON from the parent, on standard input."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self) -> list[Job] | None:
        """What came; None at the end of standard input."""
        data = os.read(0, 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [msgspec.json.decode(line, type=Job) for line in lines]

    def follow(self, worker: FlowWorker, jobs: list[Job] | None) -> None:
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
    orders = _Orders()
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
    orders.follow(worker, more)
    worker.readers[0] = lambda _now_ns: orders.follow(worker, orders.read())
    try:
        worker.run()
    finally:
        worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
