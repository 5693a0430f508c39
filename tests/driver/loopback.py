"""snd-aloop: a sound card whose output is its input. What a test plays on device 0 a microphone hears on device 1."""

from __future__ import annotations

import math
import subprocess
from array import array
from pathlib import Path

from tests.driver.linux import DEVICE_S, modprobe
from tests.lab.programs import wait_until

MODULE = "snd-aloop"
EARS = "alsa:hw:CARD=Loopback,DEV=1"
SAMPLES = {"S16_LE": ("h", 2**15 - 1), "S32_LE": ("i", 2**31 - 1)}


class Loopback:
    bus = Path("/sys/bus/platform/drivers/snd_aloop")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._player: subprocess.Popen[bytes] | None = None
        modprobe(MODULE, "pcm_substreams=1")
        self._appears()

    def play(self, levels: list[float], rate_hz: int = 48_000, form: str = "S16_LE") -> None:
        """A sine of 1 kHz, a channel each; the other side can then only be opened with this rate, format and number of channels."""
        self.stop()
        kind, full = SAMPLES[form]
        period = [
            round(full * level * math.sin(2 * math.pi * 10 * n / (rate_hz // 100))) for n in range(rate_hz // 100) for level in levels
        ]
        sound = self._folder / "sound.raw"
        sound.write_bytes(array(kind, period).tobytes() * 100 * 60)
        shape = ("-f", form, "-r", str(rate_hz), "-c", str(len(levels)))
        self._player = subprocess.Popen(["aplay", "-q", "-D", "hw:Loopback,0,0", "-t", "raw", *shape, str(sound)])
        status = Path("/proc/asound/Loopback/pcm0p/sub0/status")
        wait_until(lambda: "RUNNING" in status.read_text(), DEVICE_S, "something plays")

    def stop(self) -> None:
        if self._player is not None:
            self._player.kill()
            self._player.wait()
            self._player = None

    def shift(self, ppm: int) -> None:
        """The card's clock runs so much faster. The driver is told how much longer its seconds are, in steps of 10 ppm."""
        name = "iface=PCM,name=PCM Rate Shift 100000,device=1"
        subprocess.run(["amixer", "-q", "-c", "Loopback", "cset", name, str(100_000 - ppm // 10)], check=True)

    def unplug(self) -> None:
        self.stop()
        (self.bus / "unbind").write_text("snd_aloop.0")

    def plug(self) -> None:
        if not (self.bus / "snd_aloop.0").exists():
            (self.bus / "bind").write_text("snd_aloop.0")
        self._appears()

    def _appears(self) -> None:
        wait_until(Path("/proc/asound/Loopback/pcm1c").exists, DEVICE_S, "the sound card")
        wait_until(lambda: any(Path("/dev/snd").glob("pcmC*D1c")), DEVICE_S, "its node")
