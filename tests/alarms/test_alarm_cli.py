"""`pressbox alarm`, as a person types it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from appliance.exits import AUTH, FAILED, NETWORK, OK, USAGE
from appliance.metricstext import exposition
from firmware.alarms.board import Alarm, Board, board_path, read_acknowledgements
from firmware.alarms.recommended import RECOMMENDED
from firmware.alarms.rules import EVERY
from firmware.alarms.settings import read_settings
from firmware.audit import Audit
from firmware.secrets import Secrets
from firmware.status import write_snapshot
from tests.alarms.receiver import Receiver
from tests.alarms.watching import Scene, end

DOCUMENT = Path(__file__).parents[2] / "docs/alarms.md"


@pytest.fixture
def run(places, monkeypatch, capsys):
    """`run("list")`: exit code, what it says, what it complains of. In this process: one that starts costs a second."""
    from appliance.cli import main

    monkeypatch.setenv("PRESSBOX_STATE", str(places.state))
    monkeypatch.setenv("PRESSBOX_RUN", str(places.run))

    def ask(*words: str) -> tuple[int, str, str]:
        try:
            code = main(["alarm", *words])
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return ask


def test_what_is_raised_is_listed_with_what_to_do(run, places):
    assert run("list")[1].startswith("nobody watches now")
    scene = Scene(places)
    scene.tick(12, outputs=[end("wall", "connecting")])
    scene.watcher.close()
    code, said, _ = run("list")
    assert code == OK
    assert "output-down, output wall of flow studio" in said
    assert "Check the far end" in said
    listed = [json.loads(line) for line in run("list", "--json")[1].splitlines()]
    assert "output-down" in {alarm["alarm"] for alarm in listed}
    assert "output-down" in run("events")[1]
    assert json.loads(run("events", "--json", "--last", "1")[1])["version"] == "0"


def test_an_alarm_that_somebody_saw(run, places):
    assert run("ack", "all")[0] == FAILED
    alarms = [
        Alarm(id=f"{n}f", alarm="no-source", kind="flow", severity="critical", state="ALARM", since=1, raised_at=1, reason="", advice="")
        for n in (1, 2)
    ]
    write_snapshot(board_path(places.run), Board(alarms=alarms))
    assert run("ack", "3")[0] == FAILED
    assert run("ack", "1")[0] == OK
    assert set(read_acknowledgements(places.run)) == {"1f"}
    assert run("ack", "all")[0] == OK
    assert set(read_acknowledgements(places.run)) == {"1f", "2f"}
    assert [entry.what for entry in Audit(places.audit).read()] == ["alarm.ack"] * 3


def test_every_change_is_kept_and_recorded(run, places):
    assert run("set", "source-bitrate-low", "--threshold", "4M", "--flows", "studio*")[0] == OK
    assert run("off", "failover")[0] == OK
    code, said, _ = run("add", "slow", "--metric", "SourceRoundTripTime", "--comparison", ">", "--threshold", "150", "--periods", "3")
    assert (code, said) == (OK, "slow is on, warning: Average of SourceRoundTripTime > 150 ms over 10 s, 3 times running\n")
    assert run("set", "slow", "--threshold", "2.5")[0] == OK
    rules = {rule.name: rule for rule in read_settings(places.state).rules}
    assert (rules["source-bitrate-low"].threshold, rules["slow"].threshold) == (4e6, 2.5)
    assert "failover" not in rules
    assert run("on", "failover")[0] == run("remove", "slow")[0] == run("remove", "source-bitrate-low")[0] == OK
    assert read_settings(places.state).rules == list(RECOMMENDED)
    whats = [entry.what for entry in Audit(places.audit).read()]
    assert whats == ["alarm.set", "alarm.off", "alarm.add", "alarm.set", "alarm.on", "alarm.remove", "alarm.remove"]
    assert len(run("rules")[1].splitlines()) == len(RECOMMENDED)
    assert len(run("metrics")[1].splitlines()) == len(EVERY)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("off", "tea"), FAILED, "there is no alarm `tea`"),
        (("set", "failover"), USAGE, "say what shall be different"),
        (("set", "failover", "--period", "0"), USAGE, "period_s"),
        (("set", "failover", "--threshold", "many"), USAGE, "many is not a number"),
        (("set", "failover", "--statistic", "Mean"), USAGE, "Average"),
        (("set", "failover", "--periods", "5", "--of", "2"), USAGE, "of: 2 is less than"),
        (("add", "x"), USAGE, "--metric, --comparison, --threshold"),
        (("add", "x", "--metric", "Bit", "--comparison", "<", "--threshold", "1"), USAGE, "there are BitRate, SourceBitRate"),
        (("add", "Ex", "--metric", "BitRate", "--comparison", "<", "--threshold", "1"), USAGE, "a name is 1 to 63"),
        (("add", "failover", "--metric", "BitRate", "--comparison", "<", "--threshold", "1"), USAGE, "is a recommended alarm"),
        (("webhook", "add", "x", "https://ann:pw@192.0.2.7/", "--secret", "sig"), USAGE, "on a command line every user"),
        (("webhook", "add", "x", "https://192.0.2.7/", "--secret", "sig"), AUTH, "the secret `sig` is missing"),
        (("webhook", "remove", "x"), FAILED, "there is no webhook `x`"),
        (("mqtt", "set", "192.0.2.7", "--secret", "sig"), AUTH, "the secret `sig` is missing"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name_and_changes_nothing(run, places, words, code, sentence):
    ended, _, complaint = run(*words)
    assert ended == code
    assert sentence in complaint
    assert not (places.state / "alarms/settings.json").exists()
    assert list(Audit(places.audit).read()) == []


def test_a_webhook_is_added_tried_and_listed_without_its_token(run, places, monkeypatch):
    Secrets(places.secrets).set("sig", "a-secret-of-the-receiver")
    with Receiver(200, 500).up() as receiver:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"http://ann:pw@127.0.0.1:{receiver.port}/T0KEN\n"))
        added = run("webhook", "add", "ops", "-", "--secret", "sig")
        assert added[0] == OK
        assert run("webhook", "test", "ops")[0] == OK
        failed = run("webhook", "test", "ops")
        assert (failed[0], "it answers 500" in failed[2]) == (NETWORK, True)
        listed = run("webhook", "list", "--json")[1]
    assert json.loads(listed)["url"] == f"http://127.0.0.1:{receiver.port}/…"
    said = "".join(map(str, (*added, *failed, listed))) + places.audit.read_text()
    assert "T0KEN" not in said
    assert "pw@" not in said
    assert receiver.bodies[0]["detail-type"] == "MediaConnect Alert"
    assert oct((places.state / "alarms/settings.json").stat().st_mode & 0o777) == "0o600"


def test_the_document_has_the_recommended_set_as_it_is():
    rows = re.findall(r"^\| ([a-z0-9-]+) \| (critical|warning) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [(rule.name, rule.severity) for rule in RECOMMENDED]
    assert all(rule.text and rule.advice for rule in RECOMMENDED)


def test_prometheus_reads_what_is_raised():
    alarm = Alarm(
        id="1",
        alarm="output-down",
        flow="studio",
        kind="output",
        end="wall",
        severity="critical",
        state="ALARM",
        since=1,
        raised_at=1,
        reason="",
        advice="",
    )
    told = exposition([], [alarm])
    assert 'pressbox_alarm_active{alarm="output-down",severity="critical",flow="studio",end="wall"} 1' in told.splitlines()
