"""hw/audio.py on a sound card of the kernel's that can be played to, shifted and pulled out."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

import pytest

from hw.alsa import Device
from hw.audio import Microphone, SoundError, list_microphones
from hw.frame import SAMPLE_RATE_HZ, Sound
from tests.driver.linux import remove_module
from tests.driver.loopback import EARS, MODULE, Loopback
from tests.lab.programs import wait_until

PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    card = Loopback(tmp_path_factory.mktemp("sound"))
    yield card
    card.stop()
    remove_module(MODULE)


@pytest.fixture(autouse=True)
def as_it_was(card: Loopback) -> Iterator[None]:
    yield
    card.stop()
    card.plug()
    card.shift(0)


def hear(microphone: Microphone, seconds: float) -> list[Sound]:
    heard: list[Sound] = []

    def enough() -> bool:
        heard.extend(microphone.take(time.monotonic_ns()))
        return sum(len(sound.left) for sound in heard) >= seconds * SAMPLE_RATE_HZ * 4

    wait_until(enough, seconds + PATIENCE_S, "sound")
    return heard


def strengths(heard: list[Sound]) -> list[float]:
    """Level of a 1 kHz sine, left and right: the median of tenths of a second."""
    planes = (array("f", b"".join(sound.left for sound in heard)), array("f", b"".join(sound.right for sound in heard)))
    return [median(strength(plane[at : at + 4800]) for at in range(0, len(plane) - 4800, 4800)) for plane in planes]


def strength(samples: array[float]) -> float:
    turn = 2 * math.pi / 48
    parts = (sum(x * wave(turn * n) for n, x in enumerate(samples)) for wave in (math.sin, math.cos))
    return math.hypot(*parts) * 2 / len(samples)


def test_it_is_listed_by_its_name(card: Loopback) -> None:
    assert EARS in [one.device for one in list_microphones()]


@pytest.mark.parametrize(
    ("levels", "rate_hz", "form", "heard_as"),
    [
        ([0.5, 0.05], 48_000, "S16_LE", [0.5, 0.05]),
        ([0.4], 44_100, "S32_LE", [0.4, 0.4]),
        ([0.1, 0.2, 0.3, 0.4], 96_000, "S16_LE", [0.1, 0.2]),
        ([0.3, 0.2], 32_000, "S32_LE", [0.3, 0.2]),
    ],
)
def test_whatever_a_card_gives_is_48_khz_stereo(
    card: Loopback, levels: list[float], rate_hz: int, form: str, heard_as: list[float]
) -> None:
    card.play(levels, rate_hz, form)
    microphone = Microphone(EARS)
    heard = hear(microphone, 2)
    microphone.close()
    assert f"{rate_hz / 1000:g} kHz" in microphone.name
    assert strengths(heard) == pytest.approx(heard_as, rel=0.05)
    assert all(before.first + len(before.left) // 4 == after.first for before, after in pairwise(heard))
    assert microphone.stamped, "the driver stamps its interrupts"


@pytest.mark.parametrize("ppm", [-200, 200])
def test_drift_is_measured(card: Loopback, ppm: int) -> None:
    card.shift(ppm)
    microphone = Microphone(EARS)
    wait_until(lambda: microphone.take(time.monotonic_ns()) is not None and microphone.drift_ppm is not None, 60 + PATIENCE_S)
    hear(microphone, 20)
    microphone.close()
    assert microphone.drift_ppm == pytest.approx(ppm, abs=60)
    assert abs(microphone.offset_ms) < 5


def test_what_nobody_read_in_time_is_an_overrun_and_time_goes_on(card: Loopback) -> None:
    device = Device(EARS.removeprefix("alsa:"), 2, 48_000)
    wait_until(device.read, PATIENCE_S)
    before_ns = time.monotonic_ns()
    wait_until(lambda: time.monotonic_ns() - before_ns > 1_500_000_000, 10)  # its buffer is half a second
    read = wait_until(lambda: (read := device.read()) is not None and read.broken and read, PATIENCE_S)
    assert device.overruns >= 1
    assert read.position == 0
    assert 0 <= time.monotonic_ns() - read.at_ns < 1_000_000_000
    device.close()


def test_one_that_is_in_use_says_so(card: Loopback) -> None:
    first = Microphone(EARS)
    with pytest.raises(SoundError, match=r"cannot be opened: another programme uses it$"):
        Microphone(EARS)
    first.close()


def test_it_can_be_pulled_out_and_put_back(card: Loopback) -> None:
    for _ in range(5):
        microphone = wait_until(opened, PATIENCE_S, "the microphone can be opened")
        hear(microphone, 0.3)
        card.unplug()
        with pytest.raises(SoundError, match=r"^microphone `.*` is gone: "):
            hear(microphone, 60)
        card.plug()


def opened() -> Microphone | None:
    """None while the one before is still being closed by its thread."""
    try:
        return Microphone(EARS)
    except SoundError:
        return None
