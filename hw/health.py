"""How the board is: temperature, voltage, throttling, disk, memory, clock, wear. What a board does not tell is None."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from hw.clock import synchronised
from hw.strain import Finding, StepDown, Watch
from hw.sysfs import children, link_name, read_number, read_strings, read_text

__all__ = ["Finding", "Health", "StepDown", "Watch", "read_health"]

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI_LIMIT_CELSIUS = 80.0  # from here on a Raspberry Pi lowers its clock, at 85 all the way
_PROCESSOR_ZONE = re.compile(r"cpu|soc|x86_pkg_temp|gpu|tj|coretemp|k10temp|acpitz", re.IGNORECASE)
_BEYOND_BELIEF = 150.0  # a zone that is switched off tells -256 degrees
_VCGENCMD_S = 2.0


class Health(msgspec.Struct, frozen=True):
    soc_celsius: float | None = None
    limit_celsius: float | None = None
    """Where the board begins to slow itself down."""
    under_voltage_now: bool | None = None
    under_voltage_since_boot: bool | None = None
    capped_now: bool | None = None
    """The processor's clock is held down, for voltage or heat."""
    capped_since_boot: bool | None = None
    throttled_now: bool | None = None
    throttled_since_boot: bool | None = None
    soft_limit_now: bool | None = None
    """The soft limit of temperature is reached, which some Raspberry Pis have at 60 degrees."""
    soft_limit_since_boot: bool | None = None
    disk_free_bytes: int | None = None
    disk_read_only: bool | None = None
    memory_available_bytes: int | None = None
    clock_synchronised: bool | None = None
    storage_wear_percent: int | None = None
    """Of an eMMC: how much of its life it believes to have lived, at most."""
    storage_reserve: str = ""
    """Of an eMMC: "normal", "low" (80 % of its spare blocks are used) or "urgent" (90 %)."""


def read_health(root: Path = Path("/"), state: Path | None = None) -> Health:
    """`state`: a folder on the disk that matters; the root itself where it is not there."""
    free, read_only = _disk(state if state is not None and state.exists() else root)
    bits = _throttled(root)
    wear, reserve = _storage(root)
    return Health(
        soc_celsius=_celsius(root),
        limit_celsius=_limit(root),
        disk_free_bytes=free,
        disk_read_only=read_only,
        memory_available_bytes=_memory_available(root),
        clock_synchronised=synchronised(root) if root == Path("/") or (root / "run/systemd").is_dir() else None,
        storage_wear_percent=wear,
        storage_reserve=reserve,
        **(_from_bits(bits) if bits is not None else _from_kernel(root)),
    )


def _from_bits(bits: int) -> dict[str, bool]:
    """As Raspberry Pi's firmware tells them: 0 to 3 now, 16 to 19 since it started."""
    names = ("under_voltage", "capped", "throttled", "soft_limit")
    now = {f"{name}_now": bool(bits >> bit & 1) for bit, name in enumerate(names)}
    return now | {f"{name}_since_boot": bool(bits >> bit & 1) for bit, name in enumerate(names, 16)}


def _throttled(root: Path) -> int | None:
    bits = read_number(root / THROTTLED, 16)
    if bits is None and root == Path("/") and _is_pi(root) and (command := shutil.which("vcgencmd")):
        try:
            told = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=_VCGENCMD_S, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            return None
        found = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", told.strip())
        bits = int(found[1], 16) if found else None
    return bits


def _from_kernel(root: Path) -> dict[str, bool | None]:
    """Where no firmware tells: the kernel's alarm of a Pi's voltage, its cooling by a lower clock, the counters of x86."""
    alarms = [folder / "in0_lcrit_alarm" for folder in children(root / "sys/class/hwmon") if read_text(folder / "name") == "rpi_volt"]
    low = [number for alarm in alarms if (number := read_number(alarm)) is not None]
    counts = [read_number(path) for path in children(root / "sys/devices/system/cpu", "cpu*/thermal_throttle/package_throttle_count")]
    since_boot = [count for count in counts if count is not None]
    return {
        "under_voltage_now": any(low) if low else None,
        "throttled_now": _cooled_by_clock(root),
        "throttled_since_boot": any(since_boot) if since_boot else None,
    }


def _cooled_by_clock(root: Path) -> bool | None:
    """A fan that turns is no sign of trouble, a processor that is slowed down is."""
    states = [
        read_number(device / "cur_state")
        for device in children(root / "sys/class/thermal", "cooling_device*")
        if re.match(r"(thermal-)?cpufreq|Processor", read_text(device / "type"))
    ]
    known = [state for state in states if state is not None]
    return any(known) if known else None


def _celsius(root: Path) -> float | None:
    """The warmest zone of the processor."""
    read = [_zone_celsius(zone) for zone in _zones(root)]
    return max((celsius for celsius in read if celsius is not None), default=None)


def _zones(root: Path) -> list[Path]:
    return [zone for zone in children(root / "sys/class/thermal", "thermal_zone*") if _PROCESSOR_ZONE.search(read_text(zone / "type"))]


def _zone_celsius(zone: Path) -> float | None:
    number = read_number(zone / "temp")
    return number / 1000 if number is not None and 0 < number < _BEYOND_BELIEF * 1000 else None


def _limit(root: Path) -> float | None:
    """The lowest passive trip point, which is where the kernel slows the processor down."""
    if _is_pi(root):
        return PI_LIMIT_CELSIUS
    trips = [
        read_number(kind.with_name(kind.name.replace("_type", "_temp")))
        for zone in _zones(root)
        for kind in children(zone, "trip_point_*_type")
        if read_text(kind) == "passive"
    ]
    return min((trip / 1000 for trip in trips if trip and 40_000 < trip < _BEYOND_BELIEF * 1000), default=None)


def _is_pi(root: Path) -> bool:
    return any(one.startswith("raspberrypi,") for one in read_strings(root / "proc/device-tree/compatible"))


def _disk(folder: Path) -> tuple[int | None, bool | None]:
    try:
        told = os.statvfs(folder)
    except OSError:
        return None, None
    return told.f_bavail * told.f_frsize, bool(told.f_flag & os.ST_RDONLY)


def _memory_available(root: Path) -> int | None:
    for line in read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _storage(root: Path) -> tuple[int | None, str]:
    """Of the worst eMMC (JEDEC eMMC 5.0, DEVICE_LIFE_TIME_EST and PRE_EOL_INFO). SD cards do not tell."""
    wears, reserves = [0], [0]
    for disk in children(root / "sys/class/block", "mmcblk*"):
        if link_name(disk / "device"):
            estimates = re.findall(r"0x[0-9a-fA-F]{2}", read_text(disk / "device/life_time"))
            wears += [int(estimate, 16) for estimate in estimates]
            reserves.append(read_number(disk / "device/pre_eol_info", 16) or 0)
    wear, reserve = max(wears), max(reserves)
    words = {1: "normal", 2: "low", 3: "urgent"}
    return (min(100, wear * 10) if 0 < wear <= 0x0B else None), words.get(reserve, "")
