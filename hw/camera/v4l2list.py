"""The cameras that the kernel has as /dev/video*, with a path that stays the same when others are plugged in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hw import v4l2
from hw.camera.v4l2 import kind_of
from hw.v4l2queue import Capabilities, Device, capabilities

# Nodes that are parts of a chip, and no cameras by themselves. A sensor behind them is libcamera's, an HDMI bridge is ours.
CHIPS = ("bcm2835-codec", "bcm2835-isp", "pispbe", "rpi-hevc-dec", "rpivid", "vicodec", "vim2m", "visl", "tegra-")
RECEIVERS = ("unicam", "rp1-cfe")
BRIDGES = ("tc358743", "tc358840", "adv7", "lt6911", "rk628")


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
    sys_class = root / "sys/class/video4linux"
    bridged = any(_word(node / "name").startswith(BRIDGES) for node in sys_class.glob("v4l-subdev*"))
    links = _links(root)
    found = []
    for node in sorted(sys_class.glob("video*"), key=lambda path: (len(path.name), path.name)):
        name = _word(node / "name")
        if name.startswith(CHIPS) or (name.startswith(RECEIVERS) and not (bridged and _word(node / "index") in ("", "0"))):
            continue
        able = _asked(open_device, root / "dev" / node.name) if open_device else _guessed(node, name)
        if able is not None:
            where = links.get(node.name, f"/dev/{node.name}")
            found.append(
                Found(f"v4l2:{where}", f"{kind_of(able, name.startswith(RECEIVERS))} {able.card or node.name}", f"/dev/{node.name}")
            )
    return found


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


def _guessed(node: Path, name: str) -> Capabilities | None:
    """A USB camera has further nodes, for its metadata, with an index."""
    if _word(node / "index") not in ("", "0"):
        return None
    driver = node / "device" / "driver"
    return Capabilities(driver.resolve().name if driver.exists() else "", name, 0)


def _links(root: Path) -> dict[str, str]:
    """By node: by-id names the device, by-path the socket it is in; the former where there are both."""
    found = {}
    for kind in ("by-path", "by-id"):
        for link in sorted((root / "dev/v4l" / kind).glob("*")):
            with suppress(OSError):
                found[link.readlink().name] = f"/dev/v4l/{kind}/{link.name}"
    return found


def _word(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
