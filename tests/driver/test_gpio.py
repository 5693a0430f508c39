"""Lamps and the button: hw/panel.py through gpiozero and lgpio on the kernel's gpio-sim. What is lit is read from the other side."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest

from hw.button import Button
from hw.panel import Panel, PanelError, Playing
from hw.rhythm import FAST, OFF, SOLID, Colour, Pattern
from hw.wiring import ButtonWiring, LampName, LampWiring, Wiring
from tests.conftest import WaitFor
from tests.driver.linux import Gpio

pytest.importorskip("lgpio", reason="needs lgpio, which the guest has")

SYS, RED, GREEN, BLUE, BUTTON = 4, 17, 27, 22, 5
WHITE: tuple[Colour, ...] = ("white",)


@pytest.fixture
def panel(gpio: Gpio) -> Iterator[Panel]:
    gpio.pull(BUTTON, up=True)
    lamps: dict[LampName, LampWiring] = {
        "sys": LampWiring(pin=SYS, pwm=False),
        "in": LampWiring(red=RED, green=GREEN, blue=BLUE, pwm=False),
    }
    panel = Panel(Wiring(lamps=lamps, button=ButtonWiring(pin=BUTTON), pins="lgpio", chip=gpio.number))
    yield panel
    panel.close()


def test_lamps_show_their_pattern_and_are_dark_when_it_ends(panel: Panel, gpio: Gpio) -> None:
    lamp: dict[LampName, Playing] = {"sys": Playing(Pattern(SOLID, WHITE))}
    panel.play(lamp, 0)
    assert gpio.lit(SYS)
    panel.play({"sys": Playing(Pattern(OFF, WHITE))}, 1000)
    assert not gpio.lit(SYS)
    panel.play(lamp, 2000)
    assert gpio.lit(SYS)
    panel.close()
    assert not gpio.lit(SYS)


def test_a_lamp_of_three_pins_has_its_colour(panel: Panel, gpio: Gpio) -> None:
    colours: dict[Colour, tuple[bool, bool, bool]] = {
        "red": (True, False, False),
        "white": (True, True, True),
        "blue": (False, False, True),
    }
    for at_ms, (colour, lit) in enumerate(colours.items()):
        panel.play({"in": Playing(Pattern(SOLID, (colour,)))}, 1000 * at_ms)
        assert (gpio.lit(RED), gpio.lit(GREEN), gpio.lit(BLUE)) == lit, colour


def test_a_rhythm_is_seen_on_the_pin(panel: Panel, gpio: Gpio) -> None:
    """Played moment by moment as the panel's own clock would; the pin follows each."""
    now_ms, seen = 10_000.0, []
    pattern = Pattern(FAST, WHITE)
    while now_ms < 13_000:
        due_ms = panel.play({"sys": Playing(pattern)}, now_ms)
        seen.append(gpio.lit(SYS))
        assert seen[-1] == (pattern.at(now_ms).level >= 0.5) or due_ms < 334, "only what is too quick for the eye is put off"
        now_ms += due_ms
    edges = sum(before != after for before, after in itertools.pairwise(seen))
    assert 10 <= edges <= 13, "twice a second for three seconds"


def test_the_button_is_heard_when_it_is_pressed_and_let_go(gpio: Gpio, wait_for: WaitFor) -> None:
    gpio.pull(BUTTON, up=True)
    calls: list[float] = []
    wiring = Wiring(button=ButtonWiring(pin=BUTTON), pins="lgpio", chip=gpio.number)
    panel = Panel(wiring, changed=lambda: calls.append(time.monotonic()))
    try:
        assert panel.button
        assert not panel.button.down
        gpio.pull(BUTTON, up=False)
        wait_for(lambda: calls and panel.button and panel.button.down, 30, "the press")
        heard = len(calls)
        gpio.pull(BUTTON, up=True)
        wait_for(lambda: len(calls) > heard and panel.button and not panel.button.down, 30, "that it was let go")
    finally:
        panel.close()


def test_a_press_becomes_an_action(panel: Panel, gpio: Gpio, wait_for: WaitFor) -> None:
    """The pin's level, pushed with the time, as paneld does it."""
    button = Button()
    done: list[str] = []

    def push() -> bool:
        assert panel.button
        action = button.push(panel.button.down, time.monotonic() * 1000)
        if action:
            done.append(action)
        return panel.button.down

    def settled(*, down: bool) -> bool:
        since_s = time.monotonic()
        wait_for(lambda: push() == down, 30, "the level")
        wait_for(lambda: push() == down and time.monotonic() > since_s + 0.1, 30, "a steady level")
        return True

    settled(down=False)
    gpio.pull(BUTTON, up=False)
    assert settled(down=True)
    gpio.pull(BUTTON, up=True)
    assert settled(down=False)
    assert len(done) == 1


def test_a_pin_that_somebody_else_has_is_named(panel: Panel, gpio: Gpio) -> None:
    with pytest.raises(PanelError, match=r"lamps\.sys"):
        Panel(Wiring(lamps={"sys": LampWiring(pin=SYS)}, pins="lgpio", chip=gpio.number))


def test_a_chip_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(PanelError, match="chip"):
        Panel(Wiring(lamps={"sys": LampWiring(pin=SYS)}, pins="lgpio", chip=63))
