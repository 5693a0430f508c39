"""The camera as a source: lists of the capture worker in, constant-rate datagrams out, the slate in between."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from firmware.capture.handoff import HandoffError, Receiver
from firmware.flow.tally import Tally
from firmware.model import Camera
from firmware.status import EndStatus
from firmware.wire.playout import Playout, Slate

READ_BYTES = 1 << 18
FIRST_PICTURE_NS = 1_500_000_000  # time a camera has to start before the slate plays

log = logging.getLogger("pressbox.camera")


class CameraSource:
    repair_ns = 0

    def __init__(self, spec: Camera, handoff: Path, slate: Path | None, now_ns: int, look_again: Callable[[], None]) -> None:
        self.spec = spec
        self.tally = Tally()
        self.playout = Playout(spec.line_bps, stuffed=spec.shape == "constant")
        self._slate_path = slate
        self._look_again = look_again  # tells the loop that `readers` changed
        self._started_ns = now_ns
        handoff.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(handoff))
        self._listener.listen(2)
        self._listener.setblocking(False)
        self._capture: socket.socket | None = None
        self._receiver = Receiver()

    def readers(self) -> dict[int, Callable[[int], None]]:
        readers: dict[int, Callable[[int], None]] = {self._listener.fileno(): self._accept}
        if self._capture is not None:
            readers[self._capture.fileno()] = self._read
        return readers

    def rekey(self, current: str, former: str) -> bool:
        return True

    def network_changed(self) -> None:
        """Nothing to a camera."""

    def tick(self, now_ns: int) -> None:
        if self.playout.slate is None and self._slate_path is not None and self._slate_path.exists():
            try:
                self.playout.slate = Slate(self._slate_path.read_bytes())
            except (OSError, ValueError) as error:
                log.warning("the slate %s cannot be used: %s", self._slate_path.name, error)
                self._slate_path = None
        if self.playout.slate is not None and now_ns - self._started_ns > FIRST_PICTURE_NS:
            self.playout.begin(now_ns)

    def _accept(self, now_ns: int) -> None:
        """A new capture worker takes the place of the old one."""
        capture, _ = self._listener.accept()
        capture.setblocking(False)
        self._hang_up()
        self._capture = capture
        self._look_again()

    def _read(self, now_ns: int) -> None:
        if self._capture is None:
            return
        try:
            data = self._capture.recv(READ_BYTES)
            lists = self._receiver.feed(data)
        except BlockingIOError:
            return
        except (OSError, HandoffError) as error:
            log.warning("the capture worker's connection ended: %s", error)
            self._hang_up()
            return
        if not data:
            self._hang_up()
            return
        for _, packets in lists:
            self.tally.packets += 1
            self.tally.bytes += len(packets)
            self.playout.push(packets, now_ns)

    def steer(self, bitrate_bps: int, why: str) -> None:
        """The video's bitrate from now on. An order that finds no room is not missed: the next one comes soon."""
        if self._capture is not None:
            order = msgspec.json.encode({"bitrate_bps": bitrate_bps, "why": why}) + b"\n"
            with suppress(OSError):
                self._capture.send(order)

    def _hang_up(self) -> None:
        if self._capture is not None:
            self._capture.close()
            self._capture = None
        self._receiver = Receiver()
        self._look_again()
        self.playout.restart()

    @property
    def rate_bps(self) -> float:
        """Of what leaves: constant where it is stuffed."""
        return self.spec.mux_bps if self.playout.stuffed else self.tally.rate_bps

    def counters(self) -> dict[str, int]:
        playout = self.playout
        return {"slates": playout.slates, "overruns": playout.overruns, "skipped_slots": playout.skipped_slots}

    def status(self, now_ns: int) -> EndStatus:
        tally = self.tally
        tally.look(now_ns)
        return EndStatus(
            name=self.spec.name,
            protocol="camera",
            state="connected" if self.playout.picture == "live" else "waiting",
            message="no picture from the camera: the slate plays" if self.playout.picture == "slate" else "",
            peer=self.spec.camera,
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=self.playout.overruns,
        )

    def close(self) -> None:
        self._hang_up()
        self._listener.close()
