"""The panel from snapshots to pins, and from the button to what the box offers; and the process itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.paneld import Paneld, let_go
from appliance.panellook import Look
from appliance.panelstatus import identify, read_panel_status, set_dark, take_request
from appliance.service import Service
from firmware.alarms.board import read_acknowledgements
from firmware.audit import Audit
from firmware.boxwatch import BoxStatus
from firmware.model import Camera, Flow, UdpOutput
from firmware.places import Places
from firmware.status import write_snapshot
from hw.health import Finding, Health
from hw.network import Network, read_network

from .paneling import PANEL, Stepped, alarmed, captured, live

Wait = Callable[..., object]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A root whose network has a link and a way out."""
    link = tmp_path / "sys/class/net/eth0"
    link.mkdir(parents=True)
    (link / "carrier").write_text("1\n")
    (tmp_path / "proc/net").mkdir(parents=True)
    row = "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    (tmp_path / "proc/net/route").write_text("Iface\tDestination\tGateway\n" + row)
    return tmp_path


@pytest.fixture
def panel(places: Places, board: Path) -> Iterator[Stepped]:
    (places.state / "panel.toml").write_text(PANEL)
    now_s = time.monotonic()
    paneld = Paneld(places, now_s, root=board)
    stepped = Stepped(paneld, now_s)
    stepped.run(0.01)
    assert not paneld.problem
    yield stepped
    paneld.close()


def test_on_air_is_lit_while_the_far_end_confirms_and_at_no_other_time(places: Places, panel: Stepped) -> None:
    panel.told(lambda: live(places), lambda: captured(places))
    assert panel.states == {"sys": "running", "in": "good", "a": "clean", "b": "clean", "on-air": "confirmed"}
    assert {levels["on-air"] for _, levels in panel.run(3)} == {1.0}
    panel.told(lambda: live(places, a={"confirmed": False}, b={"confirmed": False}), settle_s=0.5)
    assert panel.states["on-air"] == "lost"
    assert {levels["on-air"] for _, levels in panel.run(3)} == {0.0, 1.0}, "it blinks"


def test_a_snapshot_that_nobody_renews_says_nothing(places: Places, panel: Stepped) -> None:
    panel.told(lambda: live(places), lambda: captured(places))
    Service(places).create(definition(), start=True)
    panel.run(1.1)
    assert panel.states["on-air"] == "confirmed"
    panel.renew = []
    panel.run(3.6)
    assert panel.states == {"sys": "running", "in": "unknown", "a": "unknown", "b": "unknown", "on-air": "unknown"}
    panel.run(15)
    assert panel.states["sys"] == "box"
    panel.told(lambda: live(places), lambda: captured(places), settle_s=0.5)
    assert panel.states == {"sys": "running", "in": "good", "a": "clean", "b": "clean", "on-air": "confirmed"}


def test_a_worker_that_is_gone_is_known_at_once(places: Places, panel: Stepped) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    panel.told(lambda: live(places), lambda: captured(places))
    panel.told(lambda: live(places, pid=gone.pid), settle_s=0.3)
    assert panel.states["on-air"] == "unknown"


def test_a_flow_that_nobody_wants_is_forgotten_after_a_while(places: Places, panel: Stepped) -> None:
    panel.told(lambda: live(places), lambda: captured(places))
    panel.renew = [lambda: alarmed(places)]
    panel.run(3.6)
    assert (panel.states["on-air"], panel.states["a"]) == ("unknown", "unused")
    panel.run(60)
    assert set(panel.states.values()) == {"running", "unused", "off"}


def definition(**changes: object) -> Flow:
    outputs = [UdpOutput(name=name, host="127.0.0.1", port=port) for name, port in (("path-a", 5000), ("path-b", 5002))]
    fields: dict[str, object] = {"name": "court-3", "sources": [Camera(name="cam")], "outputs": outputs}
    return Flow(**fields | changes)  # type: ignore[arg-type]


def test_what_lay_there_before_the_panel_began_is_not_believed(places: Places, board: Path) -> None:
    live(places)
    old = time.time() - 60
    os.utime(places.snapshot("court-3"), (old, old))
    now_s = time.monotonic()
    assert Look(places, root=board, began_s=now_s).known(now_s).told.status is None


def test_a_path_that_repairs_says_so_for_ten_seconds(places: Places, panel: Stepped) -> None:
    for repaired in (5, 9):
        panel.told(lambda repaired=repaired: live(places, a={"repaired": repaired}), lambda: captured(places))  # type: ignore[misc]
    assert (panel.states["a"], panel.states["b"]) == ("repairing", "clean")
    panel.run(11)
    assert panel.states["a"] == "clean"


def test_faults_of_the_network_and_their_numbers(places: Places, panel: Stepped, board: Path) -> None:
    panel.told(lambda: alarmed(places))
    assert panel.states["sys"] == "running"
    (board / "proc/net/route").write_text("Iface\n")
    assert not read_network(board).way_out
    panel.run(2.3)
    assert panel.states["sys"] == "way-out"
    (board / "sys/class/net/eth0/carrier").write_text("0\n")
    panel.run(2.3)
    flashes = sum(later["sys"] > earlier["sys"] for (_, earlier), (_, later) in pairwise(panel.run(2 * 2.7)))
    assert panel.states["sys"] == "link"
    assert flashes in (3, 4, 5), "two in each 2.7 s"


