"""Microphones: line, HDMI and USB inputs through ALSA, as 48 kHz stereo on CLOCK_MONOTONIC; and `Silence`, for boxes without.

Why libasound through ctypes, of the three ways there are:

* FFmpeg's `alsa` input, in PyAV, stamps with the wall clock, which NTP moves; it hides overruns, and the wheel's own libasound
  looks for its configuration in /tmp, where anybody can put one, and finds no `default`.
* pyalsaaudio has the stamps of the monotonic clock, but no wheels: a compiler on each box that is not Debian's.
* libasound itself is on every Linux with sound; the functions are a dozen, and pairs of (samples, time of the driver's interrupt)
  on CLOCK_MONOTONIC are what drift is measured with.

    device ──► reader thread ──deque──► take(): SoundLine ──► Sound
               nobody waits for it      the caller's thread
"""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from hw.alsa import Device, Read, SampleFormat, SoundError
from hw.frame import SAMPLE_RATE_HZ, Sound, samples_at
from hw.soundline import LAG_MS, LONGEST_FILL, Chunk, SoundLine

__all__ = ["LAG_MS", "Microphone", "Silence", "SoundError", "SoundInput", "list_microphones"]

OPEN_S = 3.0  # a driver that takes longer is stuck
MUTE_S = 2.0  # without a sample, and the device is gone
WAITING = 256  # reads, 2.5 s
TEXT = re.compile(r"(?:alsa:)?(?P<device>(?!alsa:)[^@\s]+)(?:@(?P<left>[1-9]\d?)(?:\+(?P<right>[1-9]\d?))?)?")
ALLOWED = "allowed is alsa:DEVICE like `alsa:hw:1,0`, and which channels like `alsa:hw:1,0@3+4`"


