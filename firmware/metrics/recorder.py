"""The recorder: once a second the snapshots of all flows become metrics, once a minute they go to the disk. A process of its own.

    echo '{"run": "/run/pressbox", "state": "/var/lib/pressbox"}' | python -m firmware.metrics.recorder

It ends when stdin does.
"""

from __future__ import annotations

import logging
import math
import os
import select
import sys
import time
from array import array
from pathlib import Path

import msgspec

from firmware.alone import hold
from firmware.metrics.blocks import Part, Table, pack
from firmware.metrics.hours import Hours
from firmware.metrics.measure import METRICS, NAMES, Dimension, Metric, readings, settled
from firmware.metrics.ring import FOLDER, Ring, allowed_bytes, forget_oldest_flows, keep_within
from firmware.metrics.tail import TAIL, Row, Tail, is_ours, read_tail
from firmware.private import make_folder
from firmware.status import FlowStatus, read_snapshot

SNAPSHOT = ".flow.json"
LARGEST_BYTES = 2 << 30  # of all flows together
DELETED_FLOWS_KEPT = 20  # whose history is kept
LONGEST_GAP_NS = 10_000_000_000  # what grew in a longer one is nobody's second
NICENESS = 5

_log = logging.getLogger("pressbox.metrics")


class Config(msgspec.Struct, forbid_unknown_fields=True):
    run: str
    state: str
    largest_bytes: int = LARGEST_BYTES


class FlowRecord:
    """What is recorded of one flow. `lost` counts the seconds that could not be written."""

    def __init__(self, name: str, run: Path, root: Path) -> None:
        self.name = name
        self.lost = 0
        self._snapshot = run / f"{name}{SNAPSHOT}"
        self._tail_path = run / f"{name}{TAIL}"
        self._ring = Ring(root / name, "seconds")
        self._tail: Tail | None = None
        self._before: FlowStatus | None = None
        self._before_ns = 0
        self._mtime_ns = 0
        self._recover()

    def look(self, second: int, now_ns: int) -> None:
        """Take the snapshot, where there is a new one."""
        try:
            mtime_ns = self._snapshot.stat().st_mtime_ns
        except OSError:
            return
        if mtime_ns == self._mtime_ns:
            return
        self._mtime_ns = mtime_ns
        status = read_snapshot(self._snapshot, FlowStatus)
        if status is None or (self._before is not None and self._before.at == status.at):
            return
        before = self._before if now_ns - self._before_ns <= LONGEST_GAP_NS else None
        found = readings(before, status)
        self._before, self._before_ns = settled(before, status), now_ns
        if not found:
            return
        ends = [dimension for dimension, _ in found]
        if self._tail is not None and not self._tail.takes(second, ends):
            self.flush()
        if self._tail is None:
            self._tail = Tail(self._tail_path, ends)
        self._tail.add(second, found)

    def flush_if_over(self, second: int) -> None:
        if self._tail is not None and self._tail.rows and self._tail.rows[-1][0] // 60 != second // 60:
            self.flush()

    def flush(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            self._write(tail.id, tail.ends, tail.rows)
            self._tail_path.unlink(missing_ok=True)

    def _write(self, id_: int, ends: list[Dimension], rows: list[Row]) -> None:
        if not rows:
            return
        try:
            self._ring.add(_block(id_, ends, rows), rows[0][0])
        except OSError as error:
            self.lost += len(rows)
            _log.warning("flow %s: a minute of metrics cannot be written: %s; %d s lost so far", self.name, error.strerror, self.lost)

    def _recover(self) -> None:
        """What a recorder before this one left when it was killed."""
        found = read_tail(self._tail_path)
        if found is not None and is_ours(found.head) and not self._ring.has(found.head.id, found.rows[0][0] if found.rows else 0):
            self._write(found.head.id, found.head.ends, found.rows)
        self._tail_path.unlink(missing_ok=True)


def _block(id_: int, ends: list[Dimension], rows: list[Row]) -> bytes:
    start = rows[0][0] // 60 * 60
    every = array("f")
    for _, row in rows:
        every += row
    width, at = len(rows[0][1]), 0
    parts: list[list[array[float]]] = []
    for kind, _ in ends:
        names = NAMES[kind]
        parts.append([_coarse(every[at + place :: width], METRICS[name]) for place, name in enumerate(names)])
        at += len(names)
    table = Table([second - start for second, _ in rows], [Part(kind, name, 0) for kind, name in ends], "f")
    return pack(id_, start, table, parts)


def _coarse(column: array[float], metric: Metric) -> array[float]:
    """A gauge of 16 bits, 256 b/s of 10 Mb/s: the noise below is half of what would be written. Counts stay exact."""
    if metric.shape == "count":
        return column
    raw = bytearray(column.tobytes())
    raw[0::4] = bytes(len(column))
    return array("f", bytes(raw))


class Recorder:
    """`look` once a second."""

    def __init__(self, config: Config) -> None:
        self._run = Path(config.run)
        self._root = Path(config.state) / FOLDER
        make_folder(self._root)
        self._largest_bytes = config.largest_bytes
        self._flows: dict[str, FlowRecord] = {}
        self._hours = Hours(self._root)
        self._minute = -1
        self.failures = 0
        for path in self._run.glob(f"*{TAIL}"):
            self._record(path.name.removesuffix(TAIL))

    def look(self, now_s: float, now_ns: int) -> None:
        second = math.floor(now_s)
        with os.scandir(self._run) as entries:
            names = {entry.name.removesuffix(SNAPSHOT) for entry in entries if entry.name.endswith(SNAPSHOT)}
        for name in names:
            self._take(name, second, now_ns)
        for name in self._flows.keys() - names:
            self._flows.pop(name).flush()
        for record in self._flows.values():
            record.flush_if_over(second)
        self._hours.go_on()
        if self._minute != second // 60:
            self._minute = second // 60
            self._tidy(second)

    def _take(self, name: str, second: int, now_ns: int) -> None:
        try:
            self._record(name).look(second, now_ns)
        except OSError as error:  # the run folder is full: the others shall be recorded all the same
            self.failures += 1
            if self.failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th …
                _log.warning("flow %s: %s cannot be written: %s; %d times so far", name, self._run, error.strerror, self.failures)

    def close(self) -> None:
        for record in self._flows.values():
            record.flush()

    def _record(self, name: str) -> FlowRecord:
        if name not in self._flows:
            self._flows[name] = FlowRecord(name, self._run, self._root)
        return self._flows[name]

    def _tidy(self, second: int) -> None:
        try:
            self._hours.look(second)
            forget_oldest_flows(self._root, DELETED_FLOWS_KEPT, self._flows)
            keep_within(self._root, allowed_bytes(self._root, self._largest_bytes))
        except OSError as error:
            _log.warning("%s cannot be tidied: %s", self._root, error.strerror)


def main() -> None:
    logging.basicConfig(format="metrics: %(message)s")
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    os.nice(NICENESS)
    lock = hold(Path(config.state) / f"{FOLDER}.lock")
    if lock is None:
        sys.exit(f"another one records to {config.state}")
    recorder = Recorder(config)
    while True:
        try:
            recorder.look(time.time(), time.monotonic_ns())
        except OSError as error:
            _log.warning("metrics are not recorded: %s", error)
        wait_s = 1.5 - time.time() % 1  # in the middle of each second: none is missed or met twice as time goes on
        readable, _, _ = select.select([sys.stdin], [], [], wait_s)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            recorder.close()
            return


if __name__ == "__main__":
    main()
