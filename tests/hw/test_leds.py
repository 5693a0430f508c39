"""The kernel's LED class, as a folder stands in for it: what is written where, and what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw.leds import Led, LedError
from hw.panel import Panel, Playing
from hw.rhythm import BREATHE, SOLID, Light, Pattern
from hw.wiring import LampWiring, Wiring, found_leds


def led(root: Path, name: str, most: int = 1, **more: str) -> Path:
    """As the kernel makes it, with what its triggers add."""
    folder = root / "sys/class/leds" / name
    folder.mkdir(parents=True)
    files = {"brightness": "0", "max_brightness": str(most), "trigger": "none [timer] heartbeat", "delay_on": "500", "delay_off": "500"}
    for file, text in (files | more).items():
        (folder / file).write_text(text + "\n")
    return folder


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text().strip()


def test_a_led_is_taken_from_its_trigger_and_given_back(tmp_path: Path) -> None:
    folder = led(tmp_path, "pressbox:white:sys")
    lamp = Led(LampWiring(led="pressbox:white:sys", fallback="timer"), tmp_path)
    assert read(folder, "trigger") == "none"
    lamp.show(Light(1.0, "white"))
    assert read(folder, "brightness") == "1"
    lamp.close()
    assert (read(folder, "trigger"), read(folder, "delay_on"), read(folder, "delay_off")) == ("timer", "1000", "1000")


def test_the_other_triggers(tmp_path: Path) -> None:
    folder = led(tmp_path, "x", pattern="")
    Led(LampWiring(led="x", fallback="heartbeat"), tmp_path).close()
    assert read(folder, "trigger") == "heartbeat"
    Led(LampWiring(led="x", fallback="pattern"), tmp_path).close()
    assert (read(folder, "trigger"), read(folder, "pattern")) == ("pattern", "0 1000 255 1000 0 1000")
    lamp = Led(LampWiring(led="x"), tmp_path)
    lamp.show(Light(1.0, "red"))
    lamp.close()
    assert (read(folder, "trigger"), read(folder, "brightness")) == ("none", "0"), "a lamp that nobody looks after says nothing"


def test_brightness_and_colours_as_far_as_the_led_has_them(tmp_path: Path) -> None:
    folder = led(tmp_path, "rgb", 255, multi_index="green red blue", multi_intensity="0 0 0")
    lamp = Led(LampWiring(led="rgb"), tmp_path)
    lamp.show(Light(0.1, "amber"))
    assert (read(folder, "multi_intensity"), read(folder, "brightness")) == ("102 255 0", "26")
    plain = led(tmp_path, "plain")
    lamp = Led(LampWiring(led="plain"), tmp_path)
    for level, written in ((0.6, "1"), (0.4, "0")):
        lamp.show(Light(level, "white"))
        assert read(plain, "brightness") == written


def test_a_led_that_is_not_there(tmp_path: Path) -> None:
    led(tmp_path, "ACT")
    with pytest.raises(LedError, match=r"there is no LED `PWR` in .*; there are ACT"):
        Led(LampWiring(led="PWR"), tmp_path)


def test_leds_that_are_named_for_our_lamps_need_no_settings(tmp_path: Path) -> None:
    for name in ("pressbox:white:sys", "pressbox:red:on-air", "ACT"):
        led(tmp_path, name)
    found = found_leds(tmp_path)
    assert {lamp: (wiring.led, wiring.fallback) for lamp, wiring in found.items()} == {
        "sys": ("pressbox:white:sys", "timer"),
        "on-air": ("pressbox:red:on-air", "none"),
    }


def test_a_plain_led_breathes_as_the_kernel_does(tmp_path: Path) -> None:
    """On and off for a second each, so that nobody sees who plays it."""
    folder = led(tmp_path, "x")
    panel = Panel(Wiring(lamps={"sys": LampWiring(led="x")}), root=tmp_path)
    ms, seen = 0.0, []
    while ms < 6000:
        due_ms = panel.play({"sys": Playing(Pattern(BREATHE, ("white",)))}, ms)
        seen += [read(folder, "brightness")] * round(due_ms / 100)
        ms += due_ms
    assert "".join(seen)[5:45] == ("1" * 10 + "0" * 10) * 2
    panel.play({"sys": Playing(Pattern(SOLID, ("white",)))}, ms)
    panel.close()
    assert read(folder, "brightness") == "0"
