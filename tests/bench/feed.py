"""The pattern camera as raw video on standard output, in real time: the same pictures for encoders that are not ours.

    python -m tests.bench.feed WIDTH HEIGHT FPS CLOCK

Picture n begins to be written when our own capture worker would begin to encode it. CLOCK is a file that gets the
monotonic ns of picture 0.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from hw.camera.pattern import Pattern

PIPE_BYTES = 1 << 20  # the system's limit for everybody; the pipe's own 64 kB would cost more waking


def main() -> None:
    width, height, fps = map(int, sys.argv[1:4])
    clock = Path(sys.argv[4])
    fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    camera = Pattern(width, height, fps)
    while True:
        frame = camera.read()
        if not clock.exists():
            fresh = clock.with_suffix(".new")
            fresh.write_text(str(frame.capture_ns - frame.number * 1_000_000_000 // fps))
            fresh.rename(clock)
        for plane in frame.picture.planes:
            assert plane.line_size == plane.width, "a padded picture is no raw video"
            left = memoryview(plane)
            while left:
                left = left[os.write(1, left) :]


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(0)
