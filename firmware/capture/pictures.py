"""From what a camera gives to access units of the wanted size and rate, and which encoder made them.

A camera may change its size and rate while live. The stream's size is what was asked for, always, so that receivers see one
programme: pictures are fitted into it. Its rate is what was asked for or, where the camera gives less, the camera's: the
encoder is opened anew for it, and a key frame with the new timing begins.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from firmware.capture.sense import PictureSense
from hw.encoder import INSTEAD, EncoderError, Settings, open_encoder
from hw.fit import Fit

if TYPE_CHECKING:
    from firmware.model import Camera
    from hw.encoder import Encoder, Kind
    from hw.frame import AccessUnit, Coded, Frame

RATE_TOLERANCE = 0.06  # 29.97 is 30, and 24 is not 25
SLOWEST_FPS = 5
FORGIVEN_NS = 60_000_000_000  # an encoder that failed longer ago may fail again


class Pictures:
    def __init__(self, wanted: Camera) -> None:
        self._wanted = wanted
        self._fit = Fit(wanted.width, wanted.height)
        self._kind: Kind = "auto" if wanted.encoder == "camera" else wanted.encoder
        self._encoder: Encoder | None = None
        self._failed_ns = -FORGIVEN_NS
        self._fps = wanted.fps
        self._step_ns = 1_000_000_000 // wanted.fps
        self._due_ns = 0  # when the next picture of the wanted rate is due
        self._times_ms: deque[float] = deque(maxlen=2 * wanted.fps)
        self.sense = PictureSense()
        self.encoder_name = self.encoder_why = ""
        self.taken = 0  # pictures that left
        self.keys = 0

    @property
    def encode_ms(self) -> float:
        """Median of the last seconds."""
        times = sorted(self._times_ms.copy())
        return round(times[len(times) // 2], 2) if times else 0.0

    def prepare(self, camera_fps: float, spare: int = 1) -> None:
        """Open the encoder for a camera of that rate, where there is none for it yet. `spare`: every so manieth picture is taken."""
        self._step_ns = 1_000_000_000 * spare // self._wanted.fps
        fps = max(SLOWEST_FPS, self._rate_for(camera_fps) // spare)
        if self._encoder is None or fps != self._fps:
            self._fps = fps
            self._open(self._kind)

    def _open(self, kind: Kind) -> Encoder:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
        wanted = self._wanted
        settings = Settings(
            width=wanted.width,
            height=wanted.height,
            fps=self._fps,
            bitrate_bps=wanted.video_bps,
            gop_ms=wanted.gop_ms,
            preset=wanted.preset,
        )
        self._encoder, self.encoder_why = open_encoder(kind, settings)
        self.encoder_name = self._encoder.name
        return self._encoder

    def _rate_for(self, camera_fps: float) -> int:
        wanted = self._wanted.fps
        if camera_fps <= 0 or camera_fps > wanted * (1 - RATE_TOLERANCE):
            return wanted
        return max(SLOWEST_FPS, round(camera_fps))

    def is_early(self, capture_ns: int) -> bool:
        """True for a picture that the wanted rate has no place for: the camera gives more."""
        step_ns = self._step_ns
        if capture_ns < self._due_ns - step_ns // 2:
            return True
        self._due_ns = max(self._due_ns, capture_ns - step_ns // 2) + step_ns
        return False

    def encode(self, frame: Frame, bitrate_bps: int, key: bool) -> list[AccessUnit]:
        """`prepare` comes before. Raises `EncoderError` where there is no other encoder to take."""
        began = time.perf_counter()
        frame.picture = self._fit(frame.picture)
        self.sense.look(frame.picture, frame.capture_ns)
        while True:
            try:
                units = self._encode(frame, bitrate_bps, key)
                break
            except EncoderError as error:
                self._recover(error, frame.capture_ns)
                key = True
        self._times_ms.append((time.perf_counter() - began) * 1000)
        self._count(units)
        return units

    def _encode(self, frame: Frame, bitrate_bps: int, key: bool) -> list[AccessUnit]:
        encoder = self._encoder or self._open(self._kind)
        if encoder.bitrate_bps != bitrate_bps:
            encoder.bitrate_bps = bitrate_bps
        return encoder.encode(frame, key)

    def _recover(self, error: EncoderError, now_ns: int) -> None:
        """Hardware that failed is opened anew; what fails again soon is left for software, and the words say so."""
        before_ns, self._failed_ns = self._failed_ns, now_ns
        if now_ns - before_ns > FORGIVEN_NS:
            self._open(self._kind)
        elif self._kind == "auto":
            self._kind = "x264"
            failed = self.encoder_name
            self._open("x264")
            self.encoder_why = f"{INSTEAD} {failed}, which failed again: {error}"
        else:
            raise error

    def pass_on(self, coded: Coded) -> list[AccessUnit]:
        """What the camera encoded itself."""
        self.encoder_name, self.encoder_why = "in the camera", "it gives H.264"
        self._count([coded.unit])
        return [coded.unit]

    def _count(self, units: list[AccessUnit]) -> None:
        self.taken += 1
        self.keys += any(unit.key for unit in units)
