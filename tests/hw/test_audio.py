"""Microphones through the real libasound, on a machine without a sound card."""

from __future__ import annotations

import math
import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from hw.alsa import FORMATS, Read
from hw.audio import Microphone, Silence, SoundError, SoundInput, list_microphones, plane_of
from hw.frame import SAMPLE_RATE_HZ, Sound
from tests.lab.programs import wait_until

from .room import Room

Enter = Callable[..., Room]


def tone(level: float) -> list[int]:
    """A tenth of a second of 1 kHz."""
    return [round(32_767 * level * math.sin(2 * math.pi * n / 48)) for n in range(4800)]


@pytest.fixture
def enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Enter]:
    rooms: list[Room] = []

    def build(*planes: list[int]) -> Room:
        room = Room(tmp_path, list(planes) or [tone(0.5), tone(0.05)])
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(room.config))
        room.begin()
        rooms.append(room)
        return room

    yield build
    for room in rooms:
        room.close()
    wait_until(lambda: not readers(), what="the readers end: one that still closes its device spoils the next test's configuration")


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sound of ")]


def hear(microphone: Microphone | Silence, seconds: float) -> list[Sound]:
    """What it gives until there is so much."""
    heard: list[Sound] = []

    def enough() -> bool:
        heard.extend(microphone.take(time.monotonic_ns()))
        return sum(len(sound.left) for sound in heard) >= seconds * SAMPLE_RATE_HZ * 4

    wait_until(enough, seconds + 20)
    return heard


def strengths(heard: list[Sound]) -> list[float]:
    """The level of a sine, left and right: the median of hundredths of a second, since some may be silence on a busy machine."""
    planes = (array("f", b"".join(sound.left for sound in heard)), array("f", b"".join(sound.right for sound in heard)))
    return [median(math.sqrt(sum(x * x for x in plane[at : at + 480]) / 240) for at in range(0, len(plane) - 480, 480)) for plane in planes]


def comes_to_hear(microphone: Microphone, levels: list[float]) -> list[Sound]:
    """Sound at these levels, sooner or later."""
    heard: list[Sound] = []

    def right() -> bool:
        heard[:] = hear(microphone, 0.5)
        return strengths(heard) == pytest.approx(levels, rel=0.02)

    wait_until(right, 30, f"sound at {levels}")
    return heard


