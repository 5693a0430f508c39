"""The units under the guest's own systemd, with real devices and real cgroups: who may open what, and a camera through it all."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware.model import Camera, Flow, dump_flow
from firmware.places import Places
from firmware.status import CaptureStatus, FlowStatus, read_snapshot
from tests.conftest import WaitFor
from tests.driver.linux import Gpio, Vivid

CHECKOUT = Path(__file__).parent.parent.parent
ROOTFS = CHECKOUT / "image-build/rootfs"
CGROUPS = Path("/sys/fs/cgroup/system.slice")
PLACES = Places(Path("/var/lib/pressbox"), Path("/run/pressbox"))
PATIENCE_S = 180.0  # the guest's processor is another program


def run(*command: str, told: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def units(vivid: Vivid) -> Iterator[Vivid]:
    """Installed as an image has them; the program is this checkout."""
    shutil.copytree(ROOTFS / "usr", "/usr", dirs_exist_ok=True)
    program = Path("/usr/lib/pressbox")
    program.mkdir(exist_ok=True)
    for package in ("appliance", "firmware", "hw"):
        shutil.copytree(CHECKOUT / package, program / package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    # udevd is started anew, for it does not see a group that was made after its rules were read
    for command in (
        ["systemd-sysusers"],
        ["systemd-tmpfiles", "--create"],
        ["systemctl", "daemon-reload"],
        ["systemctl", "restart", "systemd-udevd"],
    ):
        run(*command, check=False)
    vivid.ctl("-i", "0")
    yield vivid
    run("systemctl", "stop", "pressbox-rescue.path", "pressbox-media", "pressbox-web", "pressbox-panel", check=False)


@pytest.fixture(scope="module")
def media(units: Vivid) -> Vivid:
    run("systemctl", "start", "pressbox-media")
    return units


def open_within(unit: str, node: str) -> str:
    """What a process in the cgroup of that service gets when it opens a node; root, so that only the cgroup says no."""
    return run("sh", "-c", f"echo $$ > {CGROUPS}/{unit}.service/cgroup.procs && exec 3<>{node} && echo opened", check=False).strip()


@pytest.mark.parametrize("node", ["/dev/vda", "/dev/kmsg", "/dev/mem", "/dev/rtc0", "/dev/watchdog0", "/dev/uinput", "/dev/ttyS0"])
def test_media_may_open_no_device_that_is_none_of_its_business(node: str, media: Vivid) -> None:
    if not Path(node).exists():
        pytest.skip(f"there is no {node} here")
    assert "Operation not permitted" in open_within("pressbox-media", node)


def test_media_may_open_cameras_and_web_may_not(media: Vivid, wait_for: WaitFor) -> None:
    run("systemctl", "start", "pressbox-web")
    assert open_within("pressbox-media", media.path) == "opened"
    assert "Operation not permitted" in open_within("pressbox-web", media.path)
    assert open_within("pressbox-web", "/dev/null") == "opened"


def test_the_panel_may_open_the_pins_and_media_may_not(media: Vivid, gpio: Gpio) -> None:
    run("udevadm", "trigger", "--subsystem-match=gpio", "--settle")
    (chip,) = [path for path in Path("/dev").glob("gpiochip*") if path.group() == "gpio"][-1:]
    assert chip.stat().st_mode & 0o777 == 0o660
    run("systemctl", "start", "pressbox-panel")
    assert open_within("pressbox-panel", str(chip)) == "opened"
    assert "Operation not permitted" in open_within("pressbox-panel", media.path)
    assert "Operation not permitted" in open_within("pressbox-media", str(chip))


def test_memory_and_processes_are_bounded_where_they_are_to_be(media: Vivid) -> None:
    run("systemctl", "start", "pressbox-web")
    assert (CGROUPS / "pressbox-web.service/memory.max").read_text().strip() == str(192 << 20)
    assert (CGROUPS / "pressbox-web.service/pids.max").read_text().strip() == "128"
    assert (CGROUPS / "pressbox-media.service/memory.max").read_text().strip() == "max"
    main = run("systemctl", "show", "--value", "--property=MainPID", "pressbox-media").strip()
    assert Path(f"/proc/{main}/oom_score_adj").read_text().strip() == "-500"
    limits = Path(f"/proc/{main}/limits").read_text()
    assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE)


def test_a_camera_of_the_kernel_through_the_sandbox(media: Vivid, wait_for: WaitFor) -> None:
    """Last, for it is the only one that wants a guest that keeps up."""
    camera = Camera(name="camera", camera=f"v4l2:{media.path}", width=320, height=180, fps=10, video_bps=500_000)
    run("pressbox", "flow", "create", "-", "--start", told=dump_flow(Flow(name="show", sources=[camera])).decode())

    def frames() -> int:
        capture = read_snapshot(PLACES.capture_snapshot("show"), CaptureStatus)
        return capture.frames if capture and not capture.message else 0

    def is_live() -> bool:
        status = read_snapshot(PLACES.snapshot("show"), FlowStatus)
        return status is not None and status.picture == "live"

    wait_for(lambda: frames() > 20 and is_live(), PATIENCE_S, "twenty pictures, on air")
