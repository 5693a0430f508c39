"""What is fitted to the board: cameras, sensors, sound cards, GPIO chips, watchdog, LEDs. Read from sysfs, nothing is opened."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from hw.sysfs import children, link_name, read_strings, read_text

# Drivers of /dev/video nodes that no camera is behind: codecs, image processors, and parts of a camera that libcamera drives.
NO_CAMERA = (
    "bcm2835-codec",
    "bcm2835-isp",
    "rpivid",
    "rpi-hevc-dec",
    "pispbe",
    "rp1-cfe",
    "unicam",
    "vicodec",
    "vim2m",
    "hantro-vpu",
    "rkvdec",
)
ENCODER_NODE = "bcm2835-codec-encode"
# Sensors as their drivers call them, and the bridges from HDMI to CSI, which look like one.
_SENSOR = re.compile(r"(imx\d{3}|ov\d{4,5}|ov\w?\d{4}|ar\d{4}|gc\d{4}|hi\d{3}|s5k\w+|mt9\w+|tc358743|adv7\d{3})(?=\W|_|$)")
_HEADER_CHIPS = (  # by label, and by what the device tree calls the same
    "pinctrl-rp1",
    "raspberrypi,rp1-gpio",
    "pinctrl-bcm2711",
    "brcm,bcm2711-gpio",
    "pinctrl-bcm2835",
    "brcm,bcm2835-gpio",
    "tegra234-gpio",
    "nvidia,tegra234-gpio",
    "tegra194-gpio",
    "nvidia,tegra194-gpio",
    "tegra-gpio",
)
_CARD = re.compile(r"\s*(\d+) \[(\S+)\s*\]: (.*?) - (.*)")


class Device(msgspec.Struct, frozen=True):
    """A V4L2 device that gives pictures."""

    path: str
    name: str
    driver: str
    usb_port: str = ""
    """As sysfs names it, `1-1.3`; empty for one that is not on USB."""


class Sensor(msgspec.Struct, frozen=True):
    name: str
    bound: bool
    """False: the device tree names it, but its driver found nothing there."""


class Sound(msgspec.Struct, frozen=True):
    number: int
    id: str
    name: str
    takes: bool
    """It has an input."""
    usb_port: str = ""


class Chip(msgspec.Struct, frozen=True):
    """A GPIO chip, `gpiochip0 pinctrl-bcm2711`."""

    name: str
    label: str


class Fitted(msgspec.Struct, frozen=True):
    cameras: list[Device]
    sensors: list[Sensor]
    sound: list[Sound]
    gpio: list[Chip]
    watchdog: str
    leds: list[str]
    encoder_node: str


def read_fitted(root: Path = Path("/")) -> Fitted:
    return Fitted(
        cameras=cameras(root),
        sensors=sensors(root),
        sound=sound_cards(root),
        gpio=gpio_chips(root),
        watchdog=_watchdog(root),
        leds=[path.name for path in children(root / "sys/class/leds")],
        encoder_node=next((f"/dev/{node.name}" for node in _nodes(root) if read_text(node / "name") == ENCODER_NODE), ""),
    )


def _nodes(root: Path) -> list[Path]:
    return children(root / "sys/class/video4linux", "video*")


def cameras(root: Path = Path("/")) -> list[Device]:
    """USB cameras, HDMI converters, capture cards. A UVC camera's second node gives no pictures but what belongs to them."""
    found = []
    for node in _nodes(root):
        driver = link_name(node / "device/driver")
        if driver in NO_CAMERA or (driver == "uvcvideo" and read_text(node / "index") not in ("0", "")):
            continue
        found.append(Device(f"/dev/{node.name}", read_text(node / "name"), driver, usb_port(node / "device")))
    return found


def sensors(root: Path = Path("/")) -> list[Sensor]:
    """CSI sensors: those whose driver found one, and those that the device tree names and nobody answered for."""
    found: dict[str, Sensor] = {}
    for subdevice in children(root / "sys/class/video4linux", "v4l-subdev*"):
        name = _SENSOR.match(read_text(subdevice / "name"))
        if name:
            found.setdefault(f"{name[0]} {subdevice.name}", Sensor(name[0], True))
    bound = [sensor.name for sensor in found.values()]
    for device in children(root / "sys/bus/i2c/devices"):
        name = _SENSOR.match(read_text(device / "name"))
        if name and name[0] in bound:
            bound.remove(name[0])
        elif name:
            found[device.name] = Sensor(name[0], bool(link_name(device / "driver")))
    return list(found.values())


def sound_cards(root: Path = Path("/")) -> list[Sound]:
    found = []
    for line in read_text(root / "proc/asound/cards").splitlines():
        card = _CARD.match(line)
        if card:
            number = int(card[1])
            takes = bool(children(root / f"proc/asound/card{number}", "pcm*c"))
            found.append(Sound(number, card[2], card[4].strip(), takes, usb_port(root / f"sys/class/sound/card{number}/device")))
    return found


def gpio_chips(root: Path = Path("/")) -> list[Chip]:
    """The older class tells the label that the driver gives; without it the device tree says what kind of chip it is."""
    labels = {os.path.realpath(chip / "device"): read_text(chip / "label") for chip in children(root / "sys/class/gpio", "gpiochip*")}
    found = []
    for chip in children(root / "sys/bus/gpio/devices", "gpiochip*"):
        parent = Path(os.path.realpath(chip)).parent
        kinds = read_strings(parent / "of_node/compatible")
        found.append(Chip(chip.name, labels.get(str(parent), "") or (kinds[0] if kinds else "")))
    return found


def header_chip(root: Path = Path("/")) -> str:
    """The chip that has the pins of the 40-pin header, `gpiochip0`; on a Pi 5 its number depends on the kernel. Empty: not known."""
    return next((chip.name for chip in gpio_chips(root) if chip.label in _HEADER_CHIPS), "")


def _watchdog(root: Path) -> str:
    """Its driver's name for it; empty where there is none."""
    for device in children(root / "sys/class/watchdog", "watchdog*"):
        return read_text(device / "identity") or device.name
    return ""


def usb_port(device: Path) -> str:
    """Of the USB device that this belongs to; empty where it belongs to none."""
    try:
        real = device.resolve(strict=True)
    except OSError:
        return ""
    return next((folder.name for folder in (real, *real.parents) if (folder / "idVendor").is_file()), "")
