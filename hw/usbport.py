"""A device that hangs, woken the hard way: its USB port switched off and on, or its driver bound anew. For root; sysfs alone.

Tried in this order until one is done: power of the port (kernels from 6.0 on, hubs that can switch it), the device taken off the
bus and let on again (`authorized`), its driver unbound and bound. Each step says in words what it did or was not allowed to do.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from hw.sysfs import link_name, read_text

OFF_S = 2.0
BACK_S = 5.0
_LOOK_S = 0.05


class Step(msgspec.Struct, frozen=True):
    done: bool
    words: str


class UsbPort(msgspec.Struct, frozen=True):
    name: str
    """As sysfs names the device that is plugged into it: `1-1.3`."""
    product: str
    device: Path
    power: Path | None
    """The file that switches it off; None where the kernel or the hub has none."""


def port_of(device: str, root: Path = Path("/")) -> UsbPort | None:
    """Of /dev/video2, v4l2:/dev/video2, hw:2,0, alsa:hw:C920 or card2; None for what is not there, or not on USB."""
    found = _sysfs_device(device, root)
    folders = (found, *found.parents) if found else ()
    folder = next((folder for folder in folders if (folder / "idVendor").is_file()), None)
    if folder is None:
        return None
    try:
        power = (folder / "port").resolve(strict=True) / "disable"
    except OSError:
        power = None
    product = read_text(folder / "product") or read_text(folder / "idVendor")
    return UsbPort(folder.name, product, folder, power if power and power.is_file() else None)


def _sysfs_device(device: str, root: Path) -> Path | None:
    video = re.fullmatch(r"(?:v4l2:)?/dev/(video\d+)", device)
    card = re.fullmatch(r"(?:alsa:)?(?:(?:plug)?hw:(?:CARD=)?(\w+)(?:,.*)?|card(\d+))", device)
    if video:
        node = root / "sys/class/video4linux" / video[1]
    elif card:
        node = root / "sys/class/sound" / f"card{_card_number(card[1] or card[2], root)}"
    else:
        return None
    try:
        return (node / "device").resolve(strict=True)
    except OSError:
        return None


def _card_number(name: str, root: Path) -> str:
    """ALSA names a card by its number or its id."""
    if name.isdecimal():
        return name
    told = re.search(rf"^\s*(\d+) \[{re.escape(name)}\s*\]", read_text(root / "proc/asound/cards"), re.MULTILINE)
    return told[1] if told else name


def wake(device: str, root: Path = Path("/"), *, off_s: float = OFF_S, back_s: float = BACK_S) -> list[Step]:
    """What was tried, in order; the last one says whether it was done."""
    port = port_of(device, root)
    ways: list[Callable[[], Step]] = []
    if port is not None:
        found = port  # for the functions below: it is not None
        ways = [lambda: _power(found, off_s, back_s), lambda: _authorise(found, off_s), lambda: _rebind(found.device, root, off_s)]
    else:
        folder = _sysfs_device(device, root)
        if folder is None:
            return [Step(False, f"{device} is not there any more: nothing to switch off.")]
        ways = [lambda: _rebind(folder, root, off_s)]
    steps: list[Step] = []
    for way in ways:
        steps.append(way())
        if steps[-1].done:
            break
    return steps


def _power(port: UsbPort, off_s: float, back_s: float) -> Step:
    if port.power is None:
        return Step(False, f"The port of {port.product} ({port.name}) has no switch: that takes kernel 6.0 or later.")
    what = f"the port of {port.product} ({port.name})"
    wrong = _write(port.power, "1")
    if wrong:
        return Step(False, f"{_upper(what)} could not be switched off: {wrong}.")
    time.sleep(off_s)
    wrong = _write(port.power, "0")
    if wrong:
        return Step(False, f"{_upper(what)} was switched off and could not be switched on again: {wrong}.")
    until = time.monotonic() + back_s
    while not (port.device / "idVendor").is_file():
        if time.monotonic() > until:
            return Step(False, f"{_upper(what)} was switched off and on, and nothing came back within {back_s:.0f} s.")
        time.sleep(_LOOK_S)
    return Step(True, f"{_upper(what)} was switched off for {off_s:g} s and on again.")


def _authorise(port: UsbPort, off_s: float) -> Step:
    what = f"{port.product} ({port.name})"
    for value, words in (("0", "taken off the bus"), ("1", "let on the bus again")):
        wrong = _write(port.device / "authorized", value)
        if wrong:
            return Step(False, f"{what} could not be {words}: {wrong}.")
        if value == "0":
            time.sleep(off_s)
    return Step(True, f"{what} was taken off the bus for {off_s:g} s and let on again.")


def _rebind(device: Path, root: Path, off_s: float) -> Step:
    driver = link_name(device / "driver") or "usb"
    bus = link_name(device / "subsystem") or ("usb" if (device / "idVendor").is_file() else "platform")
    folder = root / f"sys/bus/{bus}/drivers/{driver}"
    for file, words in (("unbind", "taken from"), ("bind", "given back to")):
        wrong = _write(folder / file, device.name)
        if wrong:
            return Step(False, f"{device.name} could not be {words} its driver {driver}: {wrong}.")
        if file == "unbind":
            time.sleep(off_s)
    return Step(True, f"{device.name} was taken from its driver {driver} and given back.")


def _write(path: Path, text: str) -> str:
    """What went wrong; empty when nothing did. Never makes a file."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return "the kernel has no switch for that here"
    except PermissionError:
        return "this user may not; root may"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def reboot(why: str) -> Step:
    """Asks systemd, which stops everything in order first. How often that may be, the caller decides."""
    try:
        told = subprocess.run(["systemctl", "reboot", f"--message={why}"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Step(False, f"The restart could not be asked for: {error}.")
    if told.returncode:
        return Step(False, f"systemd refused to restart: {told.stderr.strip() or told.returncode}.")
    return Step(True, f"A restart was asked for: {why}.")
