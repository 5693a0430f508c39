"""Virtual devices of the kernel, and what stands in for hands: plugging, unplugging, pressing, looking."""

from __future__ import annotations

import time
from pathlib import Path
from subprocess import run

from tests.lab.programs import wait_until

VIVID_MODULE = "vivid"
DEVICE_S = 60.0  # the guest is emulated, and udev in it takes its time


def modprobe(name: str, *options: str) -> None:
    """With these options, even if it was loaded with others."""
    if options:
        remove_module(name)
    run(["modprobe", name, *options], check=True)


def remove_module(name: str) -> None:
    """Once nobody uses it any more."""
    if Path("/sys/module", name.replace("-", "_")).exists():
        wait_until(lambda: run(["modprobe", "-r", name], capture_output=True, check=False).returncode == 0, DEVICE_S, f"{name} is let go")


def video_node(name: str) -> str | None:
    """`/dev/videoN` of the driver's node that is called so; None while there is none."""
    for folder in sorted(Path("/sys/class/video4linux").glob("video*")):
        node = Path("/dev", folder.name)
        if (folder / "name").read_text().strip() == name and node.exists():
            return str(node)
    return None


class Vivid:
    """The kernel's test camera."""

    bus = Path("/sys/bus/platform/drivers/vivid")

    def __init__(self) -> None:
        self.path = self._appears()

    def _appears(self) -> str:
        return str(wait_until(lambda: video_node("vivid-000-vid-cap"), DEVICE_S, "vivid's camera"))

    def set(self, **controls: int) -> None:
        for name, value in controls.items():
            self.ctl(f"--set-ctrl={name}={value}")

    def ctl(self, *arguments: str) -> str:
        return run(["v4l2-ctl", "-d", self.path, *arguments], capture_output=True, text=True, check=True).stdout

    def unplug(self) -> None:
        (self.bus / "unbind").write_text("vivid.0")

    def plug(self) -> None:
        if not (self.bus / "vivid.0").exists():
            (self.bus / "bind").write_text("vivid.0")
        self.path = self._appears()


class Gpio:
    """Lines that a program sets and reads through /dev/gpiochipN, and a hand on their other side, in sysfs."""

    def __init__(self, lines: int) -> None:
        self._made = Path("/sys/kernel/config/gpio-sim") / f"pressbox-{time.monotonic_ns()}"
        self._bank = self._made / "bank0"
        self._made.mkdir()
        self._bank.mkdir()
        (self._bank / "num_lines").write_text(str(lines))
        (self._made / "live").write_text("1")
        device, chip = (self._made / "dev_name").read_text().strip(), (self._bank / "chip_name").read_text().strip()
        self.number = int(chip.removeprefix("gpiochip"))
        self._lines = Path("/sys/devices/platform") / device / chip
        wait_until(Path("/dev", chip).exists, DEVICE_S, f"/dev/{chip}")

    def lit(self, line: int) -> bool:
        return (self._lines / f"sim_gpio{line}" / "value").read_text().strip() == "1"

    def pull(self, line: int, *, up: bool) -> None:
        """Where an input stands when something outside drives it."""
        (self._lines / f"sim_gpio{line}" / "pull").write_text("pull-up" if up else "pull-down")

    def close(self) -> None:
        (self._made / "live").write_text("0")
        self._bank.rmdir()
        self._made.rmdir()


def usb_video_node() -> str | None:
    """`/dev/videoN` of the USB camera; None while there is none. (Its second node carries metadata, no pictures.)"""
    for folder in sorted(Path("/sys/class/video4linux").glob("video*")):
        at_usb = (folder / "device/driver").resolve().name == "uvcvideo"
        if at_usb and (folder / "index").read_text().strip() == "0" and Path("/dev", folder.name).exists():
            return f"/dev/{folder.name}"
    return None
