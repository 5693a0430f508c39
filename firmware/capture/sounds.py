"""The sound of a flow: the camera's own, a microphone's, or silence, as one line of samples that never goes back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Literal

from hw.audio import Microphone, Silence, SoundError
from hw.frame import Sound, samples_at
from hw.levels import Levels

if TYPE_CHECKING:
    from firmware.model import Camera
    from hw.frame import Coded, Frame

AGAIN_S = 1.0  # between two attempts to open a microphone
PATIENCE_NS = 500_000_000  # without sound, then silence
AWAY_NS = 300_000_000  # without a picture: the slate plays, and has sound of its own
OLDEST_NS = 120_000_000  # what is older then comes before what the slate sounded last (`playout.SLATE_DELAY_NS`, and a block)
SAMPLE_BYTES = 4


class Sounds:
    def __init__(self, wanted: Camera) -> None:
        self._own = not wanted.sound
        self._ear = Ear(wanted.sound) if wanted.sound.startswith("alsa:") else None
        self._silence: Silence | None = None
        self._levels = Levels()
        self._taken_ns = 0
        self._end = 0  # the sample that is due
        self._heard_ns: int | None = None

    def take(self, taken: Frame | Coded, now_ns: int) -> list[Sound]:
        """What there is by now, when this picture came."""
        sounds = taken.sound if self._own else self._ear.take(now_ns) if self._ear else []
        if sounds:
            self._heard_ns, self._silence = now_ns, None
        elif self._heard_ns is None or now_ns - self._heard_ns > PATIENCE_NS:
            self._silence = self._silence or Silence()
            sounds = self._silence.take(now_ns)
        if now_ns - self._taken_ns > AWAY_NS:
            self._end = max(self._end, samples_at(now_ns - OLDEST_NS))
        self._taken_ns = now_ns
        ahead = [sound for sound in map(self._beyond, sounds) if sound is not None]
        if self._silence is None:
            for sound in ahead:
                self._levels.push(sound)
        return ahead

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
        """None: no sound comes from anywhere, and silence is sent in its place."""
        return "none" if self._silence is not None or self._heard_ns is None else self._levels.verdict

    @property
    def levels_db(self) -> list[float]:
        return self._levels.peak_db if self.verdict != "none" else []

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
        self._microphone: Microphone | None = None
        self._lost = threading.Event()
        self.message = ""
        threading.Thread(target=self._keep_open, name="microphone", daemon=True).start()

    def take(self, now_ns: int) -> list[Sound]:
        microphone = self._microphone
        if microphone is None:
            return []
        try:
            return microphone.take(now_ns)
        except SoundError as error:
            self.message, self._microphone = str(error), None
            self._lost.set()
            return []

    @property
    def drift_ppm(self) -> float | None:
        microphone = self._microphone
        return microphone.drift_ppm if microphone else None

    def _keep_open(self) -> None:
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
