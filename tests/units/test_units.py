"""The systemd units: how exposed each service is, and that what they name is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOTFS = Path(__file__).parent.parent.parent / "image-build/rootfs"
SYSTEM = ROOTFS / "usr/lib/systemd/system"
SERVICES = sorted(SYSTEM.glob("*.service"))

# The most that `systemd-analyze security` may find, of 10. Measured 1.6, 1.1, 0.6, 2.8 (2.6 by systemd 257) and 1.3.
MOST_EXPOSED = {"media": 1.7, "web": 1.2, "panel": 0.7, "update": 2.9, "rescue": 1.3}
NOT_BUILT_YET = {"pressbox-update.service", "pressbox-update.timer"}


def settings(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_each_service_has_its_bar() -> None:
    assert [unit.stem.removeprefix("pressbox-") for unit in SERVICES] == sorted(MOST_EXPOSED)


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_how_exposed_a_service_is(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    command = ["systemd-analyze", "security", "--offline=yes", f"--root={ROOTFS}", "--no-pager", unit.name]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    if level is None:
        version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
        pytest.skip(f"{version} gives no level offline: {told.stderr.strip()[:200]}")
    assert float(level[1]) <= MOST_EXPOSED[unit.stem.removeprefix("pressbox-")], told.stdout


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_module_that_there_is(unit: Path) -> None:
    (command,) = settings(unit)["ExecStart"]
    module = re.match(r"/usr/bin/python3 -m (\S+)", command)
    assert module, command
    assert find_spec(module[1])
    if unit.name in NOT_BUILT_YET:
        assert "not built yet" in unit.read_text()


@pytest.mark.parametrize("unit", [unit for unit in SERVICES if "Restart" in settings(unit)], ids=lambda unit: unit.stem)
def test_a_service_is_started_again_for_ever_and_leaves_no_core(unit: Path) -> None:
    found = settings(unit)
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert found["LimitCORE"] == ["0"]
    assert "OOMScoreAdjust" in found


def test_what_runs_all_the_time_is_started_again() -> None:
    assert {unit.stem for unit in SERVICES if settings(unit).get("Type") != ["oneshot"]} == {
        "pressbox-media",
        "pressbox-panel",
        "pressbox-web",
    }


def test_the_picture_dies_last() -> None:
    adjusted = {unit.stem: int(settings(unit)["OOMScoreAdjust"][0]) for unit in SERVICES if "OOMScoreAdjust" in settings(unit)}
    assert min(adjusted, key=lambda name: adjusted[name]) == "pressbox-media"


def test_users_and_groups_are_made() -> None:
    made = set(re.findall(r"^[ug] (\S+)", (ROOTFS / "usr/lib/sysusers.d/pressbox.conf").read_text(), re.MULTILINE)) | {"video", "audio"}
    for unit in SERVICES:
        found = settings(unit)
        named = {*found.get("User", []), *found.get("Group", []), *" ".join(found.get("SupplementaryGroups", [])).split()}
        assert named <= made, unit.name
    users = [user for unit in SERVICES for user in settings(unit).get("User", [])]
    assert len(users) == len(set(users))


def test_what_they_write_is_made_for_them() -> None:
    made = set(re.findall(r"^d (\S+)", (ROOTFS / "usr/lib/tmpfiles.d/pressbox.conf").read_text(), re.MULTILINE))
    for unit in SERVICES:
        for path in " ".join(settings(unit).get("ReadWritePaths", [])).split():
            assert path in made or path.startswith(("-", "/sys")), f"{unit.name}: {path}"


def test_what_is_not_built_is_not_enabled() -> None:
    preset = (ROOTFS / "usr/lib/systemd/system-preset/50-pressbox.preset").read_text()
    enabled = set(re.findall(r"^enable (\S+)", preset, re.MULTILINE))
    assert not enabled & NOT_BUILT_YET
    assert set(re.findall(r"^disable (\S+)", preset, re.MULTILINE)) == NOT_BUILT_YET
    installable = {unit.name for unit in SYSTEM.iterdir() if "WantedBy" in settings(unit)}
    assert enabled == installable - NOT_BUILT_YET


def test_the_hardware_watchdog_is_within_what_a_raspberry_pi_can_count() -> None:
    found = settings(ROOTFS / "usr/lib/systemd/system.conf.d/pressbox.conf")
    assert 5 <= int(found["RuntimeWatchdogSec"][0]) < 15
