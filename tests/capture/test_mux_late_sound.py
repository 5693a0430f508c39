"""A microphone's sound is never there when its picture is: no picture waits for it, and what a receiver gets is clean and in time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from firmware.capture.mux import PID_AUDIO, PID_VIDEO, Mux
from firmware.wire import ts
from firmware.wire.health import Health
from firmware.wire.playout import Playout
from hw.camera.pattern import Pattern
from hw.encoder.aac import Aac
from hw.encoder.x264 import X264
from hw.frame import AccessUnit, Frame, Sound

from ..clocks import no_waiting
from ..pictures import Seen, packets_of, pictures_of, sound_of

FPS, LINE_BPS = 30, 4_000_000
MS = 1_000_000


class Late:
    """Gives sound `lag_ms` after it sounded, as much as there is at each picture."""

    def __init__(self, lag_ms: int) -> None:
        self._lag = lag_ms * 48
        self._left = b""
        self._first: int | None = None

    def take(self, heard: list[Sound], now_ns: int) -> list[Sound]:
        for sound in heard:
            self._first = sound.first if self._first is None else self._first
            self._left += sound.left
        ready = max(0, now_ns * 48 // MS - self._lag - (self._first or 0))
        gone, self._left = self._left[: ready * 4], self._left[ready * 4 :]
        first, self._first = self._first or 0, (self._first or 0) + len(gone) // 4
        return [Sound(first, gone, gone)] if gone else []


def lists_of(lag_ms: int, count: int) -> Iterator[tuple[int, bytes]]:
    """Capture time and packets of each picture."""
    camera, encoder, aac, mux, late = (
        Pattern(640, 360, FPS),
        X264(640, 360, FPS, 2_000_000, 500, "ultrafast"),
        Aac(128_000),
        Mux(),
        Late(lag_ms),
    )
    for _ in range(count):
        frame = camera.read()
        units: list[AccessUnit] = [unit for sound in late.take(frame.sound, frame.capture_ns) for unit in aac.encode(sound)]
        yield frame.capture_ns, mux.write(encoder.encode(Frame(frame.number, frame.picture, frame.capture_ns)), units)


@pytest.fixture(scope="module", params=[0, 60, 150, 400])
def lists(request: pytest.FixtureRequest) -> list[tuple[int, bytes]]:
    with no_waiting():
        return list(lists_of(request.param, 75))


def stamps_of(data: bytes, pid: int) -> list[int]:
    starts = [at for at in range(0, len(data), ts.PACKET) if ts.pid_of(data, at) == pid]
    return [ts.read_timestamp(data, place) for at in starts for place in ts.timestamps_at(data, at)]


def is_lit(picture: Seen) -> bool:
    scale = 3
    x, y = picture.size[0] - 10 * scale, picture.size[1] * 2 // 5 + 10 * scale
    return picture.luma[y * picture.line_size + x] > 125


def test_each_picture_leaves_at_once_however_late_the_sound(lists: list[tuple[int, bytes]]) -> None:
    for capture_ns, data in lists:
        assert stamps_of(data, PID_VIDEO) == [capture_ns * 9 // 100_000 % ts.PTS_MODULUS]


def test_sound_has_its_own_time_without_a_seam(lists: list[tuple[int, bytes]]) -> None:
    times = [time for _, data in lists for time in stamps_of(data, PID_AUDIO)]
    assert {after - before for before, after in pairwise(times)} == {1920}


def test_lamp_and_beep_are_together_when_decoded(lists: list[tuple[int, bytes]]) -> None:
    stream = b"".join(data for _, data in lists)
    lamps = [after.pts_90k for before, after in pairwise(pictures_of(stream)) if is_lit(after) and not is_lit(before)]
    first_90k, samples = sound_of(stream)
    loud = [index for index, level in enumerate(samples) if abs(level) > 0.3]
    beeps = [first_90k + index * 15 / 8 for before, index in zip([-9999, *loud], loud, strict=False) if index - before > 4000]
    assert len(lamps) == 2
    assert beeps[1 : len(lamps) + 1] == pytest.approx(lamps[: len(beeps) - 1], abs=180), "within 2 ms"


def test_what_leaves_at_a_constant_rate_is_healthy_and_every_unit_comes_before_it_is_due() -> None:
    with no_waiting():
        lists = list(lists_of(150, 75))
    playout, health, sent = Playout(LINE_BPS), Health(), b""
    begin_ns, end_ns = lists[0][0], lists[-1][0]
    for now_ns in range(begin_ns, end_ns, 5 * MS):
        while lists and lists[0][0] + 30 * MS <= now_ns:
            playout.push(lists.pop(0)[1], now_ns)
        datagrams = playout.pop(now_ns)
        health.push(datagrams, now_ns)
        health.tick(now_ns)
        sent += b"".join(datagrams)
    assert health.faults() == {}
    assert min(margins_ms(sent, PID_VIDEO)) > 100
    assert min(margins_ms(sent, PID_AUDIO)) > 10
    assert packets_of(sent, "audio")


def margins_ms(stream: bytes, pid: int) -> list[float]:
    """Between the clock when the end of each unit comes and the time at which the unit is due."""
    clock, due, margins = 0, 0, []
    for at in range(0, len(stream), ts.PACKET):
        clock = ts.pcr_of(stream, at) or clock
        if clock and ts.pid_of(stream, at) == pid:
            due = next((ts.read_timestamp(stream, place) for place in ts.timestamps_at(stream, at)), due)
            if due:
                margins.append((due - clock / 300) / 90)
    return margins
