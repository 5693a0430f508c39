"""The kernel's LED class: lamps that light before any of our processes runs, and that go on when none does.

Our clock writes brightness; what plays at other times is a trigger of the kernel's: `timer`, `heartbeat`, `pattern`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hw.rhythm import RGB, Light
from hw.wiring import LampWiring

SLOW_MS = 1000  # on and off; as the table's breathing
PATTERN = "0 1000 255 1000 0 1000"  # brightness and how long it takes to the next


class LedError(OSError):
    """A LED of the kernel that is not there or cannot be written, in a sentence."""


class Led:
    def __init__(self, wiring: LampWiring, root: Path = Path("/")) -> None:
        self.wiring = wiring
        self._folder = root / "sys/class/leds" / wiring.led
        try:
            self._most = int((self._folder / "max_brightness").read_text())
            self._multi = (self._folder / "multi_intensity").exists()
            self._order = (self._folder / "multi_index").read_text().split() if self._multi else []
        except (OSError, ValueError):
            raise LedError(
                f"led: there is no LED `{wiring.led}` in {self._folder.parent}; there are {_names(self._folder.parent)}"
            ) from None
        self._shown: Light | None = None
        self._write("trigger", "none")

    @property
    def words(self) -> str:
        return f"kernel LED {self.wiring.led}"

    @property
    def dims(self) -> bool:
        return self._most > 1

    def show(self, light: Light) -> None:
        if light == self._shown:
            return
        self._shown = light
        if self._multi:
            red, green, blue = RGB[light.colour]
            parts = {"red": red, "green": green, "blue": blue}
            self._write("multi_intensity", " ".join(str(round(255 * parts.get(name, 0.0))) for name in self._order))
        self._write("brightness", str(round(light.level * self._most) if self.dims else int(light.level >= 0.5)))

    def close(self) -> None:
        """Leave it to the kernel again."""
        with suppress(OSError):
            fall_back(self.wiring, self._folder.parents[3])

    def _write(self, name: str, text: str) -> None:
        try:
            (self._folder / name).write_text(text)
        except OSError as error:
            raise LedError(f"led: {self._folder / name} cannot be written ({error.strerror}); the panel needs leave to write it") from None


def fall_back(wiring: LampWiring, root: Path = Path("/")) -> None:
    """Have the kernel play on alone, whoever wrote there last. OSError where that cannot be."""
    folder = root / "sys/class/leds" / wiring.led
    (folder / "brightness").write_text("0")  # which ends a trigger, too
    (folder / "trigger").write_text(wiring.fallback)
    with suppress(PermissionError):  # a trigger makes its files anew, for root alone; it then plays at its own pace
        if wiring.fallback == "timer":
            (folder / "delay_on").write_text(str(SLOW_MS))
            (folder / "delay_off").write_text(str(SLOW_MS))
        elif wiring.fallback == "pattern":
            (folder / "pattern").write_text(PATTERN)


def _names(folder: Path) -> str:
    try:
        return ", ".join(sorted(path.name for path in folder.iterdir())) or "none"
    except OSError:
        return "none"
