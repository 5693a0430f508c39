"""The capture worker: camera, encoder, muxer, and one list a picture to the flow worker. `python -m firmware.capture.worker`

The first line on stdin is the configuration, later ones are commands, one JSON object a line:

    {"flow": "show", "camera": {...}, "handoff": "/run/…/show.capture.sock", "snapshot": "/run/…/show.capture.json"}
    {"bitrate_bps": 2000000}
    {"key_frame": true}

The end of stdin ends the worker, SIGTERM too. A camera may block for ever in a driver, so it is read in a thread that
nobody waits for: the main thread takes commands, writes snapshots and ends the process.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from firmware import model
from firmware.capture.handoff import Sender
from firmware.child import NO_SNAPSHOT
from firmware.status import CaptureStatus, write_snapshot
from hw.camera import CameraError
from hw.encoder import EncoderError

if TYPE_CHECKING:
    from hw.encoder import Encoder
    from hw.frame import AccessUnit, Frame

EXIT_BAD_CONFIG, EXIT_NO_PICTURE = 2, 5
SNAPSHOT_S = 0.5
GAP_NS = 300_000_000  # a longer pause than this, and the far end starts with a key frame


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    flow: str
    camera: model.Camera
    handoff: str
    snapshot: str


class Command(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    bitrate_bps: Annotated[int, msgspec.Meta(ge=50_000)] | None = None
    key_frame: bool = False


class Capture:
    """Runs in its own thread; the main thread reads the counters and leaves wishes."""

    def __init__(self, config: Config) -> None:
        self._wanted = config.camera
        self._sender = Sender(Path(config.handoff), 1 / config.camera.fps)
        self._bitrate_bps = config.camera.video_bps
        self._key_wanted = threading.Event()
        self._camera_name, self._encoder_name = config.camera.camera, ""
        self._frames = self._keyframes = self._missed = 0
        self._last_number, self._last_ns = -1, 0
        self._encode_ms: deque[float] = deque(maxlen=2 * config.camera.fps)

    def run(self) -> None:
        """Until the camera fails; raises what it raised."""
        from firmware.capture.mux import Mux
        from hw.camera import open_camera
        from hw.encoder.aac import Aac
        from hw.encoder.x264 import X264

        wanted = self._wanted
        camera = open_camera(wanted.camera, wanted.width, wanted.height, wanted.fps)
        encoder = X264(wanted.width, wanted.height, wanted.fps, wanted.video_bps, wanted.gop_ms, wanted.preset)
        self._camera_name, self._encoder_name = camera.name, encoder.name
        aac, mux = Aac(wanted.audio_bps), Mux()
        while True:
            frame = camera.read()
            pictures = self._encode(encoder, frame)
            payload = mux.write(pictures, [unit for sound in frame.sound for unit in aac.encode(sound)])
            if not self._sender.send(frame.capture_ns, payload) and self._sender.connected:
                self._key_wanted.set()

    def obey(self, command: Command) -> None:
        if command.bitrate_bps is not None:
            self._bitrate_bps = command.bitrate_bps
        if command.key_frame:
            self._key_wanted.set()

    def status(self) -> CaptureStatus:
        times = sorted(self._encode_ms.copy())
        return CaptureStatus(
            pid=os.getpid(),
            at=time.time(),
            camera=self._camera_name,
            encoder=self._encoder_name,
            frames=self._frames,
            keyframes=self._keyframes,
            dropped=self._sender.dropped + self._missed,
            bitrate_bps=min(self._bitrate_bps, self._wanted.video_bps),
            encode_ms=round(times[len(times) // 2], 2) if times else 0.0,
        )

    def _encode(self, encoder: Encoder, frame: Frame) -> list[AccessUnit]:
        started_at = time.perf_counter()
        encoder.bitrate_bps = self._bitrate_bps
        pictures = encoder.encode(frame, self._must_be_key(frame))
        self._encode_ms.append((time.perf_counter() - started_at) * 1000)
        self._frames += 1
        self._keyframes += any(picture.key for picture in pictures)
        return pictures

    def _must_be_key(self, frame: Frame) -> bool:
        gap = frame.capture_ns - self._last_ns > GAP_NS
        self._missed += frame.number - self._last_number - 1
        self._last_number, self._last_ns = frame.number, frame.capture_ns
        key = self._sender.connect() or self._key_wanted.is_set() or gap
        self._key_wanted.clear()
        return key


def main() -> int:
    """Ends by `os._exit` where it can: a thread may hang in a driver, and nothing needs to be given back."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    lines = _lines(sys.stdin.fileno())
    try:
        config = msgspec.json.decode(next((line for line in lines if line is not None), b""), type=Config)
    except msgspec.DecodeError as error:
        print(f"capture worker: the first line on stdin is no configuration: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    capture = Capture(config)
    threading.Thread(target=_run, args=(capture,), name="capture", daemon=True).start()
    for line in lines:
        if line is None:
            _report(capture, Path(config.snapshot))
        else:
            _obey(capture, line)
    os._exit(0)


def _run(capture: Capture) -> None:
    """The process ends with its camera: there is nothing to do without."""
    try:
        capture.run()
    except (CameraError, EncoderError) as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(EXIT_NO_PICTURE)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _obey(capture: Capture, line: bytes) -> None:
    try:
        capture.obey(msgspec.json.decode(line, type=Command))
    except msgspec.DecodeError as error:
        print(f"capture worker: not a command: {error}", file=sys.stderr, flush=True)


def _report(capture: Capture, path: Path) -> None:
    try:
        write_snapshot(path, capture.status())
    except OSError as error:
        print(f"capture worker: {NO_SNAPSHOT} to {path}: {error.strerror}", file=sys.stderr, flush=True)


def _lines(source: int) -> Iterator[bytes | None]:
    """Lines until the end of the file, and None whenever a snapshot is due."""
    waiting, due_at = b"", time.monotonic()
    while True:
        readable, _, _ = select.select([source], [], [], max(0.0, due_at - time.monotonic()))
        if not readable:
            due_at = time.monotonic() + SNAPSHOT_S
            yield None
        elif data := os.read(source, 65_536):
            *lines, waiting = (waiting + data).split(b"\n")
            yield from lines
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
