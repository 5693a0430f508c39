"""Patterns on gpiozero's mock pins, with recorded states: rhythm, phase, dimming, release, and the factory on a machine that is no Pi."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hw.panel import Panel, PanelError, Playing, on_any_board, open_pins
from hw.rhythm import BREATHE, DOUBLE, FAST, SOLID, SWAP, Pattern, code
from hw.wiring import ButtonWiring, LampWiring, Wiring

WHITE = ("white",)


@pytest.fixture
def factory() -> Iterator[Any]:
    made = open_pins(Wiring(pins="mock"))
    yield made
    made.reset()


def played(
    panel: Panel, shown: dict[Any, Playing], until_ms: float, begin_ms: float = 0.0, **how: Any
) -> dict[int, list[tuple[float, float]]]:
    """What each pin did and when, in made-up time: the panel says itself when it wants to be asked again."""
    ms, lines = begin_ms, [line for lamp in panel.wiring.lamps.values() for line in lamp.lines]
    did: dict[int, list[tuple[float, float]]] = {line: [] for line in lines}
    while ms < begin_ms + until_ms:
        due_ms = panel.play(shown, ms, **how)
        for line in lines:
            state = panel._factory.pin(line).state
            if not did[line] or did[line][-1][1] != state:
                did[line].append((round(ms - begin_ms), state))
        ms += due_ms
    return did


def test_a_rhythm_on_a_pin(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"in": LampWiring(pin=5, pwm=False)}), factory=factory)
    did = played(panel, {"in": Playing(Pattern(DOUBLE, WHITE))}, 3000)
    assert did[5] == [(0, 1), (150, 0), (350, 1), (500, 0), (1500, 1), (1650, 0), (1850, 1), (2000, 0)]
    panel.close()


def test_recorded_in_real_time(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"in": LampWiring(pin=5, pwm=False)}), factory=factory)
    pin = factory.pin(5)
    pin.clear_states()
    until = time.monotonic() + 1.4
    begin_ms = time.monotonic() * 1e3
    while (now := time.monotonic()) < until:
        time.sleep(min(0.02, panel.play({"in": Playing(Pattern(FAST, WHITE), begin_ms)}, now * 1e3) / 1e3))
    states = [bool(one.state) for one in pin.states]
    assert states[:5] == [False, True, False, True, False]
    panel.close()


def test_lamps_keep_phase_and_codes_begin_together(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"a": LampWiring(pin=6, pwm=False), "b": LampWiring(pin=13, pwm=False)}), factory=factory)
    both = Pattern(code(3), ("amber",))
    did = played(panel, {"a": Playing(both), "b": Playing(both)}, 2 * both.rhythm.period_ms, begin_ms=123_456)
    assert did[6] == did[13]
    assert len([state for _, state in did[6] if state]) in (6, 7)


def test_a_lamp_of_all_colours(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"sys": LampWiring(red=17, green=27, blue=22)}), factory=factory)
    did = played(panel, {"sys": Playing(Pattern(SWAP, ("white", "amber")))}, 500)
    assert (did[17], did[27], did[22]) == ([(0, 1), (250, 0.3)], [(0, 1), (250, 0.12)], [(0, 1), (250, 0)])
    panel.close()


def test_breathing_glides_on_pulses_and_a_full_lamp_needs_none(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"sys": LampWiring(pin=5)}), factory=factory)
    levels = [state for _, state in played(panel, {"sys": Playing(Pattern(BREATHE, WHITE))}, 1000)[5]]
    assert levels == sorted(levels)
    assert len(levels) >= 20
    panel.play({"sys": Playing(Pattern(BREATHE, WHITE))}, 500)
    assert factory.pin(5).frequency == 100
    panel.play({"sys": Playing(Pattern(SOLID, WHITE))}, 5000)
    assert (factory.pin(5).frequency, factory.pin(5).state) == (None, 1)
    panel.close()


def test_night_dims_what_can_be_dimmed(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"in": LampWiring(pin=5), "a": LampWiring(pin=6, pwm=False)}), factory=factory)
    lit = Playing(Pattern(SOLID, WHITE))
    panel.play({"in": lit, "a": lit}, 0, brightness=0.1)
    assert (factory.pin(5).state, factory.pin(6).state) == (pytest.approx(0.1), 1)
    panel.close()


def test_a_common_anode_lights_at_low(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"in": LampWiring(pin=5, pwm=False, active_high=False)}), factory=factory)
    panel.play({"in": Playing(Pattern(SOLID, WHITE))}, 0)
    assert factory.pin(5).state == 0
    panel.play({}, 10)
    assert factory.pin(5).state == 1, "what is not shown is dark"
    panel.close()


def test_what_is_let_go_is_an_input(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"on-air": LampWiring(pin=26)}, button=ButtonWiring(pin=16)), factory=factory)
    panel.play({"on-air": Playing(Pattern(SOLID, ("red",)))}, 0)
    pin = factory.pin(26)
    assert pin.function == "output"
    panel.close()
    assert pin.function == "input"


def test_the_button_wakes_and_tells_its_level(factory: Any) -> None:
    woken: list[None] = []
    panel = Panel(Wiring(button=ButtonWiring(pin=16)), factory=factory, changed=lambda: woken.append(None))
    assert panel.button
    assert not panel.button.down
    factory.pin(16).drive_low()
    assert panel.button.down
    assert woken
    factory.pin(16).drive_high()
    assert not panel.button.down
    panel.close()


def test_a_flood_of_changes_is_played_calmly(factory: Any) -> None:
    panel = Panel(Wiring(lamps={"in": LampWiring(pin=5, pwm=False)}), factory=factory)
    rises, before = [], 0
    for ms in range(0, 3000, 10):
        panel.play({"in": Playing(Pattern(SOLID, WHITE))} if ms // 50 % 2 else {}, ms)
        state = factory.pin(5).state
        rises += [ms] if state and not before else []
        before = state
    assert all(later - earlier >= 334 for earlier, later in pairwise(rises))
    panel.close()


def test_pins_beyond_a_header_on_a_machine_that_is_no_pi() -> None:
    """gpiozero looks pins up in the header of a Raspberry Pi, and has none for others: PinUnknownPi."""
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    factory = on_any_board(MockFactory)(pin_class=MockPWMPin)
    panel = Panel(Wiring(lamps={"sys": LampWiring(pin=138), "in": LampWiring(pin=4)}), factory=factory)
    panel.play({"sys": Playing(Pattern(SOLID, WHITE))}, 0)
    assert (factory.pin(138).state, factory.pin(4).state) == (1, 0)
    panel.close()
    factory.reset()


def test_a_chip_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("lgpio") is None:
        pytest.skip("lgpio is not installed")
    monkeypatch.setenv("LG_WD", str(tmp_path))  # where it makes its pipe, as soon as it is loaded
    monkeypatch.setenv("PRESSBOX_GPIO_CHIP", "61")
    with pytest.raises(PanelError, match="chip: GPIO chip 61 cannot be opened"):
        open_pins(Wiring(pins="lgpio"), tmp_path, tmp_path)
    monkeypatch.setenv("PRESSBOX_GPIO_CHIP", "first")
    with pytest.raises(PanelError, match="`first` is not the number of a /dev/gpiochip"):
        open_pins(Wiring(pins="lgpio"), tmp_path, tmp_path)


def test_a_pin_that_cannot_be_used_is_named(factory: Any) -> None:
    with pytest.raises(PanelError, match=r"lamps\.in: the pin cannot be used"):
        Panel(Wiring(lamps={"in": LampWiring(pin=99)}), factory=factory)
