"""The units run for real: as their users, in their sandboxes, and media streams from within its own.

`scripts/test-units` makes the system that this needs, and runs it. Not here: what a cgroup enforces (devices, memory), which
systemd-nspawn has no right to, and everything that wants a device.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware.model import Camera, Flow, dump_flow
from firmware.urls import parse_output, parse_source
from hw.systemd import EVENTS
from tests.conftest import WaitFor
from tests.units.booted import Booted

ROOTFS = os.environ.get("PRESSBOX_UNITS_ROOTFS", "")
pytestmark = [
    pytest.mark.skipif(not ROOTFS, reason="takes a Debian system of its own; scripts/test-units makes one and runs this"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it boots a system"),
    pytest.mark.skipif(shutil.which("systemd-nspawn") is None, reason="systemd-nspawn is not installed"),
]

SERVICES = {"media": "pressbox-media", "web": "pressbox-web", "panel": "pressbox-panel"}
OUTPUTS = (
    "srt://127.0.0.1:9000?passphrase=secret:show&latency=100",
    "srt://127.0.0.1:9010?passphrase=secret:show&latency=100",
    "rist://127.0.0.1:9100?secret=secret:show",
    "srtp://127.0.0.1:9200?key=secret:seal&fec=10x10",
)
SOURCES = {  # flows in the same daemon: a listening SRT source and a RIST source call from C into Python
    "from-srt": "srt://:9000?passphrase=secret:show&latency=100&allow=127.0.0.1",
    "from-rist": "rist://@:9100?secret=secret:show&allow=127.0.0.1",
    "from-srtp": "srtp://@:9200?key=secret:seal&fec=on&allow=127.0.0.1",
}
RECEIVE = """
srt-live-transmit -q -to:60 "srt://:9010?mode=listener&passphrase=$(cat /var/lib/pressbox/secrets/show)" file://con > /tmp/got.ts
"""
DECODE = "import av; c = av.open('/tmp/got.ts'); print(sum(1 for _ in c.decode(video=0)), c.streams.video[0].width)"
FETCH = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8080/').read().decode())"
CUT = """
import re, urllib.parse, urllib.request
page = urllib.request.urlopen("http://127.0.0.1:8080/").read().decode()
token = re.search('name="token" value="([0-9a-f]+)"', page)[1]
form = urllib.parse.urlencode({"token": token}).encode()
print(urllib.request.urlopen("http://127.0.0.1:8080/flows/box/outputs/out-0/cut", form).status)
"""
ASK = """
import sys
sys.path.insert(0, "/usr/lib/pressbox")
from pathlib import Path
from firmware.places import Places
from firmware.rescue import Rescue
Rescue(Places(Path("/var/lib/pressbox"), Path("/run/pressbox"))).ask("power-cycle", "v4l2:/dev/video9")
"""


@pytest.fixture(scope="module")
def system() -> Iterator[Booted]:
    with Booted(Path(ROOTFS)) as booted:
        for name, kind in (("show", []), ("seal", ["--srtp"])):
            booted.run("pressbox", "secret", "generate", name, *kind)  # as root, for media to read
        yield booted


@pytest.fixture(scope="module")
def on_air(system: Booted, wait_for: WaitFor) -> Booted:
    outputs = [parse_output(url, f"out-{number}").end for number, url in enumerate(OUTPUTS)]
    flows = [Flow(name="box", sources=[Camera(name="camera", width=640, height=360, fps=25)], outputs=outputs)]
    flows += [
        Flow(name=name, sources=[parse_source(url, "in").end], outputs=[parse_output(f"udp://127.0.0.1:{port}", "out").end])
        for (name, url), port in zip(SOURCES.items(), (9300, 9302, 9304), strict=True)
    ]
    for flow in flows:
        system.run("pressbox", "flow", "create", "-", "--start", told=dump_flow(flow).decode())
    wait_for(lambda: all(packets(system, name) > 500 for name in SOURCES), 90, "a stream at every source")
    return system


def flows(system: Booted) -> dict[str, Any]:
    return {flow["name"]: flow for flow in json.loads(system.run("pressbox", "status", "--json").stdout)}


def packets(system: Booted, flow: str) -> int:
    return sum(end["packets"] for end in flows(system).get(flow, {"sources": []})["sources"])


def test_all_are_up_and_nothing_failed(system: Booted) -> None:
    for unit in SERVICES.values():
        assert system.show(unit, "ActiveState") == "active", system.run("journalctl", "--no-pager", "-u", unit, check=False).stdout
    assert system.run("systemctl", "--failed", "--no-legend", "--plain").stdout.strip() == ""
    assert system.run("systemctl", "is-enabled", "pressbox-update.timer", check=False).stdout.strip() == "disabled"
    assert system.show("pressbox-media", "NRestarts") == "0"


@pytest.mark.parametrize("name", SERVICES)
def test_each_runs_as_its_user_in_its_sandbox(name: str, on_air: Booted) -> None:
    unit = SERVICES[name]
    user = on_air.run("id", "-u", unit).stdout.strip()
    processes = on_air.processes(unit)
    assert int(on_air.show(unit, "MainPID")) in processes
    assert len(processes) >= (8 if name == "media" else 1)
    for process in processes:
        status = on_air.status(process)
        assert status["Uid"].split() == [user] * 4
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert {status[kind] for kind in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
    main = int(on_air.show(unit, "MainPID"))
    for folder in ("/etc", "/usr/lib/pressbox", "/var/log", "/var/lib", "/boot"):
        assert "Read-only" in on_air.within(main, "touch", f"{folder}/x").stderr, folder
    assert on_air.within(main, "sh", "-c", "test -e /tmp/x || touch /tmp/x").returncode == 0
    assert on_air.run("test", "-e", "/tmp/x", check=False).returncode != 0  # its /tmp is its own


def test_media_streams_from_within_its_sandbox(on_air: Booted, wait_for: WaitFor) -> None:
    """SRT to a receiver of somebody else's, whole enough to be decoded."""
    received = on_air.start("sh", "-c", RECEIVE)
    try:
        wait_for(lambda: int(on_air.run("sh", "-c", "stat -c %s /tmp/got.ts || echo 0").stdout) > 5_000_000, 60, "nine seconds of stream")
    finally:
        received.kill()
        received.wait()
    pictures, width = on_air.run("python3", "-c", DECODE).stdout.split()[-2:]
    assert int(pictures) > 100
    assert width == "640"


