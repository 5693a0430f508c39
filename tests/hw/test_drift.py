"""Sound stays with its picture: clocks that are off, machines that are busy, devices that leap. Nothing here waits: time is made up.

A whole day through the resampler is `scripts/prove drift`.
"""

from __future__ import annotations

import math
import random
from array import array
from dataclasses import dataclass
from itertools import pairwise
from operator import mul
from statistics import median

import pytest

from hw.drift import DeviceClock
from hw.frame import SAMPLE_RATE_HZ
from hw.soundline import LAG_MS, Chunk, SoundLine

from .sounddevice import SECOND_NS, MadeUp, listen

HOUR_S = 3600


def worst_ms(errors: list[tuple[int, float]]) -> float:
    return max(abs(error) for _, error in errors)


@pytest.mark.parametrize(("ppm", "stamp_ms"), [(-200, None), (200, 1.0)], ids=["reads", "stamps"])
def test_the_clock_holds_for_hours(ppm: int, stamp_ms: float | None) -> None:
    """The estimate alone, asked for the time of the newest sample every ten seconds."""
    chance, clock, worst = random.Random(7), DeviceClock(48_000, stamped=stamp_ms is not None), 0.0
    late_ms = 3.0 if stamp_ms is None else stamp_ms
    step = SECOND_NS / 48_000 / (1 + ppm * 1e-6)
    for read in range(1, 6 * HOUR_S * 2):
        position = read * 24_000
        clock.push(position, round(position * step + chance.expovariate(1 / late_ms) * 1e6))
        if read % 20 == 0 and clock.sure:
            worst = max(worst, abs(clock.time_of(position) - position * step) / 1e6)
    assert worst < 10, "ms"
    assert clock.ppm == pytest.approx(ppm, abs=15)


@pytest.mark.parametrize(
    ("device", "seconds"),
    [
        (MadeUp(ppm=200, frames=4800, wander_ppm=30, stamp_ms=1.0, seed=1), HOUR_S),
        (
            MadeUp(
                ppm=-200,
                frames=4800,
                stamp_ms=1.0,
                seed=2,
                losses={61 + 97 * n: 45.0 * n * (-1) ** n for n in range(12)},
                stalls={103 + 131 * n: 0.25 * n for n in range(8)},
            ),
            HOUR_S // 3,
        ),
    ],
    ids=["warm and cold", "leaps and stalls"],
)
def test_hours_through_the_resampler(device: MadeUp, seconds: int) -> None:
    heard, line = listen(device, seconds, every=1)
    assert len(heard.errors_ms) > seconds * 0.96
    assert worst_ms(heard.errors_ms) < 5
    assert heard.seams == 0
    assert line.clock.ppm == pytest.approx(device.ppm, abs=45)
    assert abs(line.offset_ms) < 1


