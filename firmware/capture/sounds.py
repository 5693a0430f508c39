"""The sound of a flow: the camera's own, a microphone's, or silence, as one line of samples that never goes back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from hw.camera import kind_of
from hw.frame import Sound

if TYPE_CHECKING:
    from firmware.model import Camera
    from hw.frame import Coded, Frame

AGAIN_S = 1.0  # between two attempts to open a microphone
PATIENCE_NS = 500_000_000  # without sound, then silence
SAMPLE_BYTES = 4


class Sounds:
    def __init__(self, wanted: Camera) -> None:
        self._made = kind_of(wanted.camera) in ("pattern", "clip") and not wanted.sound  # with the pictures, and ahead of them
        self._own = not wanted.sound
        self._ear = Ear(wanted.sound.removeprefix("alsa:")) if wanted.sound.startswith("alsa:") else None
        self._silence: Any = None
        self._end = 0  # the sample that is due
        self._heard_ns: int | None = None

    def take(self, taken: Frame | Coded) -> list[Sound]:
        """What there is by the time of this picture."""
        now_ns = taken.capture_ns if self._made else time.monotonic_ns()
        sounds = taken.sound if self._own else self._ear.take(now_ns) if self._ear else []
        if sounds:
            self._heard_ns = now_ns
            self._silence = None
        elif self._heard_ns is None or now_ns - self._heard_ns > PATIENCE_NS:
            from hw.audio import Silence

            self._silence = self._silence or Silence()
            sounds = self._silence.take(now_ns)
        return [sound for sound in map(self._beyond, sounds) if sound is not None]

    def _beyond(self, sound: Sound) -> Sound | None:
        """What of it lies behind the end so far; times never go back."""
        late = self._end - sound.first
        count = len(sound.left) // SAMPLE_BYTES
        if late >= count:
            return None
        self._end = sound.first + count
        if late <= 0:
            return sound
        return Sound(sound.first + late, sound.left[late * SAMPLE_BYTES :], sound.right[late * SAMPLE_BYTES :])

    @property
    def verdict(self) -> Literal["heard", "silent", "none"]:
        if self._heard_ns is None:
            return "none"
        return "heard"

    @property
    def levels_db(self) -> list[float]:
        return []

    @property
    def drift_ppm(self) -> float | None:
        return self._ear.drift_ppm if self._ear else None

    @property
    def message(self) -> str:
        return self._ear.message if self._ear else ""


class Ear:
    """A microphone that may be away and come back. Opening it may block: a thread does that."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._microphone: Any = None
        self._lost = threading.Event()
        self.message = ""
        threading.Thread(target=self._keep_open, name="microphone", daemon=True).start()

    def take(self, now_ns: int) -> list[Sound]:
        microphone = self._microphone
        if microphone is None:
            return []
        try:
            return microphone.take(now_ns)
        except OSError as error:
            self.message, self._microphone = str(error), None
            self._lost.set()
            return []

    @property
    def drift_ppm(self) -> float | None:
        microphone = self._microphone
        return microphone.drift_ppm if microphone else None

    def _keep_open(self) -> None:
        from hw.audio import Microphone, SoundError

        while True:
            try:
                microphone = Microphone(self._device)
            except SoundError as error:
                self.message = str(error)
                time.sleep(AGAIN_S)
                continue
            self.message, self._microphone = "", microphone
            self._lost.wait()
            self._lost.clear()
            microphone.close()
