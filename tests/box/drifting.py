"""A day of sound beside pictures, with a sound card's clock that is off: made-up time, the real resampler."""

from __future__ import annotations

import argparse
import time

from hw.soundline import SoundLine
from tests.hw.sounddevice import Heard, MadeUp

from .proof import Figures, judged, progress

DAY_S = 86_400
HOUR_READS = 36_000
WORST_MS = 40.0
LEAP_S, STALL_S = 601, 907  # one of each so often


def drift(options: argparse.Namespace) -> Figures:
    """a day of sound, or `--seconds` of it, from a clock 200 ppm fast, with leaps, overruns and stalls: within 40 ms of its picture"""
    seconds = int(options.seconds or DAY_S)
    device = MadeUp(
        ppm=170,
        wander_ppm=30,
        frames=4800,
        stamp_ms=1.0,
        seed=options.seed,
        losses={second: (-1) ** (second // LEAP_S) * second % 400.0 for second in range(LEAP_S, seconds, LEAP_S)},
        stalls={second: second % 20 / 10 for second in range(STALL_S, seconds, STALL_S)},
    )
    leaps, stalls = len(device.losses), len(device.stalls)
    began, heard, line = time.process_time(), Heard(), SoundLine(device.rate_hz, 2, stamped=True)
    for number, chunk in enumerate(device.chunks(seconds)):
        line.push(chunk)
        for sound in line.take(round(device.ready)):
            heard.hear(sound)
        if number % HOUR_READS == 0:
            progress(number // 10, seconds)
    errors = sorted(abs(error) for _, error in heard.errors_ms)
    figures: Figures = {
        "simulated_s": seconds,
        "cpu_ms_a_second": round((time.process_time() - began) * 1000 / seconds, 2),
        "device_leaps": leaps,
        "stalls": stalls,
        "clicks": len(errors),
        "error_ms_median": round(errors[len(errors) // 2], 3),
        "error_ms_max": round(errors[-1], 3),
        "drift_ppm": round(line.clock.ppm or 0.0, 1),
        "silence_ms": line.filled // 48,
    }
    return judged(figures, {"sound stays with its picture": errors[-1] < WORST_MS, "most of it is heard": len(errors) > 0.97 * seconds})
