"""What this machine is, which encoder will run on it and why, and what it can keep up with.

Nothing is opened: the device tree, DMI and sysfs tell, so a running capture notices nothing. Sources of the table of modes:
*documented* is the maker's word (Raspberry Pi's product briefs, NVIDIA's module data sheets), *measured* was measured by this
project on the machine that is named, *estimated* is neither, and says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from hw.fitted import Fitted, read_fitted
from hw.sysfs import children, read_number, read_strings, read_text

Kind = Literal["pi4", "cm4", "zero2", "pi5", "jetson", "pi", "pc", "linux", "bench"]
Encoder = Literal["v4l2m2m", "jetson", "x264"]
Basis = Literal["measured", "documented", "estimated"]

BENCH = "PRESSBOX_BENCH"  # set: a machine that plays a box, with a pattern for a camera
CODEC_DRIVER = "bcm2835-codec-encode"

_KINDS: dict[str, Kind] = {  # by the first part of the device tree's `compatible` that is known
    "raspberrypi,4-model-b": "pi4",
    "raspberrypi,400": "pi4",
    "raspberrypi,4-compute-module": "cm4",
    "raspberrypi,4-compute-module-s": "cm4",
    "raspberrypi,model-zero-2-w": "zero2",
    "raspberrypi,model-zero-2": "zero2",
    "raspberrypi,5-model-b": "pi5",
    "raspberrypi,5-compute-module": "pi5",
    "raspberrypi,500": "pi5",
}
_HAVE_A_BLOCK: tuple[Kind, ...] = ("pi4", "cm4", "zero2", "pi")
_NVENC_NODES = ("dev/v4l2-nvenc", "dev/nvhost-msenc")  # from JetPack 6 on, and before
_NO_NVENC = ("p3767-0003", "p3767-0004", "p3767-0005")  # the modules of Orin Nano: 8 GB, 4 GB, developer kit


class Mode(msgspec.Struct, frozen=True):
    width: int
    height: int
    fps: int
    basis: Basis
    note: str = ""

    def __str__(self) -> str:
        return f"{self.width} x {self.height} at {self.fps}/s ({self.basis}{': ' if self.note else ''}{self.note})"


class Board(msgspec.Struct, frozen=True):
    name: str
    """For people: "Raspberry Pi 4 Model B Rev 1.5"."""
    kind: Kind
    processor: str
    cores: int
    memory_bytes: int
    encoder: Encoder
    encoder_device: str
    """The node of a hardware encoder, empty for software."""
    encoder_why: str
    modes: list[Mode]
    fitted: Fitted


def read_board(root: Path = Path("/")) -> Board:
    compatible = read_strings(root / "proc/device-tree/compatible")
    kind = _kind(compatible, root)
    name = read_text(root / "proc/device-tree/model") or _dmi_name(root) or _plain_name(kind)
    fitted = read_fitted(root)
    processor, cores = _processor(root)
    encoder, device, why = _encoder(kind, name, compatible, fitted, root)
    return Board(
        name=name,
        kind=kind,
        processor=processor,
        cores=cores,
        memory_bytes=memory_bytes(root),
        encoder=encoder,
        encoder_device=device,
        encoder_why=why,
        modes=modes(kind, encoder, cores),
        fitted=fitted,
    )


def _kind(compatible: list[str], root: Path) -> Kind:
    if root == Path("/") and os.environ.get(BENCH):
        return "bench"
    for one in compatible:
        if one in _KINDS:
            return _KINDS[one]
        if one.startswith("raspberrypi,"):
            return "pi"
        if one.startswith("nvidia,tegra"):
            return "jetson"
    return "linux" if compatible else "pc"


def _encoder(kind: Kind, name: str, compatible: list[str], fitted: Fitted, root: Path) -> tuple[Encoder, str, str]:
    """Which will run, its device node, and why in one sentence."""
    if kind == "jetson":
        return _jetson_encoder(name, compatible, root)
    if fitted.encoder_node:
        return "v4l2m2m", fitted.encoder_node, f"{name} has an H.264 block: {CODEC_DRIVER} at {fitted.encoder_node}, in hardware"
    if kind == "pi5":
        return "x264", "", f"{name} has no H.264 block: x264 in software"
    if kind in _HAVE_A_BLOCK:
        return (
            "x264",
            "",
            f"{name} has an H.264 block, but the kernel shows no {CODEC_DRIVER}, which Raspberry Pi's kernel has: x264 in software",
        )
    return "x264", "", f"{name} has no H.264 encoder that Pressbox drives: x264 in software"


def _jetson_encoder(name: str, compatible: list[str], root: Path) -> tuple[Encoder, str, str]:
    module = _jetson_module(compatible)
    if module in _NO_NVENC:
        return "x264", "", f"{name} ({module}) is an Orin Nano, which has no NVENC: x264 in software"
    node = next((f"/{node}" for node in _NVENC_NODES if (root / node).exists()), "")
    if node:
        return "jetson", node, f"{name} has NVENC: nvv4l2h264enc at {node}, in hardware"
    return "x264", "", f"{name} may have NVENC, but neither /dev/v4l2-nvenc nor /dev/nvhost-msenc is there: x264 in software"


def _jetson_module(compatible: list[str]) -> str:
    """`p3767-0005` of "nvidia,p3768-0000+p3767-0005-super"; of several (an Orin Nano says 0003 and 0005) the first."""
    for one in compatible:
        _, plus, module = one.removeprefix("nvidia,").partition("+")
        if plus:
            return module.removesuffix("-super")
    return ""


def modes(kind: Kind, encoder: Encoder, cores: int) -> list[Mode]:
    """The largest that it keeps up with first."""
    if encoder == "v4l2m2m":
        return [
            Mode(1920, 1080, 30, "documented", "the ceiling of the H.264 block"),
            Mode(1280, 720, 60, "estimated", "fewer pixels a second than 1080p30"),
            Mode(1280, 720, 30, "documented"),
        ]
    if encoder == "jetson":
        return [Mode(1920, 1080, 60, "documented", "NVENC takes several of them"), Mode(1920, 1080, 30, "documented")]
    if kind in ("zero2", "pi"):
        return [Mode(854, 480, 25, "estimated", "software on four slow cores"), Mode(640, 360, 25, "estimated")]
    if kind in ("pi4", "cm4"):
        return [Mode(1280, 720, 30, "estimated", "software; a warm board needs its fan"), Mode(854, 480, 30, "estimated")]
    if kind in ("pi5", "jetson"):
        return [Mode(1920, 1080, 30, "estimated", "software"), Mode(1280, 720, 60, "estimated"), Mode(1280, 720, 30, "estimated")]
    if cores >= 2:  # measured beside other work on two cores of a 2.8 GHz x86-64, x264 superfast
        return [
            Mode(1920, 1080, 60, "estimated", "more than a whole core"),
            Mode(1920, 1080, 30, "measured", "64 % of a core of a 2.8 GHz x86-64"),
            Mode(1280, 720, 60, "measured", "51 %"),
            Mode(1280, 720, 30, "measured", "28 %"),
        ]
    return [Mode(1280, 720, 30, "estimated")]


def memory_bytes(root: Path = Path("/")) -> int:
    for line in read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _processor(root: Path) -> tuple[str, int]:
    """Its name, where the kernel tells one (it does on x86 alone), and how many cores there are."""
    lines = [line.partition(":") for line in read_text(root / "proc/cpuinfo").splitlines()]
    names = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    cores = sum(key.strip() == "processor" for key, _, _ in lines)
    return (names[0] if names else _soc(root)), cores


def _soc(root: Path) -> str:
    compatible = read_strings(root / "proc/device-tree/compatible")
    return compatible[-1].partition(",")[2] if compatible else ""


def _dmi_name(root: Path) -> str:
    dmi = root / "sys/class/dmi/id"
    parts = [read_text(dmi / name) for name in ("sys_vendor", "product_name")]
    return " ".join(part for part in parts if part and part.lower() not in ("default string", "to be filled by o.e.m."))


def _plain_name(kind: Kind) -> str:
    return "this test bench" if kind == "bench" else "this Linux machine"


def watchdog_seconds(root: Path = Path("/")) -> int | None:
    """How long the hardware watchdog waits, where there is one; None where the driver does not tell."""
    return next(
        (number for folder in children(root / "sys/class/watchdog", "watchdog*") if (number := read_number(folder / "timeout"))), None
    )
