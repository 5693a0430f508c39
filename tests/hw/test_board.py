"""What each board is, what is fitted to it, and which encoder will run there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw.board import BENCH, modes, read_board, watchdog_seconds
from hw.fitted import header_chip
from tests.boards import NAMES, add, plant

EXPECTED = {  # kind, encoder, words of its reason
    "pi4": ("pi4", "v4l2m2m", "bcm2835-codec-encode at /dev/video11, in hardware"),
    "pi4-mainline": ("pi4", "x264", "has an H.264 block, but the kernel shows no bcm2835-codec-encode"),
    "cm4": ("cm4", "v4l2m2m", "in hardware"),
    "zero2": ("zero2", "v4l2m2m", "in hardware"),
    "pi5": ("pi5", "x264", "Raspberry Pi 5 Model B Rev 1.0 has no H.264 block: x264 in software"),
    "orin-nx": ("jetson", "jetson", "nvv4l2h264enc at /dev/v4l2-nvenc, in hardware"),
    "orin-nano": ("jetson", "x264", "Orin Nano, which has no NVENC: x264 in software"),
    "pc": ("pc", "x264", "x264 in software"),
    "container": ("pc", "x264", "x264 in software"),
}


def test_every_fixture_is_expected_something() -> None:
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_and_why(name: str, tmp_path: Path) -> None:
    board = read_board(plant(name, tmp_path))
    kind, encoder, why = EXPECTED[name]
    assert (board.kind, board.encoder) == (kind, encoder)
    assert why in board.encoder_why
    assert (board.encoder_device != "") == (encoder != "x264")
    assert board.cores >= 2
    assert board.memory_bytes > 400_000_000
    assert board.modes
    assert board.modes == sorted(board.modes, key=lambda mode: mode.width * mode.height * mode.fps, reverse=True)


def test_a_pi_4_and_all_that_is_fitted_to_it(tmp_path: Path) -> None:
    board = read_board(plant("pi4", tmp_path))
    fitted = board.fitted
    assert board.name == "Raspberry Pi 4 Model B Rev 1.5"
    assert [(camera.path, camera.name, camera.usb_port) for camera in fitted.cameras] == [("/dev/video2", "HD Pro Webcam C920", "1-1.3")]
    assert [(sensor.name, sensor.bound) for sensor in fitted.sensors] == [("imx708", True)]
    assert [(card.id, card.takes, card.usb_port) for card in fitted.sound] == [
        ("vc4hdmi0", False, ""),
        ("vc4hdmi1", False, ""),
        ("C920", True, "1-1.3"),
    ]
    assert fitted.sound[2].name == "HD Pro Webcam C920"
    assert [(chip.name, chip.label) for chip in fitted.gpio] == [
        ("gpiochip0", "pinctrl-bcm2711"),
        ("gpiochip1", "raspberrypi,firmware-gpio"),
    ]
    assert fitted.watchdog == "Broadcom BCM2835 Watchdog timer"
    assert "ACT" in fitted.leds
    assert watchdog_seconds(tmp_path) == 15


@pytest.mark.parametrize(
    ("name", "chip"), [("pi4", "gpiochip0"), ("pi5", "gpiochip4"), ("pi4-mainline", "gpiochip0"), ("orin-nx", "gpiochip0"), ("pc", "")]
)
def test_the_chip_behind_the_header(name: str, chip: str, tmp_path: Path) -> None:
    assert header_chip(plant(name, tmp_path)) == chip


def test_a_sensor_that_nobody_answers_for(tmp_path: Path) -> None:
    assert [(sensor.name, sensor.bound) for sensor in read_board(plant("zero2", tmp_path)).fitted.sensors] == [("imx219", False)]


def test_an_hdmi_bridge_is_a_sensor_once(tmp_path: Path) -> None:
    assert [sensor.name for sensor in read_board(plant("cm4", tmp_path)).fitted.sensors] == ["tc358743"]


def test_two_sensors_of_one_kind_are_two(tmp_path: Path) -> None:
    root = plant("pi5", tmp_path)
    add(root, "sys/class/video4linux/v4l-subdev5/name = imx708")
    add(root, "sys/bus/i2c/devices/6-001a/name = imx708")
    add(root, "sys/bus/i2c/devices/6-001a/driver -> ../../../../bus/i2c/drivers/imx708")
    assert [sensor.name for sensor in read_board(root).fitted.sensors] == ["imx708", "imx708"]


def test_codecs_and_image_processors_are_no_cameras(tmp_path: Path) -> None:
    assert read_board(plant("pi5", tmp_path)).fitted.cameras == []


def test_a_jetson_without_its_encoder_node_says_which_is_missing(tmp_path: Path) -> None:
    root = plant("orin-nx", tmp_path)
    (root / "dev/v4l2-nvenc").unlink()
    board = read_board(root)
    assert board.encoder == "x264"
    assert "/dev/v4l2-nvenc" in board.encoder_why


def test_an_orin_nano_has_no_nvenc_though_the_node_be_there(tmp_path: Path) -> None:
    root = plant("orin-nano", tmp_path)
    add(root, "proc/device-tree/compatible = nvidia,p3768-0000+p3767-0003-super\\0nvidia,p3767-0003\\0nvidia,tegra234\\0")
    add(root, "dev/v4l2-nvenc =")
    assert read_board(root).encoder == "x264"


def test_an_unknown_pi_and_an_unknown_tree(tmp_path: Path) -> None:
    add(tmp_path, "proc/device-tree/compatible = raspberrypi,9-model-z\\0brcm,bcm9999\\0")
    assert read_board(tmp_path).kind == "pi"
    add(tmp_path, "proc/device-tree/compatible = radxa,rock-5b\\0rockchip,rk3588\\0")
    board = read_board(tmp_path)
    assert (board.kind, board.processor, board.encoder) == ("linux", "rk3588", "x264")


def test_an_empty_root_is_a_board_too(tmp_path: Path) -> None:
    board = read_board(tmp_path)
    assert (board.kind, board.name, board.cores, board.memory_bytes) == ("pc", "this Linux machine", 0, 0)


def test_this_machine_and_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_board().cores >= 1
    monkeypatch.setenv(BENCH, "1")
    assert read_board().kind == "bench"


def test_nothing_is_called_measured_that_was_not() -> None:
    measured = {
        (kind, mode)
        for kind in ("pi4", "pi5", "zero2", "cm4", "jetson", "linux")
        for encoder in ("x264", "v4l2m2m", "jetson")
        for mode in modes(kind, encoder, 1)
        if mode.basis == "measured"
    }
    assert not measured
