"""The engine with workers that cannot start, are killed, or change while they run."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.exits import AUTH
from appliance.service import Service
from firmware.model import parse_flow
from firmware.secrets import generate
from firmware.status import FlowStatus, read_snapshot
from tests.lab.programs import Program, pressbox, wait_until
from tests.lab.recorder import Recorder
from tests.wire.streams import stream

CAMERA = {"protocol": "camera", "name": "camera", "width": 320, "height": 180, "video_bps": 300_000, "preset": "ultrafast"}


@contextmanager
def engine(places) -> Iterator[Program]:
    with Program.pressbox(places, "run", "--no-web") as box:
        wait_until(lambda: answers(places, b'{"op": "apply"}\n') == {"ok": True}, what="the engine is up", among=[box])
        yield box
        assert not box.said("Traceback"), str(box)


def answers(places, request: bytes) -> dict | None:
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5)
            control.connect(str(places.control))
            control.sendall(request)
            control.shutdown(socket.SHUT_WR)
            answer = control.makefile("rb").readline()
            return json.loads(answer) if answer else None
    except (ConnectionError, FileNotFoundError):
        return None


def status(places, flow: str) -> FlowStatus | None:
    found = read_snapshot(places.snapshot(flow), FlowStatus)
    return None if found is None or found.stale else found


def udp(name: str, port: int) -> dict:
    return {"protocol": "udp", "name": name, "host": "127.0.0.1", "port": port}


def create(places, name: str, sources: list, outputs: list) -> None:
    Service(places).create(parse_flow({"name": name, "sources": sources, "outputs": outputs}), start=True)


@pytest.mark.parametrize("protocol", ["udp", "rtp", "srt-listener"])
def test_a_port_in_use_is_told_and_taken_as_soon_as_it_is_free(places, protocol):
    with engine(places) as box, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        more = {"clear": True} if protocol.startswith("srt") else {}
        create(places, "a", [{"protocol": protocol, "name": "in", "port": port} | more], [])
        sentence = f"UDP port {port} of 127.0.0.1 is in use; choose another port, or end what holds it"
        failed = wait_until(lambda: (s := status(places, "a")) and s.sources and s, what="a status", among=[box])
        assert (failed.sources[0].state, failed.sources[0].message) == ("failed", sentence)
        assert sentence in pressbox(places, "status").stdout
        taken.close()
        wait_until(lambda: (s := status(places, "a")) and s.sources[0].state == "waiting", what="it recovers", among=[box])


def test_a_libsrt_that_is_missing_is_told(places, udp_port, monkeypatch):
    monkeypatch.setenv("PRESSBOX_LIBSRT", "/no/libsrt.so")
    with engine(places) as box:
        create(places, "a", [{"protocol": "srt-listener", "name": "in", "port": udp_port(), "clear": True}], [])
        wait_until(lambda: "/no/libsrt.so, which cannot be loaded" in pressbox(places, "status").stdout, what="the sentence", among=[box])


def test_a_secret_that_went_away_is_told_and_waited_for(places, udp_port):
    Service(places).secrets.set("path-a", generate())
    create(places, "a", [{"protocol": "srt-listener", "name": "in", "port": udp_port(), "secret": "path-a"}], [])
    assert pressbox(places, "secret", "delete", "path-a").returncode == 0
    with engine(places) as box:
        error = wait_until(lambda: (s := status(places, "a")) and s.state == "ERROR" and s, what="ERROR", among=[box])
        assert error.message == "the secret `path-a` is missing; set it with: pressbox secret set path-a"
        assert error.message in pressbox(places, "status").stdout
        assert pressbox(places, "flow", "start", "a").returncode == AUTH
        assert pressbox(places, "secret", "generate", "path-a").returncode == 0
        wait_until(lambda: (s := status(places, "a")) and s.state == "ACTIVE", what="it recovers", among=[box])


def test_a_film_that_went_away_is_told_while_the_slate_plays(places, tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film")
    with engine(places) as box:
        create(places, "a", [CAMERA | {"camera": f"clip:{film}"}], [udp("out", 9)])
        film.unlink()
        sentence = f"camera `clip:{film}` cannot be read: No such file or directory"
        wait_until(lambda: sentence in (said := pressbox(places, "status").stdout) and "SLATE" in said, what="the sentence", among=[box])


def test_garbage_on_the_control_socket_is_answered_in_words(places):
    with engine(places) as box:
        for request in (
            b"",
            b"\n",
            b"\xff\xfe\n",
            b"[]\n",
            b"{}\n",
            b'{"op": []}\n',
            b'{"op": "burn"}\n',
            b"x" * 70_000,
            b'{"op": "cut"}\n',
        ):
            answer = answers(places, request)
            assert answer is None or set(answer) == {"error"}, answer
        assert answers(places, b'{"op": "burn"}\n') == {"error": "op: `burn` is unknown; allowed are apply, cut, stop"}
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(places.control))  # and says nothing
            assert answers(places, b'{"op": "apply"}\n') == {"ok": True}
        assert box.process.poll() is None


def test_outputs_come_and_go_without_a_gap_at_the_others(places, udp_port):
    port = udp_port()
    source = [{"protocol": "udp", "name": "in", "port": port}]
    service = Service(places)
    with engine(places) as box, Recorder() as stays, Recorder() as comes, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        create(places, "a", source, [udp("stays", stays.port)])
        wait_until(lambda: status(places, "a"), what="it runs", among=[box])
        pid, sent, datagrams = status(places, "a").pid, [], iter(stream(60))

        def flow(count: int) -> None:
            for datagram in (next(datagrams) for _ in range(count)):
                sender.send(datagram)
                sent.append(datagram)
                wait_until(lambda: len(stays.datagrams) == len(sent), what="it comes out", among=[box])

        changes = [
            [udp("comes", comes.port)],
            [],
            [udp("comes", comes.port), {"protocol": "srt-listener", "name": "bad", "port": port, "clear": True}],
            [udp("nowhere", 9) | {"bind_address": "192.0.2.1"}],
            [],
        ]
        for more in changes:
            service.replace(parse_flow({"name": "a", "sources": source, "outputs": [udp("stays", stays.port), *more]}))
            wait_until(lambda: (s := status(places, "a")) and len(s.outputs) == 1 + len(more), what="it changes", among=[box])  # noqa: B023
            before = len(comes.datagrams)
            flow(40)
            if any(output["name"] == "comes" for output in more):
                wait_until(lambda: len(comes.datagrams) == before + 40, what="the new output", among=[box])  # noqa: B023
        assert status(places, "a").pid == pid
        assert stays.datagrams == sent


def test_a_killed_engine_leaves_nobody_behind_and_the_next_one_starts_clean(places):
    with Recorder() as got:
        create(places, "a", [CAMERA], [udp("out", got.port)])
        with Program.pressbox(places, "run", "--no-web") as box:
            wait_until(lambda: len(got.datagrams) > 30, what="on air", among=[box])
            children = [int(pid) for pid in Path(f"/proc/{box.process.pid}/task/{box.process.pid}/children").read_text().split()]
            assert len(children) >= 3  # flow, capture, previews
            box.process.send_signal(signal.SIGKILL)
            assert box.wait() == -signal.SIGKILL
        wait_until(lambda: not any(map(alive, children)), what="the workers end by themselves")
        got.datagrams.clear()
        with engine(places) as box:
            wait_until(lambda: len(got.datagrams) > 30, what="on air again", among=[box])
            wait_until(lambda: (s := status(places, "a")) and s.picture == "live", what="a live picture", among=[box])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_folder_that_cannot_be_written_stops_no_stream(places, udp_port):
    port = udp_port()
    with engine(places) as box, Recorder() as got, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        create(places, "a", [{"protocol": "udp", "name": "in", "port": port}], [udp("out", got.port)])
        wait_until(lambda: status(places, "a"), what="it runs", among=[box])
        sender.connect(("127.0.0.1", port))
        os.rename(places.run, places.run.with_name("away"))
        sent, datagrams, enough = [], iter(stream(60)), time.monotonic() + 4  # longer than the engine trusts a worker without news
        while time.monotonic() < enough:
            sent.append(next(datagrams))
            sender.send(sent[-1])
            wait_until(lambda: len(got.datagrams) == len(sent), what="it comes out", among=[box])
        assert box.said("no snapshot can be written")
        os.rename(places.run.with_name("away"), places.run)
        wait_until(lambda: status(places, "a"), what="snapshots again", among=[box])
        assert got.datagrams == sent
        assert not box.said("started again"), str(box)