class Microphone:
    """Opens `alsa:hw:1,0`, or `alsa:hw:1,0@3+4` for other channels than the first two; raises `SoundError`."""

    def __init__(self, device: str, first: int | None = None) -> None:
        """`first` is the index of the sample that is to come first, where sound goes on from another source."""
        import av  # noqa: F401 - before the device begins: it takes longer than its buffer lasts on a small board

        matched = TEXT.fullmatch(device)
        if not matched:
            raise SoundError(f"microphone `{device}` is not known; {ALLOWED}")
        self._device = matched["device"]
        asked = (int(matched["left"]) - 1, int(matched["right"] or matched["left"]) - 1) if matched["left"] else None
        self._reader = Reader(self._device, max(asked) + 1 if asked else 2)
        opened = self._reader.wait(OPEN_S)
        self._format, self._channels, self.stamped = opened.format, opened.channels, opened.stamped
        self._pick = self._check(asked, opened.channels)
        self.name = (
            f"{self._device}, {opened.rate_hz / 1000:g} kHz, {opened.format.name}, channels {self._pick[0] + 1} and {self._pick[1] + 1}"
        )
        self._line = SoundLine(opened.rate_hz, 2 if opened.format.used == 2 else 4, first, stamped=opened.stamped)

    def take(self, now_ns: int) -> list[Sound]:
        """All the sound there is by now, contiguous from call to call; raises `SoundError` when the device is gone."""
        for read in self._reader.take(now_ns):
            left, right = (plane_of(read, self._format, self._channels, channel) for channel in self._pick)
            self._line.push(Chunk(read.position, read.frames, left, right, read.at_ns, read.broken))
        return self._line.take(now_ns)

    def close(self) -> None:
        """The reader ends when its driver lets it; nobody waits for that."""
        self._reader.closing = True

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the device's samples come than CLOCK_MONOTONIC's; None until it is known."""
        return self._line.clock.ppm

    @property
    def offset_ms(self) -> float:
        """What is still to be corrected: sound is so much later than its picture."""
        return self._line.offset_ms

    @property
    def overruns(self) -> int:
        return self._reader.overruns

    @property
    def filled_ms(self) -> float:
        """Silence in place of sound that was lost."""
        return self._line.filled * 1000 / SAMPLE_RATE_HZ

    def _check(self, pick: tuple[int, int] | None, channels: int) -> tuple[int, int]:
        if pick is None:
            return 0, min(1, channels - 1)
        if max(pick) < channels:
            return pick
        self.close()
        raise SoundError(f"microphone `{self._device}` has no channel {max(pick) + 1}; it has {channels}")


class Silence:
    """What a box without a microphone hears."""

    name = "silence"
    overruns, filled_ms, offset_ms, drift_ppm = 0, 0.0, 0.0, None

    def __init__(self, first: int | None = None) -> None:
        self._end = first

    def take(self, now_ns: int) -> list[Sound]:
        end = samples_at(now_ns)
        first = end if self._end is None or end - self._end > LONGEST_FILL else self._end
        self._end = max(first, end)
        if first >= end:
            return []
        nothing = bytes((end - first) * 4)
        return [Sound(first, nothing, nothing)]

    def close(self) -> None:
        """Nothing to give back."""


class Reader:
    """The thread that calls the driver, which may block for ever."""

    def __init__(self, device: str, channels: int) -> None:
        self.closing = False
        self.overruns = 0
        self._device, self._wanted = device, channels
        self._open: Device | None = None
        self._known = threading.Event()
        self._error: SoundError | None = None
        self._reads: deque[Read] = deque(maxlen=WAITING)
        self._turns = self._turns_seen = 0  # of the thread: it is alive
        self._idle_ns, self._asked_ns = 0, 0
        threading.Thread(target=self._run, name=f"sound of {device}", daemon=True).start()

    def wait(self, patience_s: float) -> Device:
        if not self._known.wait(patience_s):
            self.closing = True
            raise SoundError(f"microphone `{self._device}` does not answer: its driver has been opening it for {patience_s:g} s")
        if self._open is None:
            raise self._error or SoundError(f"microphone `{self._device}` cannot be opened")
        return self._open

    def take(self, now_ns: int) -> list[Read]:
        reads = [self._reads.popleft() for _ in range(len(self._reads))]
        if self._error is not None and not reads:
            raise self._error
        self._mind(bool(reads), now_ns)
        return reads

    def _mind(self, came: bool, now_ns: int) -> None:
        """Time without sound, in which a machine that stood still counts as one short moment."""
        self._idle_ns = 0 if came else self._idle_ns + min(now_ns - (self._asked_ns or now_ns), 250_000_000)
        self._asked_ns = now_ns
        if self._idle_ns > MUTE_S * 1e9:
            self.closing = True
            raise SoundError(f"microphone `{self._device}` has given no sound for {MUTE_S:g} s")

    def _run(self) -> None:
        try:
            device = Device(self._device, self._wanted, SAMPLE_RATE_HZ)
        except SoundError as error:
            self._error = error
            self._known.set()
            return
        self._open = device
        self._known.set()
        try:
            while not self.closing:
                read = device.read()
                self.overruns = device.overruns
                if read is not None:
                    self._reads.append(read)
        except SoundError as error:
            self._error = error
        finally:
            device.close()


def plane_of(read: Read, form: SampleFormat, channels: int, channel: int) -> bytes:
    """One channel as integers of 2 or 4 bytes, the upper ones used."""
    size = 2 if form.used == 2 else 4
    plane = bytearray(read.frames * size)
    for byte in range(form.used):
        plane[size - form.used + byte :: size] = read.data[channel * form.size + byte :: channels * form.size]
    return bytes(plane)


@dataclass(frozen=True, slots=True)
class SoundInput:
    device: str  # as a flow names it: by the card's name, which stays when the numbers change
    name: str  # for people


def list_microphones(root: Path = Path("/")) -> list[SoundInput]:
    """Whatever can be recorded from, by /proc/asound; none where there is no sound at all."""
    found = []
    names = {int(number): (card, words) for number, card, words in _cards(root)}
    for number, device, rest in re.findall(r"^(\d+)-(\d+): (.+)$", _text(root / "proc/asound/pcm"), re.MULTILINE):
        parts = [part.strip() for part in rest.split(" : ")]
        if not any(part.startswith("capture") for part in parts):
            continue
        card, words = names.get(int(number), (str(int(number)), f"sound card {int(number)}"))
        found.append(SoundInput(f"alsa:hw:CARD={card},DEV={int(device)}", words if parts[0] in words else f"{words}, {parts[0]}"))
    return found


def _cards(root: Path) -> list[tuple[str, str, str]]:
    """Number, identifier, name: ` 1 [C920           ]: USB-Audio - HD Pro Webcam C920`."""
    return re.findall(r"^ *(\d+) \[(\S+) *\]: \S.* - (.+)$", _text(root / "proc/asound/cards"), re.MULTILINE)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