def test_what_the_box_tells_of_itself(places: Places, panel: Stepped) -> None:
    """A panel in a network of its own sees no link; who watches the box does."""
    weak = Finding("under-voltage", "fault", "The power supply is too weak.", 0)

    def told(*findings: Finding) -> None:
        write_snapshot(places.box, BoxStatus(at=time.time(), health=Health(), findings=list(findings), network=Network(link=False)))

    panel.told(told)
    assert panel.states["sys"] == "link"
    panel.told(lambda: told(weak))
    assert panel.states["sys"] == "power", "causes come before what they cause"
    panel.renew = [lambda: alarmed(places)]
    panel.run(25)
    assert panel.states["sys"] == "running", "what is old says nothing"


def test_a_machine_without_any_link_to_look_at(tmp_path: Path) -> None:
    assert read_network(tmp_path) == Network(link=True, way_out=True)
    six = tmp_path / "proc/net/ipv6_route"
    six.parent.mkdir(parents=True)
    six.write_text(f"{'0' * 32} 00 {'0' * 32} 00 {'fe80' + '0' * 27 + '1'} 00000400 00000001 00000000 00000003     eth0\n")
    link = tmp_path / "sys/class/net/eth0"
    link.mkdir(parents=True)
    assert read_network(tmp_path) == Network(link=False, way_out=False), "a link that is down tells no carrier"
    (link / "carrier").write_text("1\n")
    assert read_network(tmp_path) == Network(link=True, way_out=True)


def test_a_press_acknowledges_what_flashes_and_what_is_raised(places: Places, panel: Stepped, board: Path, wait_for: Wait) -> None:
    (board / "sys/class/net/eth0/carrier").write_text("0\n")
    panel.told(lambda: alarmed(places, "output-down", "merge-lost"), settle_s=2.3)
    assert panel.states["sys"] == "link"
    panel.hold(0.2)
    wait_for(lambda: len(read_acknowledgements(places.run)) == 2, 10, "both alarms to be acknowledged")
    assert {one.by for one in read_acknowledgements(places.run).values()} == {"button"}
    panel.run(0.3)
    assert panel.states["sys"] == "notice", "it is still there"
    recorded = [(each.who, each.what, each.origin) for each in Audit(places.audit).read()]
    assert recorded == [("button", "alarm.ack", "panel")] * 2


def test_a_press_with_nothing_to_acknowledge_identifies_the_box(places: Places, panel: Stepped) -> None:
    panel.told(lambda: alarmed(places))
    panel.hold(0.2)
    panel.run(0.3)
    assert panel.states["sys"] == "identify"
    assert panel.paneld.actions.last == "identify"
    panel.hold(0.2)
    panel.run(0.3)
    assert panel.states["sys"] == "running"


def test_a_hold_starts_the_flow_only_where_panel_toml_allows_it(places: Places, panel: Stepped, wait_for: Wait) -> None:
    service = Service(places)
    service.create(definition())
    panel.told(lambda: alarmed(places))
    panel.hold(2.4)
    assert panel.paneld.actions.last == ""
    (places.state / "panel.toml").write_text(PANEL + "start_stop = true\n")
    panel.run(0.5)
    panel.hold(2.4)
    wait_for(lambda: panel.paneld.actions.last == "started court-3", 10, "the flow to be started")
    assert service.get("court-3").desired == "ACTIVE"
    service.lock("court-3", datetime.now(UTC) + timedelta(hours=1), "cup final")
    panel.hold(2.4)
    wait_for(lambda: "cup final" in panel.paneld.actions.last, 10, "the lock to be met")
    assert service.get("court-3").desired == "ACTIVE"
    button = [(each.what, each.outcome) for each in Audit(places.audit).read() if each.who == "button"]
    assert button == [("StartFlow", "done"), ("StopFlow", "refused")]


def test_set_up_and_factory_are_asked_for_and_not_pretended(places: Places, panel: Stepped, wait_for: Wait) -> None:
    panel.told(lambda: alarmed(places))
    before = panel.states
    for seconds, what in ((4.0, "set-up"), (11.0, "factory")):
        panel.hold(seconds)
        wait_for(lambda: (places.run / "panel.request.json").exists(), 10, "the request")
        request = take_request(places)
        assert request
        assert request.what == what
        assert take_request(places) is None, "it is carried out once"
    panel.run(0.3)
    assert panel.states == before, "no lamp says what nobody does"
    wait_for(lambda: panel.paneld.actions.last == "asked for factory settings", 10, "the words")