@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 96_000])
def test_other_rates_are_in_time_too(rate_hz: int) -> None:
    heard, line = listen(MadeUp(ppm=150, rate_hz=rate_hz, frames=rate_hz // 100), 40)
    assert worst_ms(heard.errors_ms) < 3
    assert line.clock.ppm == pytest.approx(150, abs=15)


def test_a_busy_machine_moves_nothing() -> None:
    """Where the driver has no stamps: reads come 8 ms late in the mean, up to 60."""
    heard, line = listen(MadeUp(ppm=-200, busy_ms=8), 120)
    assert worst_ms(heard.errors_ms) < 5
    assert line.clock.jumps == 0
    assert line.clock.ppm == pytest.approx(-200, abs=15)


@pytest.mark.parametrize("stall_s", [0.1, 0.3, 2.0, 7.0])
@pytest.mark.parametrize("stamp_ms", [None, 1.0], ids=["reads", "stamps"])
def test_a_machine_that_stands_still(stall_s: float, stamp_ms: float | None) -> None:
    heard, line = listen(MadeUp(ppm=200, stamp_ms=stamp_ms, stalls={20: stall_s}), 40)
    assert worst_ms(heard.errors_ms) < 5
    assert heard.seams == (stall_s > 2), "silence for up to two seconds; nobody needs more of it"
    assert line.filled * 1000 / SAMPLE_RATE_HZ < stall_s * 1000 + 50
    assert (line.filled > 0) == (stall_s * 1000 > LAG_MS)


@pytest.mark.parametrize("loss_ms", [15, 100, 400, 1500, -15, -100, -400])
def test_a_device_that_leaps_is_followed_at_once_where_its_driver_stamps(loss_ms: float) -> None:
    heard, line = listen(MadeUp(ppm=100, stamp_ms=0.5, losses={20: loss_ms}), 40)
    assert worst_ms(heard.errors_ms) < 5
    assert line.clock.jumps == 1
    assert line.filled >= 0.8 * max(0, loss_ms) * 48
    assert line.cut >= 0.8 * max(0, -loss_ms) * 48


def test_a_device_that_leaps_is_followed_within_two_seconds_where_it_does_not() -> None:
    heard, line = listen(MadeUp(ppm=100, losses={20: 100}), 40)
    assert {second - 1000 for second, error in heard.errors_ms if abs(error) > 5} <= {20, 21}
    assert line.clock.jumps == 1


def test_a_device_that_falls_silent_is_silence_no_later_than_the_lag() -> None:
    line = SoundLine(48_000, 2, first=1_000 * SAMPLE_RATE_HZ)
    now_ns = 1_000 * SECOND_NS
    ends = [sound.first + len(sound.left) // 4 for step in range(100) for sound in line.take(now_ns + step * 33_000_000)]
    assert ends[-1] == (now_ns + 99 * 33_000_000) * 48 // 1_000_000 - LAG_MS * 48


def test_sound_goes_on_from_another_source_where_it_is_told_to() -> None:
    device = MadeUp()
    begin = device.start_ns * 48 // 1_000_000 - 4_800
    line, sounds = SoundLine(48_000, 2, first=begin), []
    for chunk in device.chunks(2):
        line.push(chunk)
        sounds += line.take(chunk.at_ns)
    assert sounds[0].first == begin
    assert all(before.first + len(before.left) // 4 == after.first for before, after in pairwise(sounds))


def tone_through(device: MadeUp, seconds: int, bits: int = 32) -> array[float]:
    """1 kHz at half of full scale, in the room; what comes out of the left channel."""
    full, kind = 2 ** (bits - 1) - 1, "i" if bits == 32 else "h"
    line, out = SoundLine(device.rate_hz, bits // 8, stamped=device.stamp_ms is not None), array("f")
    turn = 2 * math.pi * 1000 / device.rate_hz / (1 + device.ppm * 1e-6)
    for chunk in device.chunks(seconds):
        tone = array(kind, [round(full * math.sin(turn * (chunk.position + n)) / 2) for n in range(chunk.frames)]).tobytes()
        line.push(Chunk(chunk.position, chunk.frames, tone, tone, chunk.at_ns))
        for sound in line.take(chunk.at_ns):
            out.frombytes(sound.left)
    return out


@dataclass
class Tone:
    """A 1 kHz sine fitted to a twentieth of a second, whose phase may move evenly, as it does where the pitch is a little off."""

    noise_db: float  # THD+N: what is left, against the sine
    pitch_ppm: float


def tones_of(samples: array[float]) -> list[Tone]:
    size, turn = SAMPLE_RATE_HZ // 20, 2 * math.pi / 48
    sine, cosine = ([wave(turn * n) for n in range(size)] for wave in (math.sin, math.cos))
    middle = (size - 1) / 2
    tilted = [[(n - middle) * x for n, x in enumerate(wave)] for wave in (sine, cosine)]
    bases = [(wave, sum(map(mul, wave, wave))) for wave in (sine, cosine, *tilted)]
    tones = []
    for at in range(0, len(samples) - size, size):
        rest, parts = list(samples[at : at + size]), []
        for _ in range(2):  # they are not quite at right angles
            for wave, power in bases:
                parts.append(sum(map(mul, rest, wave)) / power)
                rest = [x - parts[-1] * w for x, w in zip(rest, wave, strict=True)]
        a, b, da, db = (parts[n] + parts[n + 4] for n in range(4))
        strength = a * a + b * b
        noise = 10 * math.log10(2 * sum(map(mul, rest, rest)) / size / strength)
        tones.append(Tone(noise, (a * db - b * da) / strength / turn * 1e6))
    return tones


@pytest.mark.parametrize(
    ("device", "bits"),
    [
        (MadeUp(ppm=200, stamp_ms=1.0), 32),
        (MadeUp(ppm=-200, busy_ms=5), 16),
        (MadeUp(ppm=200, rate_hz=44_100, frames=441, stamp_ms=1.0), 32),
    ],
    ids=["stamps", "reads of a busy machine", "44.1 kHz"],
)
def test_the_correction_cannot_be_heard(device: MadeUp, bits: int) -> None:
    """A thousandth off is less than two hundredths of a semitone; the ear tells five at best."""
    out = tone_through(device, 18, bits)
    finding, known = (tones_of(out[begin * SAMPLE_RATE_HZ : end * SAMPLE_RATE_HZ]) for begin, end in ((9, 11), (15, 17)))
    assert max(abs(tone.pitch_ppm) for tone in finding) < 1100
    assert max(abs(tone.pitch_ppm) for tone in known) < 60
    assert max(tone.noise_db for tone in known) < -60
    assert median(tone.noise_db for tone in known) < -84
    out = out[SAMPLE_RATE_HZ // 10 :]
    bends = [abs(a - 2 * b + c) for a, b, c in zip(out, out[1:], out[2:], strict=False)]
    assert max(bends) < 1.02 * 0.5 * turn_squared(), "no click: no bend sharper than the sine's own"


def turn_squared() -> float:
    return float((2 * math.pi / 48) ** 2)
