"""A real libasound device that hears what a test plays: ALSA's `file` plug-in reads a FIFO, which a thread feeds in real time."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from array import array
from pathlib import Path

from hw.frame import SAMPLE_RATE_HZ

CHUNK = 480
F_SETPIPE_SZ = 1031
WAYS = """
pcm.nothing {{ type null }}
pcm.shaped {{ type multi slaves.a {{ pcm "nothing" channels {channels} }} bindings {{ {bindings} }} }}
pcm.room {{ type file slave.pcm "shaped" file "/dev/null" infile "{fifo}" format "raw" }}
"""


class Room:
    """Plays `planes`, a channel each, over and over: integers of 16 bits, a tenth of a second. The device is `room`, by `config`."""

    def __init__(self, folder: Path, planes: list[list[int]]) -> None:
        self.config, fifo = folder / "asoundrc", folder / "room"
        os.mkfifo(fifo)
        channels = len(planes)
        bindings = " ".join(f"{n} {{ slave a channel {n} }}" for n in range(channels))
        self.config.write_text(WAYS.format(channels=channels, bindings=bindings, fifo=fifo))
        self._fifo = os.open(fifo, os.O_RDWR)  # open at both ends: nobody waits for the other, and there is no end
        fcntl.fcntl(self._fifo, F_SETPIPE_SZ, 4096)
        self.began_ns = 0
        loop = array("h", [level for levels in zip(*planes, strict=True) for level in levels]).tobytes()
        self._chunks = [loop[at : at + CHUNK * channels * 2] for at in range(0, len(loop), CHUNK * channels * 2)]
        self._quiet = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def fall_silent(self) -> None:
        """The driver gives nothing any more, and does not say so."""
        self._quiet.set()
        self._thread.join()

    def close(self) -> None:
        self._quiet.set()
        os.close(self._fifo)

    def _run(self) -> None:
        self.began_ns, written = time.monotonic_ns(), 0
        while not self._quiet.is_set():
            ahead_s = (written + 1) * CHUNK / SAMPLE_RATE_HZ - (time.monotonic_ns() - self.began_ns) / 1e9
            if ahead_s > 0:
                time.sleep(ahead_s)
            try:
                os.write(self._fifo, self._chunks[written % len(self._chunks)])
            except OSError:
                return
            written += 1