def test_sys_shows_what_letting_go_would_mean(places: Places, panel: Stepped) -> None:
    panel.told(lambda: alarmed(places))
    seen, begin = panel.hold(21.0), panel.now_s - 21.1

    def within(first: float, last: float) -> set[bool]:
        return {levels["sys"] > 0 for at, levels in seen if first < at - begin < last}

    assert within(0.3, 0.7) == {True}
    assert within(0.9, 2.9) == {True, False}
    assert within(3.2, 4.9) == {True}
    assert within(5.3, 9.9) == {True, False}
    assert within(10.4, 19.9) == {True}
    assert within(20.3, 20.9) == {False}
    assert panel.paneld.actions.last == ""


def test_a_dark_stage_and_its_tally(places: Places, panel: Stepped) -> None:
    set_dark(places, dark=True)
    panel.told(lambda: live(places), lambda: captured(places))
    assert panel.levels() == {"sys": 0, "in": 0, "a": 0, "b": 0, "on-air": 1}
    (places.state / "panel.toml").write_text(PANEL + "[light]\ndark_keeps_on_air = false\n")
    panel.run(0.5)
    assert set(panel.levels().values()) == {0}
    set_dark(places, dark=False)
    panel.run(0.5)
    assert panel.levels()["on-air"] == 1


def test_another_panel_toml_is_taken_and_a_wrong_one_is_said(places: Places, panel: Stepped) -> None:
    panel.told(lambda: live(places), lambda: captured(places))
    (places.state / "panel.toml").write_text(PANEL.replace("pin = 26", "pin = 5"))
    panel.run(0.5)
    assert "lamps.on-air.pin: pin 5 is the pin of lamps.in.pin already" in panel.paneld.problem
    (places.state / "panel.toml").write_text(PANEL.replace("pin = 26", "pin = 25"))
    panel.run(1.1)
    assert panel.paneld.problem == ""
    assert panel.pin(25).state == 1


def test_night_dims(places: Places, panel: Stepped) -> None:
    panel.told(lambda: live(places), lambda: captured(places))
    (places.state / "panel.toml").write_text(PANEL + '[light]\nnight = "00:00-23:59"\nnight_brightness = 10\n')
    panel.run(1.1)
    assert panel.pin(5).state == pytest.approx(0.1)
    (places.state / "panel.toml").write_text(PANEL + "[light]\nbrightness = 50\n")
    panel.run(0.5)
    assert panel.pin(5).state == pytest.approx(0.5)


def test_what_a_killed_panel_left_lit_is_left_to_the_kernel(places: Places, tmp_path: Path) -> None:
    folder = tmp_path / "sys/class/leds/pressbox:red:on-air"
    folder.mkdir(parents=True)
    for name, text in (("brightness", "1"), ("max_brightness", "1"), ("trigger", "[none] timer")):
        (folder / name).write_text(text)
    assert let_go(places, tmp_path) == 0
    assert ((folder / "brightness").read_text(), (folder / "trigger").read_text()) == ("0", "none")
    (places.state / "panel.toml").write_text('[lamps.sys]\nled = "gone"\n')
    assert let_go(places, tmp_path) == 0


def test_the_process_tells_what_it_shows_and_ends_with_its_parent(places: Places, wait_for: Wait) -> None:
    (places.state / "panel.toml").write_text(PANEL)
    environment = os.environ | {"PRESSBOX_STATE": str(places.state), "PRESSBOX_RUN": str(places.run)}
    command = [sys.executable, "-m", "appliance.paneld", "--with-parent"]
    with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE) as process:
        wait_for(lambda: read_panel_status(places), 20, "the panel")
        identify(places)
        told = wait_for(lambda: (told := read_panel_status(places)) and told.identify and told, 10, "identify")
        assert told.lamps["sys"].state == "identify"  # type: ignore[attr-defined]
        assert told.lamps["sys"].wired == "GPIO17 GPIO27 GPIO22"  # type: ignore[attr-defined]
        second = subprocess.run(command[:-1], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=20)
        assert (second.returncode, "another panel runs" in second.stderr) == (1, True)
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE) as standby:
            assert standby.stdin
            standby.stdin.write(b"\n")
            standby.stdin.flush()
            with pytest.raises(subprocess.TimeoutExpired):
                standby.wait(1)
            standby.stdin.close()
            assert standby.wait(20) == 0
        assert process.stdin
        process.stdin.close()
        assert process.wait(10) == 0


def test_the_service_manager_is_told_while_the_loop_goes_round(places: Places, wait_for: Wait) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(places.run / "notify"))
        manager.settimeout(20)
        environment = os.environ | {"PRESSBOX_STATE": str(places.state), "PRESSBOX_RUN": str(places.run)}
        environment |= {"NOTIFY_SOCKET": str(places.run / "notify"), "WATCHDOG_USEC": "800000"}
        with subprocess.Popen([sys.executable, "-m", "appliance.paneld"], env=environment, cwd=ROOT) as process:
            told = [manager.recv(4096).decode().splitlines()[0] for _ in range(4)]
            assert told == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
            process.terminate()
            wait_for(lambda: manager.recv(4096) == b"STOPPING=1", 20, "the end")
            assert process.wait(10) == 0
