"""The cameras that the kernel has as /dev/video*, with a path that stays the same when others are plugged in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hw import v4l2
from hw.camera.v4l2 import kind_of
from hw.fitted import Device as Fitted
from hw.fitted import cameras, sensors
from hw.sysfs import children, link_name, read_text
from hw.v4l2queue import Capabilities, Device, capabilities

# A sensor behind these is libcamera's; an HDMI bridge behind them is ours.
RECEIVERS = ("unicam", "rp1-cfe")
BRIDGES = ("tc358743", "adv7")


@dataclass(frozen=True, slots=True)
class Found:
    """`camera` is what a flow's camera is to be: `v4l2:/dev/v4l/by-id/…` where there is such a link."""

    camera: str
    name: str
    node: str


def list_cameras(root: Path = Path("/"), open_device: Callable[[Path], Device] | None = None) -> list[Found]:
    """In the order of their nodes. Under another root than / nothing is opened, and sysfs alone is asked."""
    if open_device is None and root == Path("/"):
        open_device = v4l2.Device
    links, found = _links(root), []
    for device in cameras(root) + _bridges(root):
        node, bridge = device.path.removeprefix("/dev/"), device.driver in RECEIVERS
        able = _asked(open_device, root / "dev" / node) if open_device else Capabilities(device.driver, device.name, 0)
        if able is not None:
            found.append(Found(f"v4l2:{links.get(node, device.path)}", f"{kind_of(able, bridge)} {able.card or node}", device.path))
    return sorted(found, key=lambda one: (len(one.node), one.node))


def _bridges(root: Path) -> list[Fitted]:
    """The node that gives the pictures of an HDMI bridge on a CSI connector, where there is one."""
    if not any(sensor.bound and sensor.name.startswith(BRIDGES) for sensor in sensors(root)):
        return []
    nodes = [(node, link_name(node / "device/driver")) for node in children(root / "sys/class/video4linux", "video*")]
    return [Fitted(f"/dev/{node.name}", read_text(node / "name"), driver) for node, driver in nodes if driver in RECEIVERS][:1]


def _asked(open_device: Callable[[Path], Device], path: Path) -> Capabilities | None:
    """None where it is no camera, or may not be opened."""
    with suppress(OSError):
        device = open_device(path)
        try:
            able = capabilities(device)
        finally:
            device.close()
        captures = able.has(v4l2.CAP_VIDEO_CAPTURE | v4l2.CAP_VIDEO_CAPTURE_MPLANE)
        return able if captures and not able.has(v4l2.CAP_VIDEO_M2M | v4l2.CAP_VIDEO_M2M_MPLANE) else None
    return None


def _links(root: Path) -> dict[str, str]:
    """By node: by-id names the device, by-path the socket it is in; the former where there are both."""
    found = {}
    for kind in ("by-path", "by-id"):
        for link in sorted((root / "dev/v4l" / kind).glob("*")):
            with suppress(OSError):
                found[link.readlink().name] = f"/dev/v4l/{kind}/{link.name}"
    return found
