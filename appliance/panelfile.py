"""panel.toml: which pins, which flow, how bright. One small file in the state folder, written by hand or by an image."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from firmware.model import Name
from hw.wiring import ButtonWiring, LampWiring, Wiring, found_leds

FILE = "panel.toml"
EXAMPLE = """\
flow = "court-3"            # whose lamps these are; left out: the first flow with a camera

[lamps.sys]                 # three pins: all colours
red = 17
green = 27
blue = 22

[lamps.in]
pin = 5

[lamps.a]
pin = 6

[lamps.b]
pin = 13

[lamps.on-air]
pin = 26

[button]
pin = 16
start_stop = false          # true: holding it for 2 s starts or stops the flow

[light]
brightness = 100            # percent, by pulse width
night = "22:00-06:00"       # by the box's own clock and zone; left out: no night
night_brightness = 10
dark_keeps_on_air = true    # a dark stage leaves ON AIR lit
"""
_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?$", re.DOTALL)
_NIGHT = r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"
Percent = Annotated[int, Meta(ge=1, le=100)]


class PanelFileError(ValueError):
    """panel.toml is not one. The message names the key and what is allowed."""


class ButtonSettings(ButtonWiring, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    start_stop: bool = False


class LightSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    brightness: Percent = 100
    night: Annotated[str, Meta(pattern=_NIGHT)] | None = None
    night_brightness: Percent = 10
    dark_keeps_on_air: bool = True

    def level(self, now: datetime) -> float:
        """0 to 1, at this time of the day."""
        return (self.night_brightness if self.night and _within(self.night, now.time()) else self.brightness) / 100


class PanelFile(Wiring, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    flow: Name = ""
    button: ButtonSettings | None = None
    light: LightSettings = LightSettings()


def _within(night: str, now: time) -> bool:
    begin, end = (time.fromisoformat(part) for part in night.split("-"))
    return begin <= now < end if begin <= end else now >= begin or now < end


def read_panel(state: Path, root: Path = Path("/")) -> PanelFile:
    """As it is written. Without the file: the kernel's LEDs that are named for our lamps, and no pin."""
    path = state / FILE
    try:
        text = path.read_text()
    except FileNotFoundError:
        return PanelFile(lamps=found_leds(root))
    except (OSError, UnicodeDecodeError) as error:
        raise PanelFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    return parse_panel(text, path)


def parse_panel(text: str, path: Path = Path(FILE)) -> PanelFile:
    try:
        return msgspec.convert(tomllib.loads(text), type=PanelFile)
    except tomllib.TOMLDecodeError as error:
        raise PanelFileError(f"{path}: this is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise PanelFileError(f"{path}: {_in_words(str(error), text)}") from None


def _in_words(message: str, text: str) -> str:
    """The key, what is wrong, and what is allowed."""
    found = _MESSAGE.match(message)
    assert found  # noqa: S101 - the pattern matches any text
    what, key = found["what"], found["key"] or ""
    allowed = _allowed(key, what)
    if "[...]" in key:  # msgspec does not say which member of a table it was
        key = _member(key, text, what)
    said = f"{what}; {allowed}" if allowed and allowed not in what else what
    return f"{key}: {said}" if key else said


def _allowed(key: str, what: str) -> str:
    leaf = key.rsplit(".", 1)[-1]
    if "unknown field" in what:
        return "allowed here are " + ", ".join(_fields(key))
    if "matching regex" in what and leaf == "night":
        return "write it like 22:00-06:00"
    if leaf in ("pin", "red", "green", "blue"):
        return "allowed are the lines 0 to 511; on a Raspberry Pi's header GPIO 0 to 27"
    if leaf == "chip":
        return "allowed are 0 to 63"
    if leaf in ("brightness", "night_brightness"):
        return "allowed are 1 to 100"
    if "key" in what or leaf.startswith("key"):
        return "lamps are sys, in, a, b and on-air"
    return {
        "pins": "allowed are auto, lgpio and mock",
        "pull": "allowed are up and down",
        "fallback": "allowed are timer, heartbeat, pattern, default-on and none",
        "lamps": "lamps are sys, in, a, b and on-air",
        "flow": "the name of a flow",
    }.get(leaf, "allowed are true and false" if "`bool`" in what else "")


def _fields(key: str) -> tuple[str, ...]:
    kinds: dict[str, Any] = {"": PanelFile, "button": ButtonSettings, "light": LightSettings}
    kind: type[msgspec.Struct] = kinds.get(key, LampWiring)
    return kind.__struct_fields__


def _member(key: str, text: str, what: str) -> str:
    """Which lamp it is that does not fit: the first that does not fit alone."""
    for name, lamp in tomllib.loads(text).get("lamps", {}).items():
        try:
            msgspec.convert(lamp, type=LampWiring)
        except msgspec.ValidationError:
            return key.replace("[...]", f".{name}")
    return key
