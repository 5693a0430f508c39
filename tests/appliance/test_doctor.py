"""`pressbox doctor`: on this machine, on every board's files, and what it says of what is wrong."""

from __future__ import annotations

import grp
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.checkup import examine
from appliance.checkup.check import Check
from appliance.checkup.devices import udev_rule
from appliance.checkup.network import default_interfaces, listening, network_checks
from appliance.cli import main
from appliance.exits import FAILED, OK, USAGE
from firmware.places import Places
from firmware.status import FlowStatus, write_snapshot
from tests.boards import NAMES, add, plant

CHECKOUT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def here(places: Places, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("PRESSBOX_STATE", str(places.state))
    monkeypatch.setenv("PRESSBOX_RUN", str(places.run))
    return places


def doctor(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["doctor", *arguments])
    return code, capsys.readouterr().out


def checks(root: Path, places: Places, area: str) -> list[Check]:
    return [check for check in examine(root, places).checks if check.area == area]


def test_this_machine_in_words_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = doctor(capsys=capsys)
    assert text.splitlines()[-1].startswith("Ready for air" if code == OK else "Not ready for air")
    for word in ("encoder", "libsrt", "librist", "libavcodec", "CVE-2026-55869", "memory free"):
        assert word in text
    code_again, told = doctor("--json", capsys=capsys)
    report: dict[str, Any] = json.loads(told)
    assert code_again == code
    assert {"ready", "verdict", "board", "health", "checks"} == report.keys()
    assert report["board"]["encoder_why"] in text
    assert all(
        check["words"] in text for check in report["checks"] if check["area"] not in ("ports", "health")
    )  # those change by themselves


@pytest.mark.parametrize("name", NAMES)
def test_every_board_says_what_will_run_and_why(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant(name, tmp_path / "root")
    code, text = doctor("--root", str(root), capsys=capsys)
    assert code == (FAILED if name == "pi4-mainline" else OK)  # its power supply is too weak now
    assert "It keeps up with:" in text
    assert "None" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_advice_where_something_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text = doctor("--root", str(plant("zero2", tmp_path / "a")), capsys=capsys)
    assert "! A camera with sensor imx219 is set up, but nothing answers at its connector." in text
    assert "→ Switch off, push the ribbon in at both ends" in text
    assert "82 degrees" in text
    code, text = doctor("--root", str(plant("pi4-mainline", tmp_path / "b")), capsys=capsys)
    assert "✗ The power supply is too weak" in text
    assert "linux-image-rpi-v8" in text
    assert text.splitlines()[-1] == "Not ready for air: 1 fault, 1 warning."
    assert code == FAILED


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(tmp_path / "nowhere")]) == USAGE
    assert "is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "state"), [("1.5.1-1+deb12u1", "fault"), ("1.5.1-1+deb12u2", "ok"), ("1.5.4-1+deb13u1", "ok")])
def test_the_floor_of_libsrt_by_the_packages_of_a_folder(version: str, state: str, tmp_path: Path, here: Places) -> None:
    root = plant("pi5", tmp_path / "root")
    status = f"Package: libsrt1.5-gnutls\\nStatus: install ok installed\\nArchitecture: arm64\\nVersion: {version}\\n\\n"
    add(root, f"var/lib/dpkg/status = {status}")
    (check,) = [check for check in checks(root, here, "software") if "srt" in check.words]
    assert check.state == state
    assert version in check.words


ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\\n"


def test_one_way_out_two_ways_out_none(tmp_path: Path) -> None:
    add(tmp_path, f"proc/net/route = {ROUTES}")
    assert "no way out" in " ".join(check.words for check in network_checks(tmp_path))
    one = (
        ROUTES
        + "eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\\neth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\\n"
    )
    add(tmp_path, f"proc/net/route = {one}")
    assert default_interfaces(tmp_path) == ["eth0"]
    assert "one way out, eth0" in " ".join(check.words for check in network_checks(tmp_path))
    add(tmp_path, f"proc/net/route = {one}wwan0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\\n")
    assert default_interfaces(tmp_path) == ["wwan0", "eth0"]
    add(tmp_path, "sys/class/net/eth0/carrier = 1")
    add(tmp_path, "sys/class/net/eth0/speed = 1000")
    add(tmp_path, "sys/class/net/wlan0/carrier = 0")
    add(tmp_path, "sys/class/net/wlan0/wireless/")
    words = [check.words for check in network_checks(tmp_path)]
    assert "eth0: connected, 1000 Mb/s, a way out." in words
    assert "wlan0: nothing connected, Wi-Fi." in words
    assert "Ways out: eth0, wwan0." in words


def test_ports_that_listen_are_found_by_name() -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("::1", 0))
        found = {(port.protocol, port.address, port.port): port for port in listening()}
        mine = found["TCP", "127.0.0.1", tcp.getsockname()[1]]
        assert mine.program
        assert not mine.is_open_to_others
        assert ("UDP", "::1", udp.getsockname()[1]) in found


def test_who_gives_a_device_its_group(tmp_path: Path) -> None:
    add(
        tmp_path,
        'usr/lib/udev/rules.d/50-udev-default.rules = SUBSYSTEM=="video4linux", GROUP="video"\\nSUBSYSTEM=="sound", GROUP="audio"\\n',
    )
    add(
        tmp_path,
        'etc/udev/rules.d/99-mine.rules = # SUBSYSTEM=="sound", GROUP="me"\\nSUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="gpio"\\n',
    )
    assert udev_rule(tmp_path / "dev/video0", tmp_path) == "50-udev-default.rules"
    assert udev_rule(tmp_path / "dev/snd/pcmC0D0c", tmp_path) == "50-udev-default.rules"
    assert udev_rule(tmp_path / "dev/gpiochip0", tmp_path) == "99-mine.rules"
    assert udev_rule(tmp_path / "dev/something", tmp_path) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it plays another user")
def test_a_user_who_may_not_is_told_what_to_do(tmp_path: Path) -> None:
    root = plant("pc", tmp_path / "root")
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.chown(root / "dev/video0", 0, grp.getgrnam("video").gr_gid)
    (root / "dev/video0").chmod(0o660)
    code = f"""
import os
from pathlib import Path
from appliance.checkup.devices import device_checks
from hw.board import read_board
root = Path({str(root)!r})
board = read_board(root)
os.setgroups([])
os.setgid(61001)
os.setuid(61001)
for check in device_checks(board, root):
    print(check.state, check.words, check.advice)
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert "warning user 61001 may not open /dev/video0: its group is video." in told
    assert "sudo usermod -aG video user 61001" in told


def test_what_runs_is_said(here: Places) -> None:
    write_snapshot(here.snapshot("show"), FlowStatus(name="show", state="ACTIVE", at=0))
    write_snapshot(here.snapshot("spare"), FlowStatus(name="spare", state="ERROR", at=0, message="port 5000 is in use"))
    found = checks(Path("/"), here, "flows")
    assert [(check.state, check.words) for check in found] == [("ok", "show: ACTIVE."), ("warning", "spare: ERROR, port 5000 is in use.")]


def test_nothing_is_opened(tmp_path: Path, here: Places) -> None:
    """Opening a device of a capture that runs may take it away: these are pipes that would hang whoever opened them."""
    root = plant("pi4", tmp_path / "root")
    for path in ("dev/video2", "dev/video11"):
        (root / path).unlink()
        os.mkfifo(root / path)
    assert any("/dev/video2" in check.words for check in checks(root, here, "devices"))