def test_sound_is_48_khz_stereo_in_one_piece(enter: Enter) -> None:
    enter()
    microphone = Microphone("alsa:room")
    heard = hear(microphone, 1)
    comes_to_hear(microphone, [0.5, 0.05])
    microphone.close()
    assert all(before.first + len(before.left) // 4 == after.first for before, after in pairwise(heard))
    assert microphone.name == "room, 48 kHz, 16 bits, channels 1 and 2"


def test_what_is_heard_has_the_time_at_which_it_sounded(enter: Enter) -> None:
    """A click each tenth of a second; `room` is not a driver with stamps, so the machine's own lateness counts."""
    click = [20_000] + [0] * 4799
    room = enter(click, click)
    microphone = Microphone("alsa:room")

    def in_time() -> bool:
        heard = hear(microphone, 2)
        samples, first = array("f", b"".join(sound.left for sound in heard)), heard[0].first
        clicks = [first + n for n, level in enumerate(samples) if level > 0.3]
        began = room.began_ns * 48 / 1_000_000
        errors_ms = [((click - began + 2400) % 4800 - 2400) / 48 for click in clicks]
        return len(clicks) >= 15 and abs(median(errors_ms)) < 25

    wait_until(in_time, 30, "clicks within 25 ms")
    microphone.close()


def test_one_channel_is_heard_on_both_sides(enter: Enter) -> None:
    enter(tone(0.5))
    microphone = Microphone("alsa:room")
    comes_to_hear(microphone, [0.5, 0.5])
    microphone.close()


@pytest.mark.parametrize(("wanted", "levels"), [("", [0.1, 0.2]), ("@3+4", [0.3, 0.4]), ("@4+1", [0.4, 0.1]), ("@2", [0.2, 0.2])])
def test_channels_of_many_are_chosen(enter: Enter, wanted: str, levels: list[float]) -> None:
    enter(*(tone(n / 10) for n in (1, 2, 3, 4)))
    microphone = Microphone(f"alsa:room{wanted}")
    comes_to_hear(microphone, levels)
    microphone.close()


def test_a_channel_that_is_not_there_is_named(enter: Enter) -> None:
    enter(*[tone(0.1)] * 4)
    with pytest.raises(SoundError, match=r"^microphone `room` has no channel 9; it has 4$"):
        Microphone("alsa:room@9")


@pytest.mark.parametrize("device", ["", "alsa:", "alsa:hw:1,0@", "alsa:hw:1,0@0", "alsa:hw:1,0@1+", "alsa:hw 1"])
def test_what_is_no_microphone_is_refused_with_what_is(device: str) -> None:
    with pytest.raises(SoundError, match=r"is not known; allowed is alsa:DEVICE like `alsa:hw:1,0`"):
        Microphone(device)


@pytest.mark.parametrize("device", ["alsa:hw:31,9", "alsa:nobody"])
def test_a_device_that_is_not_there_is_named(device: str, enter: Enter) -> None:
    enter()
    with pytest.raises(SoundError, match=rf"^microphone `{device.removeprefix('alsa:')}` cannot be opened: "):
        Microphone(device)


def test_a_driver_that_blocks_for_ever_is_given_up(enter: Enter) -> None:
    room = enter()
    microphone = Microphone("alsa:room")
    hear(microphone, 0.3)
    room.fall_silent()
    times = iter(range(time.monotonic_ns(), time.monotonic_ns() + 3_000_000_000, 50_000_000))
    with pytest.raises(SoundError, match=r"^microphone `room` has given no sound for 2 s$"):
        wait_until(lambda: microphone.take(next(times)) is None, 20)


def test_a_driver_that_does_not_open_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")  # nobody writes: whoever opens it waits
    config = tmp_path / "asoundrc"
    config.write_text(f'pcm.n {{ type null }}\npcm.stuck {{ type file slave.pcm n file /dev/null infile "{tmp_path}/fifo" }}\n')
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    monkeypatch.setattr("hw.audio.OPEN_S", 0.3)
    with pytest.raises(SoundError, match=r"^microphone `stuck` does not answer"):
        Microphone("stuck")
    os.close(os.open(tmp_path / "fifo", os.O_WRONLY))


def test_24_and_32_bits_use_the_upper_ones() -> None:
    for form in FORMATS:
        value = 0x123456 << 8 | 0x78
        raw = {2: value >> 16, 3: value >> 8, 4: value}[form.used].to_bytes(form.size, "little")
        other = (1).to_bytes(form.used, "little") + bytes(form.size - form.used)
        read = Read((raw + other) * 3, 3, 0, 0, False)
        left, right = plane_of(read, form, 2, 0), plane_of(read, form, 2, 1)
        if form.used == 2:
            assert array("h", left).tolist() == [0x1234] * 3
            assert array("h", right).tolist() == [1] * 3
        else:
            assert array("i", left).tolist() == [value if form.used == 4 else value & ~0xFF] * 3
            assert array("i", right).tolist() == [1 if form.used == 4 else 0x100] * 3


def test_silence_goes_with_the_clock_from_where_it_is_told() -> None:
    silence = Silence(first=48_000 - 100)
    sounds = [sound for ms in range(1000, 2000, 33) for sound in silence.take(ms * 1_000_000)]
    assert sounds[0].first == 48_000 - 100
    assert all(before.first + len(before.left) // 4 == after.first for before, after in pairwise(sounds))
    assert not any(sound.left.strip(b"\0") for sound in sounds)
    assert silence.take(100_000_000_000) == [], "nobody needs a minute of it"


CARDS = """ 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
 1 [C920           ]: USB-Audio - HD Pro Webcam C920
                      HD Pro Webcam C920 at usb-0000:01:00.0-1.2, high speed
 2 [sndrpihifiberry]: HifiberryDacpAdc - snd_rpi_hifiberry_dacplusadc
                      snd_rpi_hifiberry_dacplusadc
"""
PCM = """00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: USB Audio : USB Audio : capture 1
02-00: HiFiBerry DAC+ADC HiFi multicodec-0 : HiFiBerry DAC+ADC HiFi multicodec-0 : playback 1 : capture 1
"""


def test_microphones_are_listed_by_names_that_stay(tmp_path: Path) -> None:
    sound = tmp_path / "proc/asound"
    sound.mkdir(parents=True)
    (sound / "cards").write_text(CARDS)
    (sound / "pcm").write_text(PCM)
    assert list_microphones(tmp_path) == [
        SoundInput("alsa:hw:CARD=C920,DEV=0", "HD Pro Webcam C920, USB Audio"),
        SoundInput("alsa:hw:CARD=sndrpihifiberry,DEV=0", "snd_rpi_hifiberry_dacplusadc, HiFiBerry DAC+ADC HiFi multicodec-0"),
    ]


@pytest.mark.parametrize("text", ["", "\n", "01-00\n", "x-y: a : b : capture 1\n", "7-: : capture\n", "01-00: USB : USB : capture 1"])
def test_a_list_that_is_not_as_it_should_be_is_read_as_far_as_it_goes(tmp_path: Path, text: str) -> None:
    sound = tmp_path / "proc/asound"
    assert list_microphones(tmp_path) == []
    sound.mkdir(parents=True)
    (sound / "pcm").write_text(text)
    assert [one.device for one in list_microphones(tmp_path)] in ([], ["alsa:hw:CARD=1,DEV=0"])
