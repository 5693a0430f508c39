"""`pressbox audit`, as a person and a script meet it."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from appliance.commands import audit as auditcli
from appliance.exits import FAILED, OK, Failure
from firmware.audit import Audit
from firmware.places import Places
from tests.lab.programs import pressbox

FLOW = {"name": "show", "latency_ms": 120, "outputs": [{"name": "wall", "port": 5004}]}
ARN = "arn:aws:mediaconnect:us-east-1:111122223333:flow:1-23aBC45dEF67hiJ8-12AbC34DE5fG:show"

Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def audit(places: Places, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.setenv("PRESSBOX_STATE", str(places.state))
    monkeypatch.setenv("PRESSBOX_RUN", str(places.run))
    return Audit(places.audit)


@pytest.fixture
def run(audit: Audit, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("--last", "2")`: exit code and lines of `pressbox audit --last 2`."""

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, examples: str = "", more: str = ""
    ) -> argparse.ArgumentParser:
        added = argparse.ArgumentParser(prog=f"pressbox {name}", description=text, epilog=more + examples)
        added.set_defaults(run=run)
        made.append(added)
        return added

    made: list[argparse.ArgumentParser] = []
    auditcli.add(command)

    def started(*arguments: str) -> tuple[int, list[str]]:
        options = made[0].parse_args(arguments)
        code = options.run(options)
        return code, capsys.readouterr().out.splitlines()

    return started


@pytest.fixture
def filled(audit: Audit) -> Audit:
    audit.record("ann", "flow.create", "show", role="operator", origin="192.0.2.7", after=FLOW)
    audit.record("ann", "flow.update", ARN, origin="192.0.2.7", before=FLOW, after=FLOW | {"latency_ms": 250, "outputs": []})
    audit.record("eve", "flow.delete", "show", role="viewer", origin="198.51.100.9", outcome="refused", why="viewer may not delete flows")
    audit.record("bob", "flow.start", "show", before="STANDBY", after="ACTIVE")
    return audit


def test_the_table_says_who_did_what_and_what_became_different(filled: Audit, run: Run) -> None:
    code, lines = run()
    assert code == OK
    assert lines[0].split() == ["number", "time", "(UTC)", "who", "from", "what", "target", "outcome", "change"]
    mark = "" if next(filled.read()).synced else "?"
    first, second, third, fourth = (re.split("  +", line) for line in lines[1:])
    at = next(filled.read()).at[:19].replace("T", " ") + mark
    assert first == ["1", at, "ann", "192.0.2.7", "flow.create", "show", "done", "+name show, +latency_ms 120, +outputs"]
    assert second[5:] == ["flow:show", "done", "latency_ms 120 → 250, -outputs.wall"]
    assert third[6:] == ["refused", "viewer may not delete flows"]
    assert fourth[6:] == ["done", "STANDBY → ACTIVE"]


def test_what_is_shown_can_be_narrowed(filled: Audit, run: Run) -> None:
    def shown(*arguments: str) -> list[int]:
        return [json.loads(line)["number"] for line in run("--json", *arguments)[1]]

    assert shown() == [1, 2, 3, 4]
    assert shown("--who", "ann") == [1, 2]
    assert shown("--what", "flow.[ds]*") == [3, 4]
    assert shown("--target", "arn:*") == [2]
    assert shown("--refused") == [3]
    assert shown("--last", "2") == [3, 4]
    assert shown("--since", "1h") == [1, 2, 3, 4]
    assert shown("--until", "1h") == []
    assert shown("--since", "2100-01-01") == []
    assert run("--since", "2100-01-01") == (OK, ["nothing is recorded, or nothing that fits"])


def test_without_a_time_the_last_twenty_are_shown(audit: Audit, run: Run) -> None:
    for _ in range(23):
        audit.record("ann", "flow.update", "show")
    assert [line.split()[0] for line in run()[1][1:]] == [str(number) for number in range(4, 24)]
    assert len(run("--since", "1d", "--json")[1]) == 23


def test_json_is_the_line_as_it_was_written(filled: Audit, run: Run) -> None:
    assert run("--json")[1] == filled.path.read_text().splitlines()


def test_verify_says_what_is_wrong_and_ends_with_1(filled: Audit, run: Run) -> None:
    code, lines = run("--verify")
    assert (code, lines) == (OK, [f"intact: entries 1 to 4, the last has the hash {list(filled.read())[-1].hash}"])
    whole = filled.path.read_text()
    filled.path.write_text(whole.replace("viewer may not", "viewer may now"))
    assert run("--verify") == (FAILED, ["changed: line 3 of audit.jsonl is not as it was written; entry 3 should be there"])
    assert [line.split()[0] for line in run()[1]] == ["number", "1", "2", "4"]


def test_an_unreadable_record_is_a_sentence(audit: Audit, run: Run) -> None:
    audit.path.mkdir()
    with pytest.raises(Failure, match=r"the audit log .*/audit.jsonl cannot be read: Is a directory"):
        run()


def test_a_strangers_text_does_not_steer_the_terminal(audit: Audit, run: Run) -> None:
    audit.record("eve\x1b[2J\n9  now", "flow.delete", "\u202eshow", outcome="refused", why="\x07bell")
    _, lines = run()
    assert len(lines) == 2
    assert not any(letter in lines[1] for letter in "\x1b\n\u202e\x07")
    assert "eve�[2J�9  now" in lines[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T18:30", datetime(2026, 5, 1, 18, 30, tzinfo=UTC)),
        ("2026-05-01T18:30:01.5Z", datetime(2026, 5, 1, 18, 30, 1, 500_000, tzinfo=UTC)),
        ("2026-05-01T18:30+02:00", datetime(2026, 5, 1, 16, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read(text: str, expected: datetime) -> None:
    assert auditcli.moment(text) == expected


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_durations_count_back_from_now(text: str, ago: timedelta) -> None:
    earliest = datetime.now(UTC) - ago
    assert earliest <= auditcli.moment(text) <= datetime.now(UTC) - ago


@pytest.mark.parametrize("text", ["", "2x", "h", "-2h", "2026-13-01", "now", "999999w", "٣h"])
def test_what_is_no_time_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a time; write 2026-05-01"):
        auditcli.moment(text)


@pytest.mark.parametrize("arguments", [["--last", "0"], ["--last", "x"], ["--since", "2x"]])
def test_wrong_use_ends_with_2(run: Run, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2


def test_what_the_command_line_does_is_recorded(places):
    flow = {"name": "a", "sources": [{"protocol": "udp", "name": "in", "port": 5000}], "outputs": []}
    assert pressbox(places, "flow", "create", "-", stdin=json.dumps(flow)).returncode == 0
    assert pressbox(places, "flow", "create", "-", stdin=json.dumps(flow)).returncode == FAILED  # there is one: nothing to record
    assert pressbox(places, "flow", "start", "a").returncode == 0
    assert pressbox(places, "flow", "delete", "a").returncode == 0
    entries = [json.loads(line) for line in pressbox(places, "audit", "--json").stdout.splitlines()]
    assert [(entry["what"], entry["target"], entry["from"]) for entry in entries] == [
        ("CreateFlow", "a", "console"),
        ("StartFlow", "a", "console"),
        ("DeleteFlow", "a", "console"),
    ]
    assert (entries[1]["before"]["desired"], entries[1]["after"]["desired"]) == ("STANDBY", "ACTIVE")
    assert pressbox(places, "audit", "--verify").returncode == 0
