"""The command with the new kinds of transport, as real processes: SRTP with FEC over two paths, RIST, outputs switched off and on."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from itertools import islice
from typing import Self

import pytest

from appliance.exits import AUTH, OK, USAGE
from appliance.oneshot import warn_of_clear_ends
from firmware.model import Camera, Flow
from firmware.secrets import parse_srtp_key
from firmware.urls import parse_output
from tests.lab.feed import stream
from tests.lab.ports import FEC, free_ports
from tests.lab.programs import Program, pressbox, wait_until
from tests.lab.recorder import Recorder

PATTERN = "pattern?size=320x180&preset=ultrafast&bitrate=300k"


def do(places, *arguments: str, stdin: str = "") -> str:
    ended = pressbox(places, *arguments, stdin=stdin)
    assert ended.returncode == OK, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


LONG_S = 30.0  # for several processes to start on a busy machine


def last(program: Program) -> dict:
    return json.loads(program.out[-1]) if program.out else {}


class Encoder:
    """Sends its next datagrams to `pressbox send` each time it is asked whether something happened."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self._datagrams = stream(2_000_000)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def until(self, happened: Callable[[], object]) -> Callable[[], object]:
        def feed() -> object:
            for datagram in islice(self._datagrams, 4):
                for port in self.ports:
                    self._socket.sendto(datagram, ("127.0.0.1", port))
            return happened()

        return feed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def test_an_encrypted_pair_with_fec(places, udp_port):
    do(places, "secret", "generate", "show", "--srtp")
    ports, fed = free_ports(2, FEC), udp_port()
    sources = [f"srtp://@:{port}?key=secret:show&fec=on" for port in ports]
    outputs = [f"srtp://127.0.0.1:{port}?key=secret:show&fec=5x5" for port in ports]
    with Recorder() as got, Encoder(fed) as encoder:
        arguments = ("recv", sources[0], "--second", sources[1], "--window", "1000", f"udp://127.0.0.1:{got.port}")
        with (
            Program.pressbox(places, *arguments, "--stats", "0.2", "--json") as recv,
            Program.pressbox(places, "send", f"udp://@:{fed}", *outputs, "--stats", "0.2", "--json") as send,
        ):
            both = [recv, send]
            wait_until(lambda: recv.out and send.out, LONG_S, what="both are up", among=both)
            wait_until(encoder.until(lambda: last(recv)["merge"]["state"] == "merged" and got.datagrams), LONG_S, what="merged", among=both)
            wait_until(encoder.until(lambda: last(recv)["sources"][0]["fec_matrix"] == "5x5"), LONG_S, what="the matrix", among=both)
            assert [end["encryption"] for end in last(send)["outputs"]] == ["SRTP, AES-256-GCM"] * 2
            told = last(recv)
            assert [end["encryption"] for end in told["sources"]] == ["SRTP, AES-256-GCM"] * 2
            assert told["account"]["alone"].keys() == {"in-a", "in-b"}
            assert told["outputs"][0]["encryption"] == "in the clear"


def test_rist_from_end_to_end(places, udp_port):
    do(places, "secret", "generate", "show")
    port, second, fed = udp_port(), udp_port(), udp_port()
    while abs(port - second) < 2:
        second = udp_port()
    with Recorder() as got, Encoder(fed) as encoder:
        source = f"rist://@:{port}?secret=secret:show&second={second}&buffer=100"
        output = f"rist://127.0.0.1:{port}?secret=secret:show&second={second}&buffer=100"
        with (
            Program.pressbox(places, "recv", source, f"udp://127.0.0.1:{got.port}", "--stats", "0.2") as recv,
            Program.pressbox(places, "send", f"udp://@:{fed}", output, "--stats", "0.2") as send,
        ):
            wait_until(lambda: recv.errors and send.errors, LONG_S, what="both are up", among=[recv, send])
            wait_until(encoder.until(lambda: len(got.datagrams) > 30), LONG_S, what="a stream", among=[recv, send])
            for program in (send, recv):
                program.process.terminate()
                assert program.wait() == OK
        assert recv.said("encryption: in-a RIST, AES-256; out-1 in the clear")
        assert recv.said("saved: ")
        assert not recv.said("without a passphrase")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rist://127.0.0.1:5000", "RIST without a passphrase is in the clear; add secret=@file:PATH to the URL"),
        ("rist://127.0.0.1:5000?profile=simple", "RIST in simple profile is in the clear"),
        ("srt://127.0.0.1:5000", "SRT without a passphrase is in the clear; add passphrase=@file:PATH to the URL"),
        ("rist://127.0.0.1:5000?secret=secret:show", ""),
    ],
)
def test_an_end_in_the_clear_is_said_at_once(capsys, url, words):
    flow = Flow(name="a", sources=[Camera(name="camera")], outputs=[parse_output(url, "out-1").end])
    warn_of_clear_ends(flow, quiet=False)
    assert capsys.readouterr().err == (f"pressbox: out-1: {words}\n" if words else "")
    warn_of_clear_ends(flow, quiet=True)
    assert capsys.readouterr().err == ""


