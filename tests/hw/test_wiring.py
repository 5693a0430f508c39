"""Which wiring is refused, and with which words."""

from __future__ import annotations

import msgspec
import pytest

from hw.wiring import LampWiring, Wiring


def refused(**fields: object) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(fields, type=Wiring)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lamp", "words"),
    [
        ({}, "name one of these"),
        ({"pin": 4, "led": "ACT"}, "name one of these"),
        ({"pin": 4, "red": 5, "green": 6, "blue": 7}, "name one of these"),
        ({"red": 5, "green": 6}, "three pins make a lamp of all colours"),
        ({"pin": 512}, "<= 511"),
        ({"pin": "4"}, "Expected `int"),
        ({"led": "../ACT"}, "without a /"),
        ({"pin": 4, "fallback": "timer"}, "only a `led` of the kernel"),
        ({"led": "ACT", "fallback": "disco"}, "Invalid enum value 'disco'"),
        ({"pin": 4, "colour": "green"}, "unknown field `colour`"),
    ],
)
def test_a_lamp_that_cannot_be(lamp: dict[str, object], words: str) -> None:
    assert words in refused(lamps={"sys": lamp})


def test_no_two_things_share_a_pin() -> None:
    words = refused(lamps={"sys": {"red": 4, "green": 5, "blue": 6}, "in": {"pin": 5}})
    assert "lamps.in.pin: pin 5 is the pin of lamps.sys.green already" in words
    assert "button.pin: pin 5 is the pin of lamps.in.pin already" in refused(lamps={"in": {"pin": 5}}, button={"pin": 5})
    assert "two lamps have one kernel LED" in refused(lamps={"in": {"led": "x"}, "a": {"led": "x"}})


def test_a_wiring_that_can_be() -> None:
    wiring = msgspec.convert({"lamps": {"on-air": {"pin": 26}}, "button": {"pin": 16}}, type=Wiring)
    assert wiring.lamps == {"on-air": LampWiring(pin=26)}
    assert wiring.on_pins
    assert not Wiring(lamps={"sys": LampWiring(led="ACT")}).on_pins
