"""The preview: the newest key picture of each flow as a small JPEG. A process of its own, the least urgent of all.

    echo '{"run": "/run/pressbox"}' | python -m firmware.capture.preview

Flow workers leave `<flow>.key.ts` in the run folder, this leaves `<flow>.jpg` beside it. It ends when stdin does.
"""

from __future__ import annotations

import io
import logging
import os
import select
import sys
from fractions import Fraction
from pathlib import Path

import av
import av.logging
import msgspec
from av.codec.context import CodecContext
from av.video.frame import VideoFrame

LOOK_EVERY_S = 0.5
WIDTH = 480
LARGEST_KEY_PICTURE = 4 << 20  # bytes; a key picture of 50 Mb/s video at its longest
JPEG_QUALITY = {"qmin": "5", "qmax": "5"}

_log = logging.getLogger("pressbox.preview")


class Config(msgspec.Struct, forbid_unknown_fields=True):
    run: str


class Preview:
    """Looks through the run folder and renews what has changed. `skipped` counts key pictures that could not be read."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.made = 0
        self.skipped = 0
        self._seen: dict[Path, int] = {}

    def look(self) -> None:
        there = {path: path.stat().st_mtime_ns for path in self.run.glob("*.key.ts")}
        fresh = [path for path, at_ns in there.items() if self._seen.get(path) != at_ns]
        self._seen = there
        for path in fresh:
            try:
                picture = jpeg_of(path.read_bytes())
            except (OSError, ValueError, av.FFmpegError) as error:
                self.skipped += 1
                if self.skipped.bit_count() == 1:  # the 1st, 2nd, 4th, 8th …
                    _log.warning("%s holds no picture (%s); %d skipped so far", path.name, error, self.skipped)
                continue
            self._replace(self.run / f"{path.name.removesuffix('.key.ts')}.jpg", picture)

    def _replace(self, path: Path, picture: bytes) -> None:
        fresh = path.with_suffix(".jpg.new")
        fresh.write_bytes(picture)
        os.replace(fresh, path)
        self.made += 1


def jpeg_of(key_picture: bytes) -> bytes:
    """A JPEG, 480 pixels wide, of the first picture in this MPEG-TS."""
    if len(key_picture) > LARGEST_KEY_PICTURE:
        raise ValueError(f"it has {len(key_picture)} bytes, more than any key picture")
    with av.open(io.BytesIO(key_picture), "r", format="mpegts") as container:
        if not container.streams.video:
            raise ValueError("it has no video")
        video = container.streams.video[0]
        video.codec_context.thread_count = 1
        frame = next(iter(container.decode(video)), None)
    if frame is None:
        raise ValueError("its video has no whole picture")
    return _encode(frame)


def _encode(frame: VideoFrame) -> bytes:
    height = max(2, round(frame.height * WIDTH / frame.width / 2) * 2)
    small = frame.reformat(width=WIDTH, height=height, format="yuvj420p")
    encoder = CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, height, "yuvj420p"
    encoder.time_base, encoder.options = Fraction(1, 25), JPEG_QUALITY
    small.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])


def main() -> None:
    logging.basicConfig(format="preview: %(message)s")
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    os.nice(15)
    av.logging.set_level(None)
    preview = Preview(Path(config.run))
    while True:
        preview.look()
        readable, _, _ = select.select([sys.stdin], [], [], LOOK_EVERY_S)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            return


if __name__ == "__main__":
    main()