def test_a_failover_says_which_source_plays(places, udp_port):
    ports = udp_port(), udp_port()
    arguments = [f"udp://@:{ports[0]}", "--second", f"udp://@:{ports[1]}", "--recover", "failover", "--primary", "second"]
    with Recorder() as got, Encoder(ports[0]) as encoder:
        out = f"udp://127.0.0.1:{got.port}"
        with Program.pressbox(places, "recv", *arguments, "--silence", "300", out, "--stats", "0.2") as recv:
            wait_until(lambda: recv.errors, LONG_S, what="recv is up", among=[recv])
            wait_until(encoder.until(lambda: recv.said("in-a plays: in-b")), LONG_S, what="the event", among=[recv])
            wait_until(encoder.until(lambda: recv.said("in-a plays, ") and got.datagrams), LONG_S, what="what plays", among=[recv])
            wait_until(lambda: recv.said("alarm: the stream: "), LONG_S, what="the alarm", among=[recv])


@pytest.mark.parametrize("more", [(), ("--second", "udp://@:6000")])
def test_a_primary_source_needs_a_failover(places, more):
    ended = pressbox(places, "recv", "udp://@:5004", *more, "udp://127.0.0.1:5010", "--primary", "first")
    assert (ended.returncode, "--recover failover" in ended.stderr) == (USAGE, True)


def test_srtp_keys_are_made_kept_and_checked(places):
    do(places, "secret", "generate", "show", "--srtp")
    assert len(parse_srtp_key((places.secrets / "show").read_text())) == 44
    kept = (places.secrets / "show").read_text()
    ended = pressbox(places, "secret", "set", "show", "--srtp", stdin="correct horse battery\n")
    assert ended.returncode == AUTH
    assert "the secret `show` is not set: no SRTP key, which is 44 random bytes in base64" in ended.stderr
    assert "horse" not in ended.stderr
    assert (places.secrets / "show").read_text() == kept
    do(places, "secret", "set", "copy", "--srtp", stdin=kept + "\n")
    assert (places.secrets / "copy").read_text() == kept


def flow(**wall: object) -> str:
    output = {"protocol": "rtp-fec", "name": "wall", "host": "127.0.0.1", "port": 5004, "secret": "show"} | wall
    return json.dumps({"name": "hall", "sources": [{"protocol": "rist", "name": "in", "port": 5000, "clear": True}], "outputs": [output]})


def test_a_passphrase_where_a_key_belongs_is_said_before_the_flow_runs(places):
    do(places, "secret", "generate", "show")
    for ended in (
        pressbox(places, "flow", "create", "-", stdin=flow()),
        pressbox(places, "send", PATTERN, "srtp://127.0.0.1:5004?key=secret:show"),
    ):
        assert ended.returncode == AUTH
        assert "the secret `show` is no SRTP key" in ended.stderr
        assert (places.secrets / "show").read_text() not in ended.stderr
    assert do(places, "flow", "list") == ""
    do(places, "secret", "generate", "show", "--srtp")
    do(places, "flow", "create", "-", stdin=flow())
    assert do(places, "flow", "show", "hall", "--urls").splitlines() == [
        "in  in             rist://127.0.0.1:5000?buffer=200",
        "out wall           srtp://127.0.0.1:5004?key=secret:show&fec=10x10&ttl=16",
    ]


def test_an_output_is_switched_off_and_on(places):
    do(places, "secret", "generate", "show", "--srtp")
    do(places, "flow", "create", "-", stdin=flow())

    def wall() -> dict:
        return json.loads(do(places, "flow", "show", "hall"))["outputs"][0]

    before = wall()
    do(places, "flow", "disable", "hall", "wall")
    assert wall() == before | {"enabled": False}
    assert do(places, "flow", "show", "hall", "--urls").endswith("&ttl=16  (disabled)\n")
    do(places, "flow", "enable", "hall", "wall")
    assert wall() == before
    ended = pressbox(places, "flow", "disable", "hall", "walls")
    assert (ended.returncode, "`walls` is not of flow hall; it has wall" in ended.stderr) == (USAGE, True)


def test_help_teaches_the_urls(places):
    told = do(places, "send", "--help")
    for word in ("rist://HOST:PORT", "srtp://HOST:PORT", "fec=10x10", "gather=5", "dscp=34", "clear=yes", "@env:VARIABLE"):
        assert word in told
    assert "--srtp" in do(places, "secret", "--help")
    assert "disable" in do(places, "flow", "--help")
