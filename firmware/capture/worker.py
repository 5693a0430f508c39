"""The capture worker: camera, encoder, muxer, and one list a picture to the flow worker. `python -m firmware.capture.worker`

The first line on stdin is the configuration, later ones are commands, one JSON object a line:

    {"flow": "show", "camera": {...}, "handoff": "/run/…/show.capture.sock", "snapshot": "/run/…/show.capture.json", "password": ""}
    {"bitrate_bps": 2000000, "why": "path B delivers 2.1 Mb/s"}
    {"key_frame": true}
    {"spare": 2, "why": "it has 84 degrees"}

The end of stdin ends the worker, SIGTERM too. A camera may block for ever in a driver, so it is read in a thread that
nobody waits for: the main thread takes commands, writes snapshots and ends the process.

A camera that is a device may be away, fail, and come back: it is opened again and again, and the snapshot says so. One
that blocks is seen by the parent, for neither pictures nor attempts are counted any more.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from firmware import model
from firmware.capture.handoff import Sender
from firmware.child import NO_SNAPSHOT
from firmware.status import CaptureStatus, write_snapshot
from hw.camera import DEVICES, CameraError, Wish, is_present, kind_of
from hw.encoder import EncoderError
from hw.frame import Coded, Frame

if TYPE_CHECKING:
    from firmware.capture.pictures import Pictures
    from firmware.capture.sounds import Sounds
    from hw.camera import Camera
    from hw.frame import AccessUnit

EXIT_BAD_CONFIG, EXIT_NO_PICTURE = 2, 5
SNAPSHOT_S = 0.5
AGAIN_S = 0.25  # between two attempts to open a camera
SPARE_PERCENT = (0, 25, 25, 50)  # of the bitrate, by how much less is asked of the board
SPARE_PICTURES = (1, 1, 2, 2)  # every so manieth picture is taken
GAP_NS = 300_000_000  # a longer pause than this, and the far end starts with a key frame


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    flow: str
    camera: model.Camera
    handoff: str
    snapshot: str
    password: str = ""
    message: str = ""  # why there has been no picture so far

    def __repr__(self) -> str:
        return f"Config(flow={self.flow!r})"


class Command(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    bitrate_bps: Annotated[int, msgspec.Meta(ge=50_000)] | None = None
    why: str = ""
    key_frame: bool = False
    spare: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None  # how much less to ask of the board, and `why`


class Capture:
    """Runs in its own thread; the main thread reads the counters and leaves wishes."""

    def __init__(self, config: Config) -> None:
        self._wanted = config.camera
        self._password = config.password
        self._sender = Sender(Path(config.handoff), 1 / config.camera.fps)
        self._bitrate_bps, self._why = config.camera.video_bps, ""
        self._spare, self._why_spare = 0, ""
        self._key_wanted = threading.Event()
        self._camera_name, self._source, self._message = config.camera.camera, "", config.message
        self._attempts = self._missed = 0
        self._loaded = False
        self._last_number, self._last_ns = -1, 0
        self._pictures: Pictures | None = None
        self._sounds: Sounds | None = None

    def run(self) -> None:
        """For as long as there is hope of a picture; raises what ended it."""
        from firmware.capture.mux import Mux
        from firmware.capture.pictures import Pictures
        from firmware.capture.sounds import Sounds
        from hw.encoder.aac import Aac

        wanted = self._wanted
        self._pictures = pictures = Pictures(wanted)
        self._sounds = sounds = Sounds(wanted)
        aac, mux = Aac(wanted.audio_bps), Mux()
        self._loaded = True
        while True:
            camera = None
            try:
                camera = self._open(pictures)
                while True:
                    taken = camera.read()
                    for order in self._sender.orders():
                        obey(self, order)
                    units = self._units(pictures, camera, taken)
                    blocks = [block for sound in sounds.take(taken, time.monotonic_ns()) for block in aac.encode(sound)]
                    if units and not self._sender.send(taken.capture_ns, mux.write(units, blocks)) and self._sender.connected:
                        self._key_wanted.set()
            except CameraError as error:
                if kind_of(wanted.camera) not in DEVICES:
                    raise
                self._message = str(error)
            if camera is not None:
                camera.close()
            self._attempts += 1
            time.sleep(AGAIN_S)

    def obey(self, command: Command) -> None:
        if command.bitrate_bps is not None:
            self._bitrate_bps, self._why = min(command.bitrate_bps, self._wanted.video_bps), command.why
        if command.spare is not None:
            self._spare, self._why_spare = command.spare, command.why
        if command.key_frame:
            self._key_wanted.set()

    def status(self) -> CaptureStatus:
        pictures, sounds = self._pictures, self._sounds
        status = CaptureStatus(
            pid=os.getpid(),
            at=time.time(),
            camera=self._camera_name,
            encoder="",
            source=self._source,
            dropped=self._sender.dropped + self._missed,
            bitrate_bps=self._spared_bps,
            why_bitrate=self._why,
            spared=self._why_spare if self._spare else "",
            attempts=self._attempts,
            loaded=self._loaded,
            present=is_present(self._wanted.camera),
            message=self._message,
        )
        if pictures is not None:
            status.encoder, status.encoder_why = pictures.encoder_name, pictures.encoder_why
            status.frames, status.keyframes, status.encode_ms = pictures.taken, pictures.keys, pictures.encode_ms
            status.picture = "none" if self._message else pictures.sense.verdict
        if sounds is not None:
            status.sound, status.levels_db, status.drift_ppm = sounds.verdict, sounds.levels_db, sounds.drift_ppm
            status.sound_message = sounds.message
        return status

    @property
    def _spared_bps(self) -> int:
        return self._bitrate_bps * (100 - SPARE_PERCENT[self._spare]) // 100

    def _open(self, pictures: Pictures) -> Camera:
        from hw.camera import open_camera

        wanted = self._wanted
        wish = Wish(
            width=wanted.width,
            height=wanted.height,
            fps=wanted.fps,
            bitrate_bps=self._spared_bps,
            gop_ms=wanted.gop_ms,
            coded=wanted.encoder == "camera",
            rotation=wanted.rotation,
            focus=wanted.focus,
            exposure_us=wanted.exposure_us,
            transport=wanted.transport,
            password=self._password,
        )
        camera = open_camera(wanted.camera, wish)
        self._camera_name, self._last_number = camera.name, -1
        if kind_of(wanted.camera) != "rtsp":
            pictures.prepare(camera.fps)
        pictures.sense.restart()
        return camera

    def _units(self, pictures: Pictures, camera: Camera, taken: Frame | Coded) -> list[AccessUnit]:
        """None for a picture that comes too early for the wanted rate."""
        self._message, self._source, self._camera_name = "", _source_words(camera), camera.name
        self._missed += max(0, taken.number - self._last_number - 1)
        self._last_number = taken.number
        if isinstance(taken, Coded):
            steer(camera, self._spared_bps, self._must_be_key(taken))
            return pictures.pass_on(taken)
        pictures.prepare(camera.fps, SPARE_PICTURES[self._spare])
        if pictures.is_early(taken.capture_ns):
            return []
        return pictures.encode(taken, self._spared_bps, self._must_be_key(taken))

    def _must_be_key(self, taken: Frame | Coded) -> bool:
        gap = taken.capture_ns - self._last_ns > GAP_NS
        self._last_ns = taken.capture_ns
        key = self._sender.connect() or self._key_wanted.is_set() or gap
        self._key_wanted.clear()
        return key


def steer(camera: Camera, bitrate_bps: int, key: bool) -> None:
    """A camera that encodes follows as far as it can."""
    if getattr(camera, "bitrate_bps", bitrate_bps) != bitrate_bps:
        camera.bitrate_bps = bitrate_bps  # type: ignore[attr-defined]
    if key and hasattr(camera, "key_frame"):
        camera.key_frame()


def _source_words(camera: Camera) -> str:
    return f"{camera.fps:g}/s"


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
            obey(capture, line)
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


def obey(capture: Capture, line: bytes) -> None:
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
