"""From a device to its USB port, and what waking it does, on trees of sysfs. Real power is not switched here."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hw.usbport import port_of, reboot, wake
from tests.boards import add, plant
from tests.conftest import WaitFor

PORT = "sys/devices/pci0000:00/0000:00:00.0/0000:01:00.0/usb1/1-1/1-1:1.0/1-1-port3"
CAMERA = "sys/devices/pci0000:00/0000:00:00.0/0000:01:00.0/usb1/1-1/1-1.3"


@pytest.mark.parametrize("device", ["/dev/video2", "v4l2:/dev/video2", "alsa:hw:2,0", "hw:C920", "alsa:plughw:CARD=C920,DEV=0", "card2"])
def test_a_camera_and_its_microphone_are_on_one_port(device: str, tmp_path: Path) -> None:
    root = plant("pi4", tmp_path)
    port = port_of(device, root)
    assert port is not None
    assert (port.name, port.product, port.power) == ("1-1.3", "HD Pro Webcam C920", root / PORT / "disable")


@pytest.mark.parametrize("device", ["/dev/video0", "/dev/video99", "alsa:hw:0,0", "hw:nobody", "pattern", "csi:0", "", "../../etc"])
def test_what_is_not_on_usb_has_no_port(device: str, tmp_path: Path) -> None:
    assert port_of(device, plant("pi4", tmp_path)) is None


def test_the_port_is_switched_off_and_on(tmp_path: Path) -> None:
    root = plant("pi4", tmp_path)
    steps = wake("/dev/video2", root, off_s=0)
    assert [step.done for step in steps] == [True]
    assert "was switched off for 0 s and on again" in steps[0].words
    assert (root / PORT / "disable").read_text()[0] == "0"
    assert (root / CAMERA / "authorized").read_text() == "1\n"  # untouched


def test_nothing_comes_back(tmp_path: Path, wait_for: WaitFor) -> None:
    root = plant("pi4", tmp_path)

    def unplug() -> None:
        wait_for(lambda: (root / PORT / "disable").read_text().startswith("1"))
        (root / CAMERA / "idVendor").unlink()

    with ThreadPoolExecutor() as pool:
        unplugged = pool.submit(unplug)
        steps = wake("/dev/video2", root, off_s=1, back_s=0)
        unplugged.result()
    assert not steps[0].done
    assert "nothing came back within 0 s" in steps[0].words


def test_without_a_switch_the_device_is_taken_off_the_bus(tmp_path: Path) -> None:
    root = plant("pi4", tmp_path)
    (root / PORT / "disable").unlink()
    steps = wake("/dev/video2", root, off_s=0)
    assert [step.done for step in steps] == [False, True]
    assert "kernel 6.0" in steps[0].words
    assert (root / CAMERA / "authorized").read_text()[0] == "1"


def test_at_last_the_driver_is_bound_anew(tmp_path: Path) -> None:
    root = plant("pi4", tmp_path)
    (root / PORT / "disable").unlink()
    (root / CAMERA / "authorized").unlink()
    steps = wake("/dev/video2", root, off_s=0)
    assert [step.done for step in steps] == [False, False, True]
    assert "1-1.3 was taken from its driver usb and given back" in steps[2].words
    assert (root / "sys/bus/usb/drivers/usb/unbind").read_text() == "1-1.3"
    assert (root / "sys/bus/usb/drivers/usb/bind").read_text() == "1-1.3"


def test_a_camera_that_is_not_on_usb_has_its_driver_bound_anew(tmp_path: Path) -> None:
    root = plant("pi4", tmp_path)
    add(root, "sys/devices/platform/soc/fe801000.csi/driver -> ../../../../bus/platform/drivers/unicam")
    (root / "sys/class/video4linux/video0/device/driver").unlink()
    (root / "sys/class/video4linux/video0/device").rmdir()
    add(root, "sys/class/video4linux/video0/device -> ../../../devices/platform/soc/fe801000.csi")
    add(root, "sys/bus/platform/drivers/unicam/{bind,unbind} =")
    steps = wake("/dev/video0", root, off_s=0)
    assert [step.done for step in steps] == [True]
    assert (root / "sys/bus/platform/drivers/unicam/bind").read_text() == "fe801000.csi"


def test_what_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    (step,) = wake("/dev/video9", plant("pi4", tmp_path), off_s=0)
    assert (step.done, step.words) == (False, "/dev/video9 is not there any more: nothing to switch off.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_what_this_user_may_not_is_said(tmp_path: Path) -> None:
    root = plant("pi4", tmp_path)
    for path in (root / PORT / "disable", root / CAMERA / "authorized", root / "sys/bus/usb/drivers/usb/unbind"):
        path.chmod(0o400)
    steps = wake("/dev/video2", root, off_s=0)
    assert [step.done for step in steps] == [False, False, False]
    assert all("root may" in step.words for step in steps)


def test_a_restart_is_asked_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    stand_in = tmp_path / "systemctl"
    stand_in.write_text(f'#!/bin/sh\n[ "$1" = reboot ] || exit 9\nprintf "%s" "$2" > {said}\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert reboot("the camera hangs").done
    assert said.read_text() == "--message=the camera hangs"
    stand_in.write_text("#!/bin/sh\necho Access denied >&2\nexit 1\n")
    step = reboot("the camera hangs")
    assert (step.done, step.words) == (False, "systemd refused to restart: Access denied.")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert not reboot("the camera hangs").done
