"""A flow worker: one loop around a `RunningFlow`.

`python -m firmware.flow.worker` reads one JSON line of `Job` from standard input; further lines change the flow while
it runs, or cut an output on purpose. The end of standard input ends the worker: its parent is gone.

A wake-up costs as much as carrying ten datagrams, so the loop sleeps where it may. A source that is alone is waited for in one
system call, not two. Where every output gathers, it reads lazily: while a stream flows it sleeps for as long as the least of
them gathers, and then takes what lies in the sockets and the inbox; while none does, it waits for the sockets.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from firmware.child import NO_SNAPSHOT
from firmware.flow.orders import Cut, Job, Orders
from firmware.flow.running import RunningFlow
from firmware.model import Flow
from firmware.net.links import LinkWatch
from firmware.status import FlowStatus, write_snapshot

TICK_NS = 100_000_000
LATE_NS = 10_000_000  # held up for so long: what lies in the sockets comes before what has become due meanwhile
SNAPSHOT_NS = 500_000_000
SWITCH_INTERVAL_S = 0.0005  # a leg's thread must not wait 5 ms for the loop to give way
CLOSING_S = 5
AT_ONCE = 1 << 62  # in place of a time of arrival: wake up in any case

log = logging.getLogger("pressbox.flow")

Reader = Callable[[int], None]


class FlowWorker:
    """`strict`: an end that cannot be opened is an error; else it is tried again every now and then while the others run."""

    def __init__(self, job: Job, flow: Flow, *, strict: bool = False) -> None:
        self.stopping = False
        self.on_tick: Callable[[int], None] | None = None  # for whoever runs a flow in the foreground
        self.orders: dict[int, Reader] = {}  # where orders come from
        self._snapshot = job.snapshot
        self._asleep_until_ns = 0
        self._readers_changed = True
        self._flows = False  # something came when the sockets were last looked at
        self._looked_ns = 0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._running = RunningFlow(job, flow, self._wake, self._look_again, strict=strict)
        self._links = _watch_links()

    @property
    def flow(self) -> Flow:
        return self._running.flow

    def apply(self, job: Job, flow: Flow) -> None:
        """Become `flow`; `RunningFlow.apply` says what that disturbs."""
        self._running.apply(job, flow)

    def cut(self, cut: Cut) -> None:
        self._running.cut(cut)

    def status(self) -> FlowStatus:
        return self._running.status()

    def run(self) -> None:
        """Until `stopping`."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        running = self._running
        readers: dict[int, Reader] = {}
        next_tick = next_snapshot = time.monotonic_ns()
        look_round = True
        while not self.stopping:
            if self._readers_changed:
                self._readers_changed = False
                readers = self._all_readers()
            if running.lone is not None and not look_round:
                now_ns = due_ns = running.lone.wait()
                ready: list[int] = []
            else:
                look_round = False
                due_ns = self._due_ns(next_tick)
                ready = self._sleep(readers, due_ns)
                now_ns = time.monotonic_ns()
            for descriptor in ready:
                readers[descriptor](now_ns)
                if self._readers_changed:
                    break  # the others may be closed by now; if not, they are still ready the next time
            if not running.lazy_ns:
                if now_ns - due_ns > LATE_NS:
                    running.drain(now_ns)
                running.carry(now_ns)
            elif not self._flows or now_ns >= self._looked_ns + running.lazy_ns:
                self._look(now_ns)
            if now_ns >= next_tick:
                next_tick = now_ns + TICK_NS
                look_round = True  # for orders, which a lone source does not wait for
                running.tick(now_ns)
                if self.on_tick is not None:
                    self.on_tick(now_ns)
                if now_ns >= next_snapshot:
                    next_snapshot = now_ns + SNAPSHOT_NS
                    self._report()

    def _sleep(self, readers: dict[int, Reader], due_ns: int) -> list[int]:
        """Until something is due or can be read."""
        running, now_ns = self._running, time.monotonic_ns()
        self._asleep_until_ns = due_ns
        if running.waiting:  # it came after the last look and before a leg's thread could know that we sleep
            due_ns = min(due_ns, now_ns + running.patience_ns)
        wait_s = (due_ns - now_ns) / 1e9 if due_ns > now_ns and running.lone is None else 0
        ready = select.select(readers, (), (), wait_s)[0]
        self._asleep_until_ns = 0
        return ready

    def _look(self, now_ns: int) -> None:
        """One step of a stream that is read lazily."""
        self._looked_ns = now_ns
        self._running.drain(now_ns)
        flowed, self._flows = self._flows, self._running.carry(now_ns)
        if flowed != self._flows:
            self._look_again()

    def _due_ns(self, tick_ns: int) -> int:
        running = self._running
        stream_ns, sending_ns = running.stream_due_ns(), running.sending_due_ns()
        if running.lazy_ns:
            next_look_ns = self._looked_ns + running.lazy_ns
            if self._flows:
                stream_ns = next_look_ns
            elif stream_ns is not None:
                stream_ns = max(stream_ns, next_look_ns)
        due_ns = tick_ns if stream_ns is None or stream_ns > tick_ns else stream_ns
        return due_ns if sending_ns is None or sending_ns > due_ns else sending_ns

    def stop(self, *_: Any) -> None:
        self.stopping = True
        self._wake(AT_ONCE)

    def close(self) -> None:
        self._running.close()
        if self._links is not None:
            self._links.close()

    def _all_readers(self) -> dict[int, Reader]:
        running = self._running
        readers = {self._wake_read: self._woken, **self.orders, **running.readers(sockets=not (running.lazy_ns and self._flows))}
        if self._links is not None:
            readers[self._links.fileno()] = self._links_changed
        return readers

    def _look_again(self) -> None:
        """There are other file descriptors to watch."""
        self._readers_changed = True

    def _wake(self, arrived_ns: int) -> None:
        """Called by the legs' threads: see to it that the loop looks into the inbox in time."""
        asleep_until_ns = self._asleep_until_ns
        if arrived_ns == AT_ONCE or (asleep_until_ns and asleep_until_ns > arrived_ns + self._running.patience_ns):
            self._asleep_until_ns = 0
            try:
                os.write(self._wake_write, b"!")
            except BlockingIOError:
                return  # it is full of wake-ups already

    def _woken(self, now_ns: int) -> None:
        os.read(self._wake_read, 4096)

    def _links_changed(self, now_ns: int) -> None:
        changes = self._links.read() if self._links is not None else []
        if changes:
            self._running.network_changed(changes, now_ns)

    def _report(self) -> None:
        if self._snapshot:
            try:
                write_snapshot(Path(self._snapshot), self.status())
            except OSError as error:  # a full disk stops no stream
                log.warning("%s to %s: %s", NO_SNAPSHOT, self._snapshot, error.strerror)


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
    worker.orders[0] = lambda _now_ns: _follow(worker, orders.read())
    try:
        worker.run()
    finally:
        signal.alarm(CLOSING_S)  # ends the process whatever a library waits for
        worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
