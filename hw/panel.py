"""Lamps and the button: patterns on real pins through gpiozero, or on the kernel's LEDs. One clock plays them all, so that they keep phase.

gpiozero and lgpio are loaded where a pin is opened. A pin that is let go is an input again, and its lamp dark; a LED of the kernel
goes back to the trigger that it has while nobody drives it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hw.leds import Led
from hw.rhythm import DARK, GLIDE_MS, RGB, Calm, Light, Pattern
from hw.wiring import ButtonWiring, LampName, LampWiring, Wiring

PWM_HZ = 100
LET_GO_S = 1.0
ENVIRONMENT = ("PRESSBOX_PINS", "PRESSBOX_GPIO_CHIP")  # override `pins` and `chip` of panel.toml


class PanelError(OSError):
    """A panel that cannot be opened, in a sentence."""


class Playing(NamedTuple):
    pattern: Pattern
    since_ms: float = 0.0  # where its rhythm begins; 0 keeps phase with the others


class AnyLamp(Protocol):
    @property
    def words(self) -> str: ...
    @property
    def dims(self) -> bool: ...
    def show(self, light: Light) -> None: ...
    def close(self) -> None: ...


def open_pins(wiring: Wiring, root: Path = Path("/"), scratch: Path = Path("/tmp")) -> Any:  # noqa: S108 - a pipe of lgpio's, below
    """gpiozero's pin factory for this machine: that of a Raspberry Pi, or of any GPIO chip, or none at all."""
    kind = os.environ.get("PRESSBOX_PINS", wiring.pins)
    chip = _chip(wiring)
    try:
        if kind == "mock":
            from gpiozero.pins.mock import MockFactory, MockPWMPin

            return MockFactory(pin_class=MockPWMPin)
        os.environ.setdefault("LG_WD", str(scratch))  # where lgpio makes its pipe; else the working folder, which may be read-only
        from gpiozero.pins.lgpio import LGPIOFactory

        return LGPIOFactory(chip=chip) if _is_a_pi(root) else on_any_board(LGPIOFactory)(chip=chip or 0)
    except ImportError as error:
        raise PanelError(f"pins: `{kind}` needs {error.name}, which is not installed; pip install gpiozero lgpio") from None
    except Exception as error:  # lgpio.error is no OSError
        raise PanelError(f"chip: GPIO chip {chip or 0} cannot be opened ({error}); look at `gpiodetect`, and at who may open it") from None


def _chip(wiring: Wiring) -> int | None:
    given = os.environ.get("PRESSBOX_GPIO_CHIP", "")
    if given and not given.isdecimal():
        raise PanelError(f"PRESSBOX_GPIO_CHIP: `{given}` is not the number of a /dev/gpiochip")
    return int(given) if given else wiring.chip


def _is_a_pi(root: Path) -> bool:
    """As gpiozero finds out; without it, it would know no pins (PinUnknownPi)."""
    if (root / "proc/device-tree/system/linux,revision").exists():
        return True
    with suppress(OSError):
        return any(line.startswith("Revision") for line in (root / "proc/cpuinfo").read_text(errors="replace").splitlines())
    return False


def on_any_board(factory: type[Any]) -> type[Any]:
    """This factory on a machine that is no Raspberry Pi: pin N is line N of the chip, and there is no header to look it up in."""
    from gpiozero.pins import PinInfo

    class AnyBoard(factory):  # type: ignore[misc]
        def _get_revision(self) -> int:
            return 0xC03111  # of a board that gpiozero knows, for what else it asks

        def pin(self, name: int) -> Any:
            title = f"GPIO{name}"
            info = PinInfo(name, title, frozenset({name, title}), "", 1, 1, frozenset({"gpio"}))
            if info not in self.pins:
                self.pins[info] = self.pin_class(self, info)
            return self.pins[info]

    return AnyBoard


class PinLamp:
    """One pin, or three."""

    def __init__(self, wiring: LampWiring, factory: Any) -> None:
        from gpiozero import LED, PWMLED

        kind = PWMLED if wiring.pwm else LED
        options: dict[str, Any] = {"active_high": wiring.active_high, "pin_factory": factory}
        self.wiring = wiring
        self._pins = []
        try:
            for line in wiring.lines:
                self._pins.append(kind(line, **options))
        except Exception:
            self.close()
            raise
        self._shown: Light | None = None
        self._levels: list[float] = [0.001 if wiring.pwm else 0] * len(self._pins)  # gpiozero begins with pulses, of hardly any length

    @property
    def words(self) -> str:
        return " ".join(f"GPIO{line}" for line in self.wiring.lines)

    @property
    def dims(self) -> bool:
        return self.wiring.pwm

    def show(self, light: Light) -> None:
        if light == self._shown:
            return
        self._shown = light
        shares = RGB[light.colour] if len(self._pins) > 1 else (1.0,)
        for place, share in enumerate(shares):
            level = round(light.level * share, 2)
            if not self.dims:
                level = int(level >= 0.25 and light.level >= 0.5)
            if level != self._levels[place]:
                self._set(self._pins[place], self._levels[place], level)
                self._levels[place] = level

    def _set(self, pin: Any, before: float, level: float) -> None:
        """Pulses only where they are needed: a lamp that is full or dark costs no processor."""
        if self.dims:
            pulses = 0 < level < 1
            if pulses != (0 < before < 1):
                pin.frequency = PWM_HZ if pulses else None
        pin.value = level

    def close(self) -> None:
        for pin in self._pins:
            pin.close()


