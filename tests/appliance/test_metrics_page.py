"""What was recorded, over HTTP: as a page with tables and as JSON with a bound, and what happens to questions that make no sense."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from appliance.web.figures import MOST_POINTS, RANGES
from firmware.alarms.board import Acknowledged, Alarm, Board, board_path
from firmware.places import Places
from firmware.status import write_snapshot

from .recordings import Recording

HOUR_S, DAY_S = 3600, 86_400


@pytest.fixture
def recording(places: Places) -> Recording:
    return Recording(places)


def asked(client: FlaskClient, query: str = "", flow: str = "studio") -> dict[str, Any]:
    answer = client.get(f"/flows/{flow}/metrics.json?{query}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def line(told: dict[str, Any], plot: str, key: str) -> dict[str, Any]:
    (found,) = (one for one in told["lines"] if (one["plot"], one["key"]) == (plot, key))
    return found


def read(client: FlaskClient, url: str) -> str:
    """The words of a page, without markup."""
    answer = client.get(url)
    assert answer.status_code == 200
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))).replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_every_second_of_the_last_five_minutes(client: FlaskClient, recording: Recording) -> None:
    now = int(time.time())
    recording.seconds(now - 60, 40)
    recording.seconds(now - 10, 11)
    told = asked(client)
    assert (told["range"], told["period_s"], told["until"]) == ("5m", 1, now + 1)
    first = told["until"] - len(line(told, "source-rtt", "sources/path-b")["values"])
    assert first == told["since"]
    rtt = dict(enumerate(line(told, "source-rtt", "sources/path-b")["values"], first))
    assert {at for at, value in rtt.items() if value == 60.0} == {*range(now - 60, now - 20), *range(now - 10, now + 1)}
    assert all(rtt[at] is None for at in range(now - 20, now - 10)), "a gap is a gap"
    assert line(told, "source-repaired", "flow")["values"][-1] == 3
    assert line(told, "source-lost", "sources/path-b")["values"][-1] == 1
    assert line(told, "output-bitrate", "outputs/out-1")["values"][-1] == pytest.approx(1.01e7, rel=1e-3)


def test_following_asks_for_what_is_new(client: FlaskClient, recording: Recording, wait_for: Callable[..., object]) -> None:
    now = int(time.time())
    recording.seconds(now - 199, 200)
    told = asked(client)
    recording.seconds(told["until"], 2)
    wait_for(lambda: time.time() > told["until"] + 1, 20, "the time of what is new")
    fresh = asked(client, f"since={told['until']}")
    assert line(fresh, "source-lost", "sources/path-b")["values"][:2] == [1, 1]
    assert fresh["since"] == told["until"]
    assert len(line(fresh, "merge", "flow")["values"]) == fresh["until"] - fresh["since"] <= 30
    whole = asked(client)
    for one in whole["lines"]:
        values = line(told, one["plot"], one["key"])["values"] + line(fresh, one["plot"], one["key"])["values"]
        followed = dict(enumerate(values, told["since"]))
        for at, value in enumerate(one["values"], whole["since"]):
            known = followed.get(at)
            assert value == known if known is None else value == pytest.approx(known, rel=1e-4)
    assert line(asked(client, f"since={now + 1000}"), "merge", "flow")["values"] == []


def test_a_longer_range_keeps_the_least_and_the_most_of_each_point(client: FlaskClient, recording: Recording) -> None:
    end = int(time.time()) // 60 * 60 - 60
    for at in range(end - 120, end):
        recording.second(at, 2e6 if at == end - 30 else 1e7)
    recording.seconds(end, int(time.time()) - end + 1)
    told = asked(client, "range=24h")
    bitrate = line(told, "source-bitrate", "flow")
    place = (end - 60 - told["since"]) // 60
    assert bitrate["least"][place] == pytest.approx(2e6, rel=1e-3), "one second of sixty is not averaged away"
    assert bitrate["most"][place] == pytest.approx(1e7, rel=1e-3)
    assert bitrate["values"][place] == pytest.approx((59 * 1e7 + 2e6) / 60, rel=1e-3)
    assert line(told, "source-repaired", "sources/path-a")["values"][place] == 120


@pytest.mark.parametrize("range_", RANGES)
def test_points_are_bounded(client: FlaskClient, recording: Recording, range_: str) -> None:
    recording.seconds(int(time.time()) - 5, 6)
    told = asked(client, f"range={range_}")
    assert told["until"] - told["since"] <= RANGES[range_].span_s + 2 * told["period_s"]
    assert {len(one["values"]) for one in told["lines"]} == {(told["until"] - told["since"]) // told["period_s"]}
    assert len(told["lines"][0]["values"]) <= MOST_POINTS


@pytest.mark.parametrize("span_s", [1, 10, 1497, 1500, 7200, DAY_S, 9 * DAY_S, 31 * DAY_S])
def test_a_stretch_of_its_own_is_as_fine_as_the_bound_allows(client: FlaskClient, recording: Recording, span_s: int) -> None:
    now = int(time.time())
    recording.seconds(now - 5, 6)
    told = asked(client, f"since={now - span_s}&until={now}")
    assert told["since"] <= now - span_s
    assert told["until"] >= now - 2
    assert all(len(one["values"]) <= MOST_POINTS for one in told["lines"])
    assert told["period_s"] == 1 or span_s / told["period_s"] > MOST_POINTS / 4


def test_many_outputs_stand_together_until_some_are_chosen(client: FlaskClient, places: Places) -> None:
    recording = Recording(places, outputs=50)
    recording.seconds(int(time.time()) - 3, 4)
    told = asked(client)
    assert [one["key"] for one in told["lines"] if one["plot"] == "output-bitrate"] == ["outputs"]
    together = line(told, "output-bitrate", "outputs")
    assert [together[side][-1] for side in ("least", "values", "most")] == pytest.approx([1e7, 1.245e7, 1.49e7], rel=1e-3)
    told = asked(client, "output=out-7&output=out-49")
    assert [one["key"] for one in told["lines"] if one["plot"] == "output-rtt"] == ["outputs", "outputs/out-7", "outputs/out-49"]
    html = client.get("/flows/studio/metrics?output=out-7").text
    assert len(re.findall(r'type="checkbox" name="output"', html)) == 50
    assert re.findall(r'value="([^"]+)" checked', html) == ["out-7"]


def test_the_page_says_it_without_a_plot(client: FlaskClient, places: Places) -> None:
    recording = Recording(places, faults=3)
    recording.seconds(int(time.time()) - 30, 31)
    text = read(client, "/flows/studio/metrics")
    assert "LIVE studio metrics" in text
    assert "RTT there and back Last Min Max Average path-a 20 ms 20 ms 20 ms 20 ms path-b 60 ms 60 ms 60 ms 60 ms" in text
    assert "path-a 2 2 2 2 60 " in text, "repaired in each second, and in all"
    assert re.search(r"2\.2 CRCError a PAT, CAT or PMT with a wrong checksum 90 0 ", text)
    assert 'href="/flows/studio/metrics"' in client.get("/").text


def test_a_flow_of_which_nothing_was_recorded(client: FlaskClient, recording: Recording) -> None:
    recording.seconds(int(time.time()) - 4000, 5)
    text = read(client, "/flows/studio/metrics")
    assert "Nothing was recorded in that time" in text


def test_alarms_stand_on_both_pages_and_in_the_status(client: FlaskClient, places: Places, recording: Recording) -> None:
    now = time.time()
    recording.seconds(int(now) - 5, 6)
    here = {"flow": "studio", "state": "ALARM", "since": now - 9, "raised_at": now - 9}
    source = Alarm(
        **here,
        id="1",
        alarm="source-down",
        kind="source",
        end="path-b",
        severity="warning",
        reason="this source delivers nothing: <b>0</b> over 1 s",
        advice="Check the path.",
        acknowledged=Acknowledged(by="kim", at=now),
    )
    flow = Alarm(**here, id="2", alarm="no-source", kind="flow", severity="critical", reason="no source", advice="Call the venue.")
    box = Alarm(
        **here | {"flow": ""}, id="3", alarm="disk", kind="host", end="state", severity="warning", reason="full", advice="Clear it."
    )
    gone = Alarm(**here | {"state": "OK", "since": now - 2}, id="4", alarm="x", kind="flow", severity="warning", reason="gone", advice="")
    write_snapshot(board_path(places.run), Board(at=now, alarms=[flow, source, box, gone]))
    for url in ("/", "/flows/studio/metrics"):
        text = read(client, url)
        assert "CRITICAL no source since" in text
        assert "WARNING path-b: this source delivers nothing since" in text
        assert re.search(r"Check the path\. .*Acknowledged by kim at \d\d:\d\d:\d\d\.", text)
        assert "WARNING state: full" in text
        assert "gone" not in text
        assert "<b>0</b>" not in client.get(url).text
    marks = asked(client)["alarms"]
    assert [(mark["severity"], mark["until"] is None) for mark in marks] == [("critical", True), ("warning", True), ("warning", False)]
    status = client.get("/status.json").get_json()
    assert [alarm["id"] for alarm in status["flows"][0]["alarms"]] == ["2", "1"]
    assert ([alarm["id"] for alarm in status["alarms"]], status["alarms_watched"]) == (["3"], True)
    write_snapshot(board_path(places.run), Board(at=now - 60, alarms=[flow]))
    assert "Nobody watches for alarms since" in read(client, "/")


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("range=2h", 400, "range: `2h` is unknown; allowed are 5m, 1h, 6h, 24h, 7d, 30d."),
        ("range=", 400, "range: `` is unknown; allowed are 5m"),
        ("range=5m&range=1h", 400, "range: write it once."),
        ("rnage=5m", 400, "rnage: unknown; allowed are range, since, until, output."),
        ("since=-5", 400, "since: `-5` is no time; write whole seconds of Unix time."),
        ("since=1e9", 400, "since: `1e9` is no time"),
        ("since=٣", 400, "since: `٣` is no time"),
        ("until=1800000000", 400, "since: missing; until needs it."),
        ("since=20&until=10", 400, "until: write 1 to 2678400 seconds more than since."),
        ("since=0&until=99999999999", 400, "until: write 1 to 2678400 seconds more than since."),
        ("range=1h&since=1&until=2", 400, "until: not together with range"),
        ("output=wall", 400, "output: `wall` is no output of studio; allowed are out-0, out-1."),
        ("output=" + "x" * 999, 400, "xxx…` is no output of studio"),
    ],
)
def test_a_wrong_question_is_told_what_would_be_right(
    client: FlaskClient, recording: Recording, query: str, status: int, said: str
) -> None:
    recording.seconds(int(time.time()) - 2, 3)
    answer = client.get(f"/flows/studio/metrics.json?{query}")
    message = answer.get_json()["message"]
    assert (answer.status_code, said in message, len(message) < 400) == (status, True, True), message
    assert client.get(f"/flows/studio/metrics?{query}").status_code == status


def test_more_outputs_than_can_be_told_apart(client: FlaskClient, places: Places) -> None:
    Recording(places, outputs=9).seconds(int(time.time()) - 2, 3)
    answer = client.get("/flows/studio/metrics.json?" + "&".join(f"output=out-{number}" for number in range(7)))
    assert (answer.status_code, answer.get_json()["message"]) == (400, "output: 7 are chosen; allowed are 6 at once.")


@pytest.mark.parametrize("flow", ["nobody", "..", "A", "x" * 64, "a%00b", "%2e%2e%2fstudio", "ä"])
def test_a_flow_that_is_not_there(client: FlaskClient, recording: Recording, flow: str) -> None:
    assert client.get(f"/flows/{flow}/metrics.json").status_code == 404
    assert client.get(f"/flows/{flow}/metrics").status_code == 404


text = st.text(max_size=40) | st.integers().map(str) | st.sampled_from(["5m", "30d", "out-0", "0", "1800000000", "99999999999"])
fields = st.sampled_from(["range", "since", "until", "output"]) | st.text(max_size=10)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flow=st.sampled_from(["studio", "studio", "studio", "nobody"]) | st.text(max_size=70),
    query=st.lists(st.tuples(fields, text), max_size=4),
)
@example(flow="studio", query=[("since", "0"), ("until", "2678400")])
@example(flow="studio", query=[("since", "99999999998"), ("until", "99999999999")])
@example(flow="studio", query=[("range", "30d"), ("since", "99999999999")])
def test_no_question_is_our_fault(client: FlaskClient, recording: Recording, flow: str, query: list[tuple[str, str]]) -> None:
    if not recording.passed:
        recording.seconds(int(time.time()) - 2, 3)
    answer = client.get(f"/flows/{quote(flow, safe='')}/metrics.json", query_string=query, follow_redirects=True)
    assert answer.status_code in (200, 400, 404, 405)
    if answer.status_code == 200 and answer.is_json and "lines" in answer.get_json():
        assert all(len(one["values"]) <= MOST_POINTS for one in answer.get_json()["lines"])


def test_a_history_that_cannot_be_read_is_said(client: FlaskClient, recording: Recording, places: Places) -> None:
    recording.seconds(int(time.time()) // 60 * 60 - 65, 70)
    (folder,) = (places.state / "metrics").iterdir()
    (hour,) = folder.glob("*.seconds")
    hour.unlink()
    hour.mkdir()
    answer = client.get("/flows/studio/metrics.json?range=1h")
    assert (answer.status_code, "cannot be read" in answer.get_json()["message"]) == (503, True)


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(client: FlaskClient, recording: Recording) -> None:
    recording.seconds(int(time.time()) - 3, 4)
    answer = client.get("/flows/studio/metrics")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert not re.search(r"<script(?![^>]*src=)|<style|\bstyle=|\bon\w+=", answer.text)
    for url in re.findall(r'<(?:link|script)[^>]* (?:src|href)="([^"]+)"', answer.text):
        with client.get(url) as part:
            assert part.status_code == 200, url


@pytest.mark.parametrize("url", ["/flows/studio/metrics", "/flows/studio/metrics.json"])
def test_the_page_only_shows(client: FlaskClient, url: str) -> None:
    assert {client.open(url, method=method).status_code for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")} == {405}
