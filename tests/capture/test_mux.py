from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from av import Packet

from firmware.capture.mux import PID_AUDIO, PID_PMT, PID_VIDEO, Mux
from firmware.wire import ts
from hw.camera.clip import Clip
from hw.camera.pattern import Pattern
from hw.encoder.aac import Aac
from hw.encoder.x264 import X264
from hw.frame import AccessUnit, Frame

from ..clocks import Clock, no_waiting
from ..pictures import packets_of, pictures_of, sound_of

SDT, PAT = 0x11, 0


@dataclass(slots=True)
class List:
    number: int
    capture_ns: int
    key: bool
    data: bytes

    @property
    def pts_90k(self) -> int:
        return self.capture_ns * 9 // 100_000 % 2**33

    @property
    def pids(self) -> list[int]:
        return [ts.pid_of(self.data, at) for at in range(0, len(self.data), ts.PACKET)]


def lists_of(camera: Pattern | Clip, fps: int, count: int, later_ns: int = 0) -> Iterator[List]:
    encoder, aac = X264(640, 360, fps, 2_000_000, 500, "ultrafast"), Aac(128_000)
    mux = Mux()
    for _ in range(count):
        frame = camera.read()
        for sound in frame.sound:
            sound.first += later_ns * 48 // 1_000_000
        units = encoder.encode(Frame(frame.number, frame.picture, frame.capture_ns + later_ns))
        data = mux.write(units, [unit for sound in frame.sound for unit in aac.encode(sound)])
        yield List(frame.number, frame.capture_ns + later_ns, units[0].key, data)


def has_its_picture(one: List) -> bool:
    starts = [at for at in range(0, len(one.data), ts.PACKET) if ts.pid_of(one.data, at) == PID_VIDEO and one.data[at + 1] & 0x40]
    return [ts.read_timestamp(one.data, ts.timestamps_at(one.data, at)[0]) for at in starts] == [one.pts_90k]


