"""Which pins and kernel LEDs the lamps and the button are on: typed and checked; every message names the key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Line = Annotated[int, Meta(ge=0, le=511)]  # of a GPIO chip; GPIO 0 to 27 of a Raspberry Pi's header
LampName = Literal["sys", "in", "a", "b", "on-air"]
LED_LABEL = "pressbox:{colour}:{lamp}"  # how the kernel's LEDs are named that need no line in panel.toml
_COLOURS = ("white", "blue", "amber", "red", "rgb")


class LampWiring(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One pin, three pins, or a LED of the kernel."""

    pin: Line | None = None
    red: Line | None = None
    green: Line | None = None
    blue: Line | None = None
    led: str = ""  # name below /sys/class/leds
    pwm: bool = True  # brightness by pulse width; false: on and off alone
    active_high: bool = True  # false: lit while the pin is low, as with a common anode
    fallback: Literal["timer", "heartbeat", "pattern", "default-on", "none"] = (
        "none"  # of a LED: what the kernel plays when nobody else does
    )

    def __post_init__(self) -> None:
        colours = [self.red, self.green, self.blue]
        if any(line is not None for line in colours) and None in colours:
            raise ValueError("red: three pins make a lamp of all colours; name `red`, `green` and `blue`, or one `pin`")
        ways = (self.pin is not None) + (self.red is not None) + bool(self.led)
        if ways != 1:
            raise ValueError("pin: a lamp is on one `pin`, on `red`, `green` and `blue`, or is a kernel `led`; name one of these")
        if "/" in self.led or self.led in (".", ".."):
            raise ValueError("led: the name of a folder in /sys/class/leds, without a /")
        if self.fallback != "none" and not self.led:
            raise ValueError("fallback: only a `led` of the kernel has one; a pin that is let go is dark")

    @property
    def lines(self) -> list[int]:
        return [line for line in (self.pin, self.red, self.green, self.blue) if line is not None]


class ButtonWiring(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pin: Line
    pull: Literal["up", "down"] = "up"  # up: the button connects the pin to ground


class Wiring(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    lamps: dict[LampName, LampWiring] = {}
    button: ButtonWiring | None = None
    pins: Literal["auto", "lgpio", "mock"] = "auto"  # through which library; mock: none, for a bench
    chip: Annotated[int, Meta(ge=0, le=63)] | None = None  # /dev/gpiochipN; None: the header's, on a Raspberry Pi

    def __post_init__(self) -> None:
        twice = [line for line, times in Counter(line for line, _ in self.used()).items() if times > 1]
        if twice:
            users = [key for line, key in self.used() if line == twice[0]]
            raise ValueError(f"{users[1]}: pin {twice[0]} is the pin of {users[0]} already; each needs its own")
        leds = [wiring.led for wiring in self.lamps.values() if wiring.led]
        if len(set(leds)) < len(leds):
            raise ValueError("led: two lamps have one kernel LED; each needs its own")

    def used(self) -> Iterator[tuple[int, str]]:
        """Each line and the key that names it."""
        for name, lamp in self.lamps.items():
            for key in ("pin", "red", "green", "blue"):
                line = getattr(lamp, key)
                if line is not None:
                    yield line, f"lamps.{name}.{key}"
        if self.button is not None:
            yield self.button.pin, "button.pin"

    @property
    def on_pins(self) -> bool:
        return any(True for _ in self.used())


def found_leds(root: Path = Path("/")) -> dict[LampName, LampWiring]:
    """The kernel's LEDs that are named for our lamps: `pressbox:white:sys`, as the device tree labels them."""
    found: dict[LampName, LampWiring] = {}
    folder = root / "sys/class/leds"
    names: tuple[LampName, ...] = ("sys", "in", "a", "b", "on-air")
    for lamp in names:
        led = next((name for colour in _COLOURS if (folder / (name := LED_LABEL.format(colour=colour, lamp=lamp))).is_dir()), None)
        if led:
            found[lamp] = LampWiring(led=led, fallback="timer" if lamp == "sys" else "none")
    return found
