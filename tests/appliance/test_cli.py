"""The command from end to end, as real processes: flows made, shown, changed and taken away; streams in the foreground."""

from __future__ import annotations

import json
import signal

import pytest

from appliance.exits import FAILED, OK, USAGE
from tests.lab.programs import Program, pressbox, wait_until
from tests.lab.recorder import Recorder

CAMERA = {"protocol": "camera", "name": "camera", "width": 320, "height": 180, "video_bps": 300_000, "preset": "ultrafast"}
PATTERN = "pattern?size=320x180&preset=ultrafast&bitrate=300k"


@pytest.fixture
def box(places):
    with Program.pressbox(places, "run", "--no-web") as box:
        wait_until(places.control.exists, what="the engine is up", among=[box])
        yield box
        assert not box.said("Traceback"), str(box)


def do(places, *arguments: str, stdin: str = "") -> str:
    ended = pressbox(places, *arguments, stdin=stdin)
    assert ended.returncode == OK, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def status(places, flow: str) -> dict:
    return next((one for one in json.loads(do(places, "status", "--json")) if one["name"] == flow), {})


def test_a_flow_from_its_making_to_its_end(places, box, udp_port):
    with Recorder() as got:
        outputs = [
            {"protocol": "udp", "name": "wall", "host": "127.0.0.1", "port": got.port},
            {"protocol": "srt-caller", "name": "path-a", "host": "127.0.0.1", "port": udp_port(), "secret": "path-a"},
        ]
        flow = {"name": "show", "sources": [CAMERA], "outputs": outputs}
        assert do(places, "secret", "generate", "path-a").startswith("path-a is in ")
        assert do(places, "secret", "list") == "path-a\n"
        do(places, "flow", "create", "-", stdin=json.dumps(flow))
        assert do(places, "flow", "list").split() == ["show", "STANDBY"]
        wait_until(lambda: status(places, "show").get("state") == "STANDBY", what="STANDBY", among=[box])
        shown = json.loads(do(places, "flow", "show", "show"))
        assert shown["sources"][0]["fps"] == 30
        assert shown["outputs"][1]["secret"] == "path-a"

        do(places, "flow", "start", "show")
        wait_until(lambda: len(got.datagrams) > 30, what="on air", among=[box])
        wait_until(lambda: status(places, "show").get("picture") == "live", what="live", among=[box])
        assert status(places, "show")["outputs"][1]["state"] == "connecting"
        told = do(places, "status")
        assert "show  LIVE" in told or "show  AT RISK" in told
        assert "nobody answers" in told or "connecting" in told
        assert json.loads(do(places, "flow", "list", "--json"))["desired"] == "ACTIVE"

        do(places, "cut", "show", "wall", "--seconds", "0.5")
        wait_until(lambda: status(places, "show")["outputs"][0]["state"] == "off", what="cut", among=[box])
        wait_until(lambda: status(places, "show")["outputs"][0]["state"] == "connected", what="restored", among=[box])

        refused = pressbox(places, "cut", "show", "walls")
        assert refused.returncode == FAILED
        assert refused.stderr == "pressbox: output: `walls` is not of flow show; it has wall, path-a\n"
        assert pressbox(places, "cut", "show", "wall", "--seconds", "99").returncode == FAILED
        assert pressbox(places, "flow", "create", "-", stdin=json.dumps(flow)).returncode == FAILED  # there is one

        do(places, "flow", "stop", "show")
        wait_until(lambda: status(places, "show").get("state") == "STANDBY", what="STANDBY", among=[box])
        do(places, "flow", "delete", "show")
        wait_until(lambda: not status(places, "show"), what="gone", among=[box])
        assert do(places, "flow", "list") == ""
        do(places, "secret", "delete", "path-a")
        assert do(places, "secret", "list") == ""


def test_a_flow_goes_on_through_a_restart_of_the_box(places):
    with Recorder() as got:
        outputs = [{"protocol": "udp", "name": "wall", "host": "127.0.0.1", "port": got.port}]
        flow = json.dumps({"name": "show", "sources": [CAMERA], "outputs": outputs})
        do(places, "flow", "create", "-", "--start", stdin=flow)
        for _ in range(2):
            before = len(got.datagrams)
            with Program.pressbox(places, "run", "--no-web") as box:
                wait_until(lambda: len(got.datagrams) > before + 30, what="on air", among=[box])  # noqa: B023
                box.process.send_signal(signal.SIGTERM)
                assert box.wait() == OK
                assert not box.said("started again"), str(box)


def test_send_says_how_it_goes_and_ends(places):
    with Recorder() as got, Recorder(strip=12) as rtp:
        outputs = (f"udp://127.0.0.1:{got.port}", f"rtp://127.0.0.1:{rtp.port}")
        ended = pressbox(places, "send", PATTERN, *outputs, "--seconds", "3", "--stats", "0.5", "--json")
        assert ended.returncode == OK
        assert ended.stderr == ""
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        assert len(lines) >= 5
        last = lines[-1]
        assert last["picture"] == "live"
        assert [end["name"] for end in (*last["sources"], *last["outputs"])] == ["in-a", "out-1", "out-2"]
        wait_until(lambda: len(got.datagrams) == last["outputs"][0]["packets"], what="every datagram that was counted")
        assert got.datagrams == rtp.datagrams


def test_a_failover_plays_whichever_comes(places, udp_port):
    ports = udp_port(), udp_port()
    with Recorder() as got:
        arguments = ("recv", f"udp://:{ports[0]}", "--second", f"udp://:{ports[1]}", "--recover", "failover", f"udp://127.0.0.1:{got.port}")
        with Program.pressbox(places, *arguments, "--stats", "0.2", "--json") as recv:
            for port in ports:
                before = len(got.datagrams)
                with Program.pressbox(places, "send", PATTERN, f"udp://127.0.0.1:{port}", "-q") as send:
                    wait_until(lambda: len(got.datagrams) > before + 30, what="plays", among=[recv, send])  # noqa: B023
            recv.process.send_signal(signal.SIGINT)
            assert recv.wait() == OK
        assert json.loads(recv.out[-1])["merge"]["state"] == "failover"


def test_every_command_explains_itself(places):
    told = do(places, "--help")
    for command in ("demo", "run", "status", "flow", "cut", "secret", "send", "recv"):
        assert command in told
        assert "Exit codes: 0 done" in do(places, command, "--help")
    assert pressbox(places).returncode == USAGE
    assert "pressbox demo" in do(places, "status")