class PinButton:
    """The button's pin. `changed` is called, from whatever thread, when the level may have changed."""

    def __init__(self, wiring: ButtonWiring, factory: Any, changed: Callable[[], None]) -> None:
        from gpiozero import DigitalInputDevice

        self._pin = DigitalInputDevice(wiring.pin, pull_up=wiring.pull == "up", pin_factory=factory)
        self._pin.when_activated = self._pin.when_deactivated = changed

    @property
    def down(self) -> bool:
        return bool(self._pin.value)

    def close(self) -> None:
        """gpiozero leaves its callback with lgpio, whose one thread dies of it once the factory is closed: no pin would be heard again.

        And the kernel says EBUSY while that thread still listens to the line that is to be let go.
        """
        until_s = time.monotonic() + LET_GO_S
        while True:
            try:
                if self._pin.pin is not None:
                    self._pin.pin.when_changed = None
                self._pin.close()
                return
            except Exception:  # lgpio.error is no OSError
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.01)


class Panel:
    """The lamps and the button of a box, as wired. One without any is a panel too: it plays to nobody."""

    def __init__(
        self,
        wiring: Wiring,
        *,
        changed: Callable[[], None] = lambda: None,
        factory: Any = None,
        root: Path = Path("/"),
        scratch: Path = Path("/tmp"),  # noqa: S108
    ) -> None:
        self.wiring = wiring
        self.lamps: dict[LampName, AnyLamp] = {}
        self.button: PinButton | None = None
        self._calm: dict[LampName, Calm] = {}
        self._factory = None
        try:
            if wiring.on_pins:
                self._factory = factory or open_pins(wiring, root, scratch)
            for name, lamp in wiring.lamps.items():
                self.lamps[name] = Led(lamp, root) if lamp.led else self._on_pins(f"lamps.{name}", PinLamp, lamp)
                self._calm[name] = Calm()
            if wiring.button is not None:
                self.button = self._on_pins("button.pin", PinButton, wiring.button, changed)
        except Exception:
            self.close()
            raise

    def _on_pins(self, key: str, kind: Callable[..., Any], wiring: Any, *rest: Any) -> Any:
        try:
            return kind(wiring, self._factory, *rest)
        except Exception as error:  # gpiozero's own are many, and lgpio's is no OSError
            raise PanelError(f"{key}: the pin cannot be used ({error}); is it another program's, or the kernel's?") from None

    def play(self, shown: Mapping[LampName, Playing], now_ms: float, *, brightness: float = 1.0) -> float:
        """Show this moment of every pattern; returns for how many milliseconds that is right."""
        due_ms = 60_000.0
        for name, lamp in self.lamps.items():
            playing = shown.get(name)
            at_ms = now_ms - playing.since_ms if playing else 0.0
            wanted = playing.pattern.at(at_ms, glides=lamp.dims) if playing else DARK
            calm = self._calm[name]
            light = calm.light(wanted, now_ms)
            self._show(name, lamp, Light(light.level * brightness, light.colour) if lamp.dims else light)
            if light != wanted:
                due_ms = min(due_ms, calm.may_rise_ms - now_ms)
            elif playing:
                due_ms = min(due_ms, _changes_in_ms(playing.pattern, at_ms, smooth=lamp.dims))
        return max(1.0, due_ms)

    def _show(self, name: LampName, lamp: AnyLamp, light: Light) -> None:
        try:
            lamp.show(light)
        except Exception as error:  # of gpiozero's, lgpio's or the kernel's
            raise PanelError(f"lamps.{name}: it cannot be driven ({error})") from None

    def close(self) -> None:
        for lamp in self.lamps.values():
            with suppress(Exception):  # one that cannot be let go keeps no other from it
                lamp.close()
        if self.button is not None:
            self.button.close()
        if self._factory is not None:
            _let_go(self._factory)
        self.lamps, self.button, self._factory = {}, None, None


def _let_go(factory: Any) -> None:
    """A pin that turned out to be somebody else's cannot be reset; the chip is let go all the same."""
    try:
        factory.close()
    except Exception:
        factory.pins.clear()
        factory.close()


def _changes_in_ms(pattern: Pattern, at_ms: float, *, smooth: bool) -> float:
    """A lamp that knows on and off alone need not be looked after while it would glide."""
    rhythm = pattern.rhythm
    if rhythm.glides and not smooth:
        return rhythm.step_at(at_ms)[1]
    return GLIDE_MS if rhythm.glides else rhythm.changes_in_ms(at_ms)
