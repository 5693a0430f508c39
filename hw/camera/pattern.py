"""A moving test picture with frame counter, wall clock and tone.

    0..15   the frame number for machines: 16 blocks of 32 x 16 luma pixels, black or white, lowest bit at x = 0
            colour bars
            frame number and UTC for people; at the right a lamp that is lit for the first tenth of each second
            a block that crosses the picture once a second
            tiles of grey that move to the left
            noise, new in every picture, so that the encoder has to spend its bits

The tone is 1 kHz; a 2 kHz beep starts with the first sample of each second, in the same instant as the lamp.
"""

from __future__ import annotations

import math
import os
import time
from array import array

from hw.camera.pace import FrameClock
from hw.canvas import BLACK, WHITE, Canvas, Colour
from hw.frame import SAMPLE_RATE_HZ, Frame, Sound, samples_at

COUNTER_BITS, BIT_WIDTH, COUNTER_HEIGHT = 16, 32, 16
TILE = 8  # pixels, of the texture
TEXTURE_STEP = 4  # pixels a picture

BARS: list[Colour] = [  # 75 %, BT.709
    (180, 128, 128),
    (168, 44, 136),
    (145, 147, 44),
    (133, 63, 52),
    (63, 193, 204),
    (51, 109, 212),
    (28, 212, 120),
]


class Pattern:
    name = "pattern"

    def __init__(self, width: int, height: int, fps: int) -> None:
        from av import VideoFrame

        self.fps = float(fps)
        self.picture = VideoFrame(width, height, "yuv420p")
        self._canvas = Canvas(self.picture)
        self._scale = max(1, height // 120)
        self._text_y = height * 2 // 5
        self._sweep_y = self._text_y + 20 * self._scale
        self._texture_y = self._sweep_y + max(2, height // 20)
        self._noise_y = self._texture_y + (height - self._texture_y) * 5 // 8
        self._draw_still()
        self._texture = _mosaic(width, self._noise_y - self._texture_y)
        self._noise = _grain(90, 150, (height - self._noise_y + 64) * width)
        self._second = _second_of_tone()
        self._clock = FrameClock(fps)

    def read(self) -> Frame:
        clock = self._clock
        number = clock.next_number()
        self.draw(number, clock.due_ns(number))
        return Frame(number, self.picture, clock.wait(number), [self._sound(number)])

    def close(self) -> None:
        """Nothing to give back."""

    def _draw_still(self) -> None:
        canvas, width = self._canvas, self._canvas.width
        canvas.fill(0, 0, width, canvas.height, BLACK)
        for bar, colour in enumerate(BARS):
            left = bar * width // len(BARS) & ~1
            canvas.fill(left, COUNTER_HEIGHT, width - left, self._text_y - COUNTER_HEIGHT, colour)

    def draw(self, number: int, capture_ns: int) -> None:
        canvas, scale, width, fps = self._canvas, self._scale, self._canvas.width, self._clock.fps
        counter = b"".join([bytes((WHITE[0] if number >> bit & 1 else BLACK[0],)) * BIT_WIDTH for bit in range(COUNTER_BITS)])[:width]
        for y in range(COUNTER_HEIGHT):
            canvas.luma_row(0, y, counter)
        canvas.text(2 * scale, self._text_y + 2 * scale, f"FRAME {number:08d}", scale)
        canvas.text(2 * scale, self._text_y + 11 * scale, _utc(capture_ns), scale)
        lamp = 16 * scale
        lit = number % fps * 10 < fps
        canvas.fill(width - lamp - 2 * scale, self._text_y + 2 * scale, lamp, lamp, WHITE if lit else BLACK)
        self._draw_sweep(number % fps * width // fps)
        self._draw_texture(number)

    def _draw_sweep(self, x: int) -> None:
        block = bytes((WHITE[0],)) * (self._canvas.width // 16)
        row = (bytes((BLACK[0],)) * x + block).ljust(self._canvas.width, bytes((BLACK[0],)))[: self._canvas.width]
        for y in range(self._sweep_y, self._texture_y):
            self._canvas.luma_row(0, y, row)

    def _draw_texture(self, number: int) -> None:
        canvas, width = self._canvas, self._canvas.width
        at = number * TEXTURE_STEP % width
        for y in range(self._texture_y, self._noise_y):
            canvas.luma_row(0, y, self._texture[(y - self._texture_y) // TILE][at : at + width])
        at = number * 7919 % (63 * width)
        for y in range(self._noise_y, canvas.height):
            canvas.luma_row(0, y, self._noise[at : at + width])
            at += width

    def _sound(self, number: int) -> Sound:
        first, end = self._clock.sound_span(number)
        at = first % SAMPLE_RATE_HZ * 4
        samples = bytes(self._second[at : at + (end - first) * 4])
        return Sound(samples_at(self._clock.start_ns) + first, samples, samples)


def read_counter(luma: bytes | memoryview, line_size: int) -> int:
    """The frame number, modulo 65,536, from the luma of a decoded picture that is at least 512 pixels wide."""
    middle = COUNTER_HEIGHT // 2 * line_size + BIT_WIDTH // 2
    return sum((luma[middle + bit * BIT_WIDTH] > 125) << bit for bit in range(COUNTER_BITS))


def _utc(capture_ns: int) -> str:
    unix_ms = (capture_ns + time.time_ns() - time.monotonic_ns()) // 1_000_000
    return time.strftime("%H:%M:%S", time.gmtime(unix_ms // 1000)) + f".{unix_ms % 1000:03d} UTC"


def _grain(darkest: int, brightest: int, size: int) -> memoryview:
    """Random luma between the two levels."""
    span = brightest - darkest + 1
    return memoryview(os.urandom(size).translate(bytes(darkest + level * span // 256 for level in range(256))))


def _mosaic(width: int, height: int) -> list[memoryview]:
    """Rows of grey tiles, twice as wide as the picture, so that any shift is one slice."""
    rows = []
    for _ in range(0, height, TILE):
        tiles = b"".join([bytes((level,)) * TILE for level in _grain(40, 200, -(-width // TILE))])[:width]
        rows.append(memoryview(tiles + tiles))
    return rows


def _second_of_tone() -> memoryview:
    """A second that can be repeated: a tenth of beep, then tone; and half a second more, so that one slice always does."""
    beep, tone = _wave(2000, 0.5), _wave(1000, 0.1)
    beeps = SAMPLE_RATE_HZ // 10
    second = beep * (beeps // len(beep)) + tone * ((SAMPLE_RATE_HZ - beeps) // len(tone))
    return memoryview(second + second[: SAMPLE_RATE_HZ // 2]).cast("B")


def _wave(pitch_hz: int, level: float) -> array[float]:
    period = SAMPLE_RATE_HZ // pitch_hz
    return array("f", (level * math.sin(2 * math.pi * sample / period) for sample in range(period)))
