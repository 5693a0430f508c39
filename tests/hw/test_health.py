"""What each board tells of its health, and what it keeps to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw.health import THROTTLED, Health, read_health
from tests.boards import NAMES, add, plant


@pytest.mark.parametrize("name", NAMES)
def test_every_board_tells_memory_and_disk(name: str, tmp_path: Path) -> None:
    health = read_health(plant(name, tmp_path))
    assert health.memory_available_bytes is not None
    assert health.disk_free_bytes is not None
    assert health.disk_read_only is False


def test_a_pi_that_is_well(tmp_path: Path) -> None:
    health = read_health(plant("pi4", tmp_path))
    assert (health.soc_celsius, health.limit_celsius) == (51.121, 80.0)
    assert (health.under_voltage_now, health.under_voltage_since_boot) == (False, False)
    assert (health.throttled_now, health.throttled_since_boot) == (False, False)
    assert (health.storage_wear_percent, health.storage_reserve) == (None, "")  # an SD card does not tell


@pytest.mark.parametrize(
    ("bits", "now", "since_boot"),
    [
        ("1", {"under_voltage"}, set()),
        ("2", {"capped"}, set()),
        ("4", {"throttled"}, set()),
        ("8", {"soft_limit"}, set()),
        ("50005", {"under_voltage", "throttled"}, {"under_voltage", "throttled"}),
        ("0xf0000", set(), {"under_voltage", "capped", "throttled", "soft_limit"}),
        ("a000a", {"capped", "soft_limit"}, {"capped", "soft_limit"}),
    ],
)
def test_the_bits_of_a_pis_firmware(bits: str, now: set[str], since_boot: set[str], tmp_path: Path) -> None:
    root = plant("pi5", tmp_path)
    add(root, f"{THROTTLED} = {bits}\\n")
    health = read_health(root)
    names = ("under_voltage", "capped", "throttled", "soft_limit")
    assert {name for name in names if getattr(health, f"{name}_now")} == now
    assert {name for name in names if getattr(health, f"{name}_since_boot")} == since_boot


def test_a_pi_without_its_firmwares_word_has_the_kernels_alarm(tmp_path: Path) -> None:
    health = read_health(plant("pi4-mainline", tmp_path))
    assert health.under_voltage_now is True
    assert (health.under_voltage_since_boot, health.throttled_now, health.capped_now) == (None, None, None)


def test_a_jetson_is_slowed_by_its_clock_and_not_by_its_fan(tmp_path: Path) -> None:
    nx = read_health(plant("orin-nx", tmp_path / "nx"))
    assert (nx.soc_celsius, nx.limit_celsius, nx.throttled_now) == (47.593, 99.0, False)
    assert read_health(plant("orin-nano", tmp_path / "nano")).throttled_now is True


def test_a_pc_counts_how_often_it_was_slowed(tmp_path: Path) -> None:
    root = plant("pc", tmp_path)
    health = read_health(root)
    assert (health.soc_celsius, health.limit_celsius, health.throttled_since_boot) == (52.0, 105.0, False)
    add(root, "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count = 7")
    assert read_health(root).throttled_since_boot is True


def test_an_emmc_that_is_nearly_worn_out(tmp_path: Path) -> None:
    health = read_health(plant("cm4", tmp_path))
    assert (health.storage_wear_percent, health.storage_reserve) == (100, "low")


@pytest.mark.parametrize(
    ("told", "percent"), [("0x01 0x01", 10), ("0x00 0x00", None), ("0x0b 0x02", 100), ("0xff 0x01", None), ("", None), ("rot", None)]
)
def test_what_an_emmc_says_of_its_life(told: str, percent: int | None, tmp_path: Path) -> None:
    root = plant("cm4", tmp_path)
    add(root, f"sys/class/mmc_host/mmc0/mmc0:0001/life_time = {told}")
    assert read_health(root).storage_wear_percent == percent


@pytest.mark.parametrize("rot", ["", "-256000", "rot", "99999999999", "0"])
def test_a_temperature_that_cannot_be_is_none(rot: str, tmp_path: Path) -> None:
    root = plant("pi4", tmp_path)
    add(root, f"sys/devices/virtual/thermal/thermal_zone0/temp = {rot}")
    assert read_health(root).soc_celsius is None


def test_an_empty_root_tells_nothing_and_fails_at_nothing(tmp_path: Path) -> None:
    health = read_health(tmp_path)
    told = {name for name in Health.__struct_fields__ if getattr(health, name) not in (None, "")}
    assert told == {"disk_free_bytes", "disk_read_only"}


def test_the_clock_by_the_file_of_timesyncd(tmp_path: Path) -> None:
    add(tmp_path, "run/systemd/timesync/")
    assert read_health(tmp_path).clock_synchronised is False
    add(tmp_path, "run/systemd/timesync/synchronized =")
    assert read_health(tmp_path).clock_synchronised is True


def test_this_machine() -> None:
    health = read_health(state=Path("/nowhere"))
    assert health.memory_available_bytes
    assert health.disk_free_bytes
    assert health.clock_synchronised in (True, False)
