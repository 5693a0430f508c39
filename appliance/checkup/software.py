"""Versions of what carries the stream, and whether they may be used."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from appliance.checkup.check import Check
from firmware.net import libsrt
from hw.board import Board
from hw.sysfs import read_text

LIBRARIES = ("av", "flask", "gunicorn", "msgspec", "pylibsrtp")
SRT_PACKAGES = ("libsrt1.5-gnutls", "libsrt1.5-openssl")
RIST_PACKAGE = "librist4"


def software_checks(board: Board, root: Path) -> Iterator[Check]:
    yield Check("software", "ok", f"Linux {read_text(root / 'proc/sys/kernel/osrelease') or 'not told'}, {_system(root)}.")
    if root != Path("/"):
        yield from _packaged(root)
        return
    yield Check(
        "software", "ok", f"Python {platform.python_version()}; " + ", ".join(f"{name} {_version(name)}" for name in LIBRARIES) + "."
    )
    yield _srt()
    yield _rist()
    yield _ffmpeg()
    yield from _for_its_parts(board)


def _system(root: Path) -> str:
    told = re.search(r'^PRETTY_NAME="?([^"\n]+)', read_text(root / "etc/os-release"), re.MULTILINE)
    return told[1] if told else "a system that does not tell its name"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _srt() -> Check:
    try:
        library = libsrt.load()
    except libsrt.LibraryTooOld as error:
        return Check("software", "fault", f"{error}.", "Install the security updates of your distribution.")
    except libsrt.SrtUnavailable as error:
        return Check("software", "fault", f"{error}.")
    owner = f" ({library.package})" if library.package else ""
    reason = libsrt.reason_against(library.version, library.package)
    if reason:
        return Check("software", "warning", f"libsrt {library.version}{owner} is used although it must not be: {reason}.")
    return Check("software", "ok", f"libsrt {library.version}{owner}, with the fixes for CVE-2026-55868 and CVE-2026-55869.")


def _rist() -> Check:
    from firmware.net import librist

    try:
        library = librist.load()
    except OSError as error:
        return Check("software", "warning", f"RIST cannot be used: {error}.")
    return Check("software", "ok", f"{library}.")


def _ffmpeg() -> Check:
    try:
        import av
    except ImportError as error:
        return Check("software", "fault", f"FFmpeg's libraries cannot be loaded: {error}.", "Install python3-av, or the wheel `av`.")
    versions = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
    if "libx264" not in av.codecs_available:
        return Check("software", "fault", "FFmpeg's libraries are here without x264.", "Install those of Debian, or the wheel `av`.")
    return Check(
        "software",
        "ok",
        "FFmpeg: " + ", ".join(f"{name} {versions[name]}" for name in ("libavcodec", "libavformat") if name in versions) + ".",
    )


def _for_its_parts(board: Board) -> Iterator[Check]:
    """What the fitted parts want, looked for and not loaded."""
    if any(sensor.bound for sensor in board.fitted.sensors):
        module, package = (
            ("gi", "python3-gi and NVIDIA's GStreamer packages") if board.kind == "jetson" else ("picamera2", "python3-picamera2")
        )
        if find_spec(module) is None:
            yield Check("software", "warning", f"A CSI camera is fitted, and Python's {module} is missing.", f"Install {package}.")
    if board.encoder == "jetson" and find_spec("gi") is None:
        yield Check(
            "software",
            "fault",
            "The encoder of this board is reached through GStreamer, and Python's gi is missing.",
            "Install python3-gi.",
        )


def _packaged(root: Path) -> Iterator[Check]:
    """What Debian's database in that folder says."""
    versions = {name: version for name in (*SRT_PACKAGES, RIST_PACKAGE) if (version := libsrt.version_of_package(name, root))}
    srt = next((name for name in SRT_PACKAGES if name in versions), "")
    if not srt:
        yield Check("software", "note", "Whether libsrt is there is not told by packages.")
    elif reason := libsrt.reason_against("1.5.0", f"{srt} {versions[srt]}"):
        yield Check("software", "fault", f"{reason}.", "Install the security updates of your distribution.")
    else:
        yield Check("software", "ok", f"{srt} {versions[srt]}, with the fixes for CVE-2026-55868 and CVE-2026-55869.")
    if RIST_PACKAGE in versions:
        yield Check("software", "ok", f"{RIST_PACKAGE} {versions[RIST_PACKAGE]}.")
