"""A worker process: started with its job on standard input, started again when it ends."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

SETTLED_NS = 1_000_000_000  # a worker that lived this long is started again at once
LONGEST_WAIT_NS = 5_000_000_000
FIRST_WAIT_NS = 100_000_000
LONGEST_WORDS = 2000
KILLED_S = 2.0
NO_SNAPSHOT = "no snapshot can be written"

log = logging.getLogger("pressbox.child")


class Child:
    """`python -m module`, kept alive. `words` is the last it said on standard error, which is where workers say why they end."""

    def __init__(
        self, name: str, module: str, job: Callable[[], bytes], *, arguments: Sequence[str] = (), niceness: int = 0, flow: str = ""
    ) -> None:
        self.name = name
        self.module = module
        self.job = job  # one line; asked for at each start
        self.arguments = arguments
        self.niceness = niceness
        self._fields = {"flow": flow}  # of what the log says of it
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.words = ""
        self.started_ns = 0
        self.mute_ns = 0  # when it said last that it cannot write its snapshot: a sign of life, too
        self._quick_ends = 0
        self._start_at_ns = 0

    def keep(self, now_ns: int) -> None:
        """Start it, if it is not running and has waited long enough; call this several times a second."""
        self._listen(now_ns)
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self._ended(code, now_ns)
        if now_ns >= self._start_at_ns:
            self._start(now_ns)

    def tell(self, line: bytes) -> None:
        """Another line for a worker that runs. Never waits: one that reads nothing for 64 kB of orders hangs."""
        if self.process is None or self.process.stdin is None:
            return
        order = line + b"\n"
        try:
            written = os.write(self.process.stdin.fileno(), order)
        except BrokenPipeError:
            return  # `keep` will see that it ended, and start it with the newest job
        except BlockingIOError:
            written = 0
        if written < len(order):
            self.kill("it reads no orders")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self, why: str) -> None:
        """It hangs: end it so that it is started again."""
        if self.process is not None:
            log.warning("%s is ended: %s", self.name, why, extra=self._fields | {"event": "stalled"})
            self.process.kill()

    def stop(self, wait_s: float = 2.0) -> None:
        """End it for good: by the end of its input, then by force."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it ended by itself
                process.stdin.close()
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, on a disk or a driver: nobody waits for that
                process.wait(KILLED_S)
        if process.stderr is not None:
            process.stderr.close()

    def _start(self, now_ns: int) -> None:
        line = self.job()
        self.process = subprocess.Popen([sys.executable, "-m", self.module, *self.arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        if self.niceness:
            os.setpriority(os.PRIO_PROCESS, self.process.pid, self.niceness)
        for pipe in (self.process.stdin, self.process.stderr):
            assert pipe is not None  # noqa: S101
            os.set_blocking(pipe.fileno(), False)
        self.words = ""
        self.starts += 1
        self.started_ns = now_ns
        self.tell(line)

    def _ended(self, code: int, now_ns: int) -> None:
        self._listen(now_ns)
        assert self.process is not None  # noqa: S101
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what it did not read is told again at the next start
                    pipe.close()
        self.process = None
        self.words = self.words or f"{self.name} ended ({_in_words(code)})"
        settled = now_ns - self.started_ns > SETTLED_NS
        self._quick_ends = 0 if settled else self._quick_ends + 1
        wait_ns = 0 if settled else min(LONGEST_WAIT_NS, FIRST_WAIT_NS << min(self._quick_ends, 10))
        self._start_at_ns = now_ns + wait_ns
        log.warning(
            "%s ended (%s) and is started again in %.1f s",
            self.name,
            _in_words(code),
            wait_ns / 1e9,
            extra=self._fields | {"event": "worker-restarted"},
        )

    def _listen(self, now_ns: int) -> None:
        if self.process is None or self.process.stderr is None:
            return
        try:
            said = os.read(self.process.stderr.fileno(), 1 << 16)
        except BlockingIOError:
            return
        for line in said.decode(errors="replace").splitlines():
            if line.strip():
                self.words = line.strip()[:LONGEST_WORDS]
                log.info("%s: %s", self.name, self.words, extra=self._fields)
                if NO_SNAPSHOT in self.words:
                    self.mute_ns = now_ns


def _in_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
