"""What a person sees, what the engine is asked, and who is turned away."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.service import Service
from firmware.audit import Audit
from firmware.model import Camera, Flow, SrtListenerOutput, SrtListenerSource
from firmware.places import Places
from firmware.status import EndStatus, MergeStatus
from firmware.store import Store

from .boxes import leg, on_air, path, received, seen

ROOT = Path(__file__).parents[2]


def state(client: FlaskClient, flow: str) -> tuple[str, list[str]]:
    found = next(one for one in client.get("/status.json").get_json()["flows"] if one["name"] == flow)
    return found["word"], found["reasons"]


def test_nothing_yet(client: FlaskClient) -> None:
    assert "Nothing runs here yet" in seen(client)


def test_a_box_on_air_and_its_paths(client: FlaskClient, places: Places) -> None:
    on_air(places)
    text = seen(client)
    assert re.search(r"LIVE court-3 01:42:0\d", text)
    assert "pattern picture encoded by libx264 superfast, CBR" in text
    assert "path-a connected SRT caller · 203.0.113.9:5000" in text
    assert "Bitrate 5.78 Mb/s Sent 3 346 112 Repaired 412 Lost 0 RTT 18 ms of 250" in text


def test_a_local_flow_and_its_merge(client: FlaskClient, places: Places) -> None:
    received(places)
    text = seen(client)
    assert "LIVE studio" in text
    assert "recovered merged waits up to 200 ms for the slower copy Skew 46 ms Released 3 346 000" in text
    assert "Saved by path-a 380 Saved by path-b 32 Lost 0" in text
    assert "truck connected SRT listener · 192.0.2.44:50113 · 1 watching" in text


DOWN = path("path-b", "", state="connecting", message="timed out", rate_bps=0)


@pytest.mark.parametrize(
    ("changes", "word", "reason"),
    [
        ({"outputs": [path("path-a", "x:1"), DOWN]}, "AT RISK", "path-b: timed out"),
        ({"outputs": [DOWN]}, "NOT ARRIVING", "path-b: timed out"),
        ({"outputs": []}, "NOT ARRIVING", "nobody has called for it yet"),
        ({"picture": "slate"}, "SLATE", "the camera gives no picture; the slate is sent instead"),
        ({"picture": "none"}, "NO PICTURE", "the camera gives nothing"),
        ({"state": "STARTING"}, "STARTING", ""),
        ({"state": "ERROR", "message": "port 5000 is in use"}, "ERROR", "port 5000 is in use"),
        ({"at": time.time() - 9}, "NO NEWS", "its worker hangs or is gone"),
    ],
)
def test_the_state_of_a_box_in_words(client: FlaskClient, places: Places, changes: dict[str, object], word: str, reason: str) -> None:
    if "at" in changes:
        changes = {"at": time.time() - 9}
    on_air(places, **changes)
    found, reasons = state(client, "court-3")
    assert found == word
    assert reason in " ".join(reasons)
    assert word in seen(client)


@pytest.mark.parametrize(
    ("changes", "word", "reason"),
    [
        ({"sources": [leg("path-a"), leg("path-b", state="waiting")]}, "AT RISK", "path-b: waiting"),
        (
            {"sources": [leg("path-a", state="waiting"), leg("path-b", state="failed", message="port in use")]},
            "NOT ARRIVING",
            "port in use",
        ),
        ({"rate_bps": 0.0}, "NOT ARRIVING", "connected, but nothing comes"),
        ({"merge": MergeStatus(state="one leg", message="path-b is another stream")}, "AT RISK", "path-b is another stream"),
        ({"merge": MergeStatus(state="merged", skew_ms=-150, window_ms=200)}, "AT RISK", "the copies are 150 ms apart"),
        ({"outputs": [EndStatus(name="out", protocol="srt-caller", state="failed", message="refused")]}, "AT RISK", "out: refused"),
    ],
)
def test_the_state_of_a_local_flow_in_words(
    client: FlaskClient, places: Places, changes: dict[str, object], word: str, reason: str
) -> None:
    received(places, **changes)
    found, reasons = state(client, "studio")
    assert found == word
    assert reason in " ".join(reasons)


def test_a_loss_keeps_the_flow_at_risk_for_a_while(client: FlaskClient, places: Places, wait_for: Callable[..., bool]) -> None:
    received(places)
    assert state(client, "studio") == ("LIVE", [])
    received(places, merge=MergeStatus(state="merged", lost=3))
    wait_for(lambda: state(client, "studio")[0] != "LIVE", 3, "the loss")
    assert state(client, "studio") == ("AT RISK", ["3 packets lost within the last 10 s"])


def test_stored_flows_that_do_not_run(client: FlaskClient, places: Places) -> None:
    source = SrtListenerSource(name="a", port=5000, clear=True)
    Store(places.store).create(Flow(name="spare", sources=[source]))
    Store(places.store).create(Flow(name="wanted", sources=[source]), "ACTIVE")
    assert state(client, "spare")[0] == "STANDBY"
    assert state(client, "wanted") == ("NOT RUNNING", ["it should run, and no worker reports"])
    assert "pressbox flow start spare" in seen(client)


def test_a_damaged_store_is_said_and_running_flows_still_show(client: FlaskClient, places: Places) -> None:
    on_air(places)
    places.store.write_bytes(b"x" * 4096)
    text = seen(client)
    assert "is damaged" in text
    assert "LIVE court-3" in text


def test_a_broken_snapshot_hides_nothing_else(client: FlaskClient, places: Places) -> None:
    on_air(places)
    places.snapshot("studio").write_bytes(b'{"name": "stu')
    assert "LIVE court-3" in seen(client)


def test_the_lines_that_play_an_output(client: FlaskClient, places: Places) -> None:
    output = SrtListenerOutput(name="truck", port=7001, secret="studio.truck")
    Store(places.store).create(
        Flow(name="studio", sources=[SrtListenerSource(name="a", port=5000, clear=True)], outputs=[output]), "ACTIVE"
    )
    received(places)
    assert (
        f'ffplay -fflags nobuffer -flags low_delay "srt://127.0.0.1:7001?mode=caller&latency=120000&passphrase=$(cat {places.secrets}'
        in seen(client)
    )


def test_the_preview(client: FlaskClient, places: Places) -> None:
    assert client.get("/flows/court-3/preview.jpg").status_code == 404
    places.preview("court-3").write_bytes(b"\xff\xd8jpeg")
    answer = client.get("/flows/court-3/preview.jpg")
    assert (answer.data, answer.mimetype, answer.headers["Cache-Control"]) == (b"\xff\xd8jpeg", "image/jpeg", "no-store")
    for name in ("..", ".hidden", "A", "x" * 64, "a%00b"):
        assert client.get(f"/flows/{name}/preview.jpg").status_code == 404


@pytest.mark.parametrize("url", ["/", "/live", "/status.json", "/static/live.js", "/static/page.css", "/nothing-here"])
def test_every_answer_is_hardened(client: FlaskClient, url: str) -> None:
    with client.get(url) as answer:
        headers = answer.headers
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_page_brings_everything_itself(client: FlaskClient, places: Places) -> None:
    on_air(places)
    received(places)
    html = client.get("/").get_data(as_text=True)
    assert not re.search(r"<script(?![^>]*src=)|<style|\bstyle=|\bon\w+=", html), "nothing inline"
    static = ROOT / "appliance/web/static"
    for text in (html, (static / "page.css").read_text(), (static / "live.js").read_text()):
        assert not re.search(r"https?://(?!www\.w3\.org)", text), "nothing from elsewhere"
    assert '<noscript><meta http-equiv="refresh"' in html


@pytest.mark.parametrize("host", ["evil.example", "192.0.2.1", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_foreign_name_is_turned_away(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 400
    assert client.get("/status.json", headers={"Host": f"{host}:8080"}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"])
def test_a_local_name_is_served(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("url", ["/", "/live", "/status.json", "/flows/court-3/preview.jpg"])
def test_pages_only_show(client: FlaskClient, url: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.open(url, method=method).status_code == 405


class Engine:
    """The far side of the control socket; keeps what it was asked."""

    def __init__(self, places: Places) -> None:
        self.asked: list[dict[str, object]] = []
        self.answer = {"ok": True}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(places.control))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                self.asked.append(json.loads(lines.readline()))
                connection.sendall(json.dumps(self.answer).encode() + b"\n")


@pytest.fixture
def engine(places: Places) -> Iterator[Engine]:
    engine = Engine(places)
    yield engine
    engine.listener.shutdown(socket.SHUT_RDWR)
    engine.listener.close()


CUT = "/flows/court-3/outputs/path-a/cut"
HERE = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}


def token(client: FlaskClient) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', client.get("/").text)
    assert found
    return found[1]


def test_a_cut_is_rehearsed(client: FlaskClient, places: Places, engine: Engine) -> None:
    on_air(places)
    answer = client.post(CUT, data={"token": token(client), "seconds": "5"}, headers=HERE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/#flow-court-3")
    assert engine.asked == [{"op": "cut", "flow": "court-3", "output": "path-a", "seconds": 5}]
    assert "path-a is cut on purpose, 5 s left" in seen(client)


def recorded(places: Places) -> list[tuple[str, str, str, str, Any, str]]:
    return [(each.who, each.what, each.target, each.origin, each.after, each.outcome) for each in Audit(places.audit).read()]


def test_a_cut_is_recorded_before_it_is_asked_for(client: FlaskClient, places: Places, engine: Engine) -> None:
    on_air(places)
    engine.answer = {"error": "path-a is cut already"}
    client.post(CUT, data={"token": token(client), "seconds": "30"}, headers=HERE)
    asked = ("page", "CutOutput", "court-3", "127.0.0.1", {"output": "path-a", "seconds": 30})
    assert recorded(places) == [(*asked, "done"), (*asked, "refused")]


def test_a_cut_that_cannot_be_recorded_is_none(client: FlaskClient, places: Places, engine: Engine) -> None:
    on_air(places)
    places.audit.mkdir()
    answer = client.post(CUT, data={"token": token(client)}, headers=HERE)
    assert (answer.status_code, "Nothing was cut, because it cannot be recorded" in answer.text) == (503, True)
    assert engine.asked == []


def test_a_cut_from_the_command_line_is_recorded(client: FlaskClient, places: Places, engine: Engine) -> None:
    Service(places).cut("court-3", "path-a", 5.0)
    assert [(what, origin, after) for _, what, _, origin, after, _ in recorded(places)] == [
        ("CutOutput", "console", {"output": "path-a", "seconds": 5.0})
    ]


def test_a_locked_flow_is_not_cut(client: FlaskClient, places: Places, engine: Engine, wait_for: Callable[..., bool]) -> None:
    on_air(places)
    good = token(client)
    service = Service(places)
    service.store.create(Flow(name="court-3", sources=[Camera(name="cam")]), "ACTIVE")
    service.lock("court-3", datetime.now(UTC) + timedelta(hours=1), "cup final")
    assert wait_for(lambda: "cup final" in seen(client))
    assert "Rehearse a cut" not in seen(client)
    answer = client.post(CUT, data={"token": good}, headers=HERE)
    assert (answer.status_code, "locked by" in answer.text, "cup final" in answer.text) == (409, True, True)
    assert engine.asked == []
    assert recorded(places)[-1][1:3] + recorded(places)[-1][5:] == ("CutOutput", "court-3", "refused")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:81"},
    ],
    ids=str,
)
def test_a_form_from_another_site_is_refused(client: FlaskClient, places: Places, engine: Engine, headers: dict[str, str]) -> None:
    on_air(places)
    answer = client.post(CUT, data={"token": token(client)}, headers=headers)
    assert answer.status_code == 403
    assert "came from another site" in answer.text
    assert engine.asked == []


@pytest.mark.parametrize("data", [{}, {"token": ""}, {"token": "0" * 64}, {"token": "ä"}], ids=str)
def test_a_form_without_our_token_is_refused(client: FlaskClient, places: Places, engine: Engine, data: dict[str, str]) -> None:
    on_air(places)
    answer = client.post(CUT, data=data, headers=HERE)
    assert answer.status_code == 403
    assert "Reload the page" in answer.text
    assert engine.asked == []


@pytest.mark.parametrize("seconds", ["0", "31", "-1", "5.5", "", "99999999999", "٣"])
def test_a_cut_has_its_limits(client: FlaskClient, places: Places, engine: Engine, seconds: str) -> None:
    on_air(places)
    answer = client.post(CUT, data={"token": token(client), "seconds": seconds}, headers=HERE)
    assert (answer.status_code, "A cut lasts 1 to 30 seconds" in answer.text) == (400, True)
    assert engine.asked == []


def test_the_last_path_is_never_cut(client: FlaskClient, places: Places, engine: Engine, wait_for: Callable[..., bool]) -> None:
    on_air(places)
    good = token(client)
    on_air(places, name="court-4", outputs=[path("path-a", "x:1"), DOWN])
    wait_for(lambda: "court-4" in seen(client), 3, "the second flow")
    answer = client.post("/flows/court-4/outputs/path-a/cut", data={"token": good}, headers=HERE)
    assert answer.status_code == 409
    assert "a cut of path-a would take it off air" in answer.text
    assert engine.asked == []


def test_a_cut_of_what_is_not_there(client: FlaskClient, places: Places, engine: Engine) -> None:
    on_air(places)
    answer = client.post("/flows/court-3/outputs/path-z/cut", data={"token": token(client)}, headers=HERE)
    assert (answer.status_code, "no output path-z of a flow court-3" in answer.text) == (404, True)


def test_the_engine_refuses_in_its_own_words(client: FlaskClient, places: Places, engine: Engine) -> None:
    on_air(places)
    engine.answer = {"error": "path-a is cut already"}
    answer = client.post(CUT, data={"token": token(client)}, headers=HERE)
    assert (answer.status_code, "path-a is cut already" in answer.text) == (502, True)


def test_an_engine_that_is_not_there(client: FlaskClient, places: Places) -> None:
    on_air(places)
    answer = client.post(CUT, data={"token": token(client)}, headers=HERE)
    assert (answer.status_code, "The engine cannot be reached" in answer.text) == (502, True)


def test_prometheus_reads_what_the_flows_do(client, places):
    on_air(places)
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert 'flow="court-3"' in answer.get_data(as_text=True)