@pytest.mark.parametrize("fps", [5, 24, 25, 29, 30, 50, 60])
def test_every_list_holds_its_own_picture_and_no_other(fps: int) -> None:
    lists = list(lists_of(Pattern(640, 360, fps), fps, max(4, fps // 2)))
    assert all(len(one.data) % ts.PACKET == 0 for one in lists)
    assert [has_its_picture(one) for one in lists] == [True] * len(lists)


@pytest.mark.parametrize("name", ["bikes.mp4", "bigbuckbunny.mp4"])
def test_every_list_of_a_film_holds_its_own_picture(film: Callable[[str], Path], name: str) -> None:
    assert all(map(has_its_picture, lists_of(Clip(str(film(name)), 640, 360, 60), 60, 60)))


@pytest.fixture(autouse=True, scope="module")
def clock() -> Iterator[Clock]:
    with no_waiting() as clock:
        yield clock


@pytest.fixture(scope="module")
def second(clock: Clock) -> list[List]:
    """A second and a bit, at 30 a second."""
    return list(lists_of(Pattern(640, 360, 30), 30, 36))


@pytest.fixture(scope="module")
def stream(second: list[List]) -> bytes:
    return b"".join(one.data for one in second)


def test_tables_come_before_each_key_frame_and_often_enough(second: list[List]) -> None:
    tables_at = [one.capture_ns for one in second if PAT in one.pids]
    assert all(after - before <= 134_000_000 for before, after in itertools.pairwise(tables_at)), "100 ms, to the next frame"
    for one in second:
        if one.key:
            assert one.pids.index(PAT) < one.pids.index(PID_PMT) < one.pids.index(PID_VIDEO)
    assert {pid for one in second for pid in one.pids} == {PAT, SDT, PID_PMT, PID_VIDEO, PID_AUDIO}, "and no null packets"


def test_each_picture_brings_a_pcr_its_length_and_random_access_where_it_is_key(second: list[List]) -> None:
    for one in second:
        at = one.pids.index(PID_VIDEO) * ts.PACKET
        assert ts.pcr_of(one.data, at) == one.pts_90k * 300
        assert bool(one.data[at + 5] & 0x40) == one.key
        pes = ts.payload_at(one.data, at)
        length = int.from_bytes(one.data[pes + 4 : pes + 6], "big")
        payload = sum(
            start + ts.PACKET - ts.payload_at(one.data, start)
            for start in range(0, len(one.data), ts.PACKET)
            if ts.pid_of(one.data, start) == PID_VIDEO
        )
        assert length == payload - 6


def test_counters_run_on_over_lists(stream: bytes) -> None:
    last: dict[int, int] = {}
    for packet in ts.packets(stream):
        pid, counter = ts.pid_of(packet, 0), packet[3] & 15
        assert counter == (last.get(pid, counter - 1) + 1) % 16
        last[pid] = counter


def test_the_decoder_sees_every_picture_at_its_capture_time(second: list[List], stream: bytes) -> None:
    pictures = pictures_of(stream)
    assert [picture.counter for picture in pictures] == [one.number for one in second]
    assert [picture.pts_90k for picture in pictures] == [one.pts_90k for one in second]
    assert [picture.key for picture in pictures] == [one.key for one in second]


def test_the_beep_sounds_when_the_lamp_lights(second: list[List], stream: bytes) -> None:
    first_90k, samples = sound_of(stream)
    loud = [index for index, level in enumerate(samples) if abs(level) > 0.3]
    starts = [index for before, index in zip([-9999, *loud], loud, strict=False) if index - before > 4000]
    beeps_90k = [first_90k + start * 15 / 8 for start in starts]
    assert beeps_90k[:2] == pytest.approx([second[0].pts_90k, second[0].pts_90k + 90_000], abs=180), "within 2 ms"


def test_sound_is_even_and_reaches_at_least_as_far_as_the_picture(second: list[List], stream: bytes) -> None:
    times = [packet.pts for packet in packets_of(stream, "audio")]
    assert {after - before for before, after in itertools.pairwise(times)} == {1920}
    assert times[-1] >= second[-1].pts_90k - 1920


def test_time_stays_the_clock_through_the_wrap(clock: Clock) -> None:
    wrap_ns = 2**33 * 100_000 // 9
    later_ns = wrap_ns * 3 - clock.monotonic_ns() - 300_000_000
    lists = list(lists_of(Pattern(640, 360, 60), 60, 30, later_ns))
    times = [one.pts_90k for one in lists]
    assert times[0] > 2**33 - 30_000
    assert times[-1] < 30_000
    assert all(map(has_its_picture, lists))
    assert all(ts.pcr_of(one.data, one.pids.index(PID_VIDEO) * ts.PACKET) == one.pts_90k * 300 for one in lists)


@pytest.mark.parametrize("missing", [2, 3, 5, 8, 300])
def test_after_a_pause_every_list_holds_its_picture_again(missing: int, film: Callable[[str], Path], clock: Clock) -> None:
    for camera in (Pattern(640, 360, 60), Clip(str(film("bikes.mp4")), 640, 360, 60)):
        lists = []
        for one in lists_of(camera, 60, 30):
            lists.append(one)
            if len(lists) in (10, 20):
                clock.jump(missing / 60)
        assert all(map(has_its_picture, lists))
        times = [packet.pts for packet in packets_of(b"".join(one.data for one in lists), "audio")]
        assert all(after - before >= 1920 for before, after in itertools.pairwise(times))


def unit_of(data: bytes, pts_90k: int = 900_000, key: bool = False) -> AccessUnit:
    return AccessUnit(Packet(data), pts_90k, key)


def payload_of(data: bytes, pid: int) -> bytes:
    """Of the only PES packet of that PID."""
    parts = [data[ts.payload_at(data, at) : at + ts.PACKET] for at in range(0, len(data), ts.PACKET) if ts.pid_of(data, at) == pid]
    return b"".join(parts)


@pytest.mark.parametrize("start", [b"\0\0\1", b"\0\0\0\1"])
def test_an_access_unit_of_a_camera_gets_the_delimiter_that_it_lacks(start: bytes) -> None:
    bare = start + b"\x65" + bytes(range(1, 200))
    assert payload_of(Mux().write([unit_of(bare)], []), PID_VIDEO)[14:] == b"\0\0\0\1\x09\xf0" + bare
    whole = start + b"\x09\x10" + bare
    assert payload_of(Mux().write([unit_of(whole)], []), PID_VIDEO)[14:] == whole


@pytest.mark.parametrize("size", [6, *range(150, 200), 65_500, 65_527, 65_528, 200_000])
def test_a_unit_of_any_size_comes_out_as_it_went_in(size: int) -> None:
    """65,535 is the most that the length of a PES packet can say; 0 is for pictures that are larger."""
    unit = b"\0\0\0\1\x09\xf0" + bytes(n % 251 for n in range(size - 6))
    data = Mux().write([unit_of(unit)], [])
    assert len(data) % ts.PACKET == 0
    pes = payload_of(data, PID_VIDEO)
    assert pes[14:] == unit
    assert int.from_bytes(pes[4:6], "big") == (size + 8 if size + 8 <= 65_535 else 0)


def test_sound_alone_and_nothing_at_all() -> None:
    mux = Mux()
    assert mux.write([], []) == b""
    block = bytes(range(200))
    pes = payload_of(mux.write([], [unit_of(block)]), PID_AUDIO)
    assert pes[14:16] == b"\xff\xf1"
    assert pes[21:] == block
    assert (pes[17] & 3) << 11 | pes[18] << 3 | pes[19] >> 5 == 207