def test_nothing_is_lost_on_the_way_between_its_flows(on_air: Booted, wait_for: WaitFor) -> None:
    before = {name: packets(on_air, name) for name in SOURCES}
    wait_for(lambda: all(packets(on_air, name) > before[name] + 500 for name in SOURCES), 60, "more packets")
    for name in SOURCES:
        assert sum(end["lost"] for end in flows(on_air)[name]["sources"]) == 0, name
    assert on_air.show("pressbox-media", "NRestarts") == "0"


def test_the_pages_are_another_users_and_show_and_do_what_media_has(on_air: Booted, wait_for: WaitFor) -> None:

    def page() -> str:
        told = on_air.run("python3", "-c", FETCH, check=False).stdout
        return told if "from-srt" in told else ""

    assert "box" in wait_for(page, 30, "the page")
    told = on_air.run("python3", "-c", CUT, check=False)
    assert told.stdout.strip() in ("200", "204"), told.stderr[-500:]


def test_the_pages_cannot_read_a_secret(on_air: Booted) -> None:
    assert on_air.run("cat", "/var/lib/pressbox/secrets/show", user="pressbox-media").stdout
    for user in ("pressbox-web", "pressbox-panel"):
        assert "Permission denied" in on_air.run("cat", "/var/lib/pressbox/secrets/show", user=user, check=False).stderr
    main = int(on_air.show("pressbox-web", "MainPID"))
    assert on_air.within(main, "ls", "/var/lib/pressbox/secrets").stdout == ""


def test_the_doctor_says_what_runs_there(on_air: Booted) -> None:
    told = on_air.run("pressbox", "doctor")
    assert "box: ACTIVE." in told.stdout
    assert told.stdout.splitlines()[-1].startswith("Ready for air")


def test_the_journal_knows_flow_and_event(on_air: Booted, wait_for: WaitFor) -> None:
    def told(*matches: str) -> list[dict[str, Any]]:
        lines = on_air.run("journalctl", "--no-pager", "-o", "json", *matches, check=False).stdout.splitlines()
        return [json.loads(line) for line in lines]

    on_air.run("pkill", "-KILL", "-f", "firmware.capture.worker")
    match = (f"MESSAGE_ID={EVENTS['worker-restarted']}", "PRESSBOX_FLOW=box")
    (entry, *_) = wait_for(lambda: told(*match), 30, "the end of the camera's worker, as an event of its flow")
    assert entry["MESSAGE"].startswith("pressbox.child: camera of box ended (signal 9)")
    assert (entry["_SYSTEMD_UNIT"], entry["PRIORITY"], entry["LOGGER"]) == ("pressbox-media.service", "4", "pressbox.child")
    assert not [one["MESSAGE"] for one in told("SYSLOG_IDENTIFIER=pressbox") if "Traceback" in one["MESSAGE"]]


def test_a_parent_that_hangs_is_killed_by_its_watchdog_and_all_is_back(on_air: Booted, wait_for: WaitFor) -> None:
    main = on_air.show("pressbox-media", "MainPID")
    on_air.run("kill", "-STOP", main)
    wait_for(lambda: on_air.show("pressbox-media", "MainPID") not in (main, "0"), 40, "another media")
    assert "watchdog" in on_air.run("journalctl", "--no-pager", "-u", "pressbox-media").stdout.lower()
    before = {name: packets(on_air, name) for name in SOURCES}
    wait_for(lambda: all(packets(on_air, name) > 300 and packets(on_air, name) != before[name] for name in SOURCES), 60, "every stream")


def test_many_quick_ends_leave_it_alive(on_air: Booted, wait_for: WaitFor) -> None:
    for _ in range(7):
        main = wait_for(lambda: (number := on_air.show("pressbox-media", "MainPID")) != "0" and number, 30, "media")
        on_air.run("kill", "-KILL", main, check=False)
        wait_for(lambda before=main: on_air.show("pressbox-media", "MainPID") not in (before, "0"), 30, "another media")
    wait_for(lambda: on_air.show("pressbox-media", "ActiveState") == "active", 30, "media")
    wait_for(lambda: all(flows(on_air).get(name, {}).get("state") == "ACTIVE" for name in SOURCES), 60, "every flow")


def test_rescue_takes_up_what_media_asks(on_air: Booted, wait_for: WaitFor) -> None:
    on_air.run("python3", "-c", ASK, user="pressbox-media")
    read = ("cat", "/run/pressbox/rescued.json")
    told = wait_for(lambda: on_air.run(*read, user="pressbox-web", check=False).stdout, 30, "what was done")
    assert "nothing to switch off" in told
    assert on_air.show("pressbox-rescue.path", "ActiveState") == "active"
