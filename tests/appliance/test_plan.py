"""Flows as a file: what is written is what is read, and a second time there is nothing to change."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import plan
from appliance.exits import AUTH, OK, USAGE
from firmware.audit import Audit
from firmware.model import Flow, FlowError
from firmware.store import Kept
from tests.ends import NAMES, OUTPUTS, PATIENT, SOURCES
from tests.lab.programs import pressbox

EVENT = """
[[flow]]
name = "studio"
run = true

[[flow.source]]
protocol = "udp"
name = "in"
port = 5000

[[flow.output]]
protocol = "udp"
name = "wall"
host = "127.0.0.1"
port = 5004
"""


@PATIENT
@given(name=NAMES, source=SOURCES, outputs=st.lists(OUTPUTS, max_size=3, unique_by=lambda end: end.name), run=st.booleans())
def test_what_is_written_is_read_again(name, source, outputs, run):
    kept = Kept(Flow(name=name, sources=[source], outputs=outputs), "ACTIVE" if run else "STANDBY")
    text = plan.write([kept])
    (again,) = plan.read(text)
    assert (again.flow, again.desired) == (kept.flow, kept.desired)
    assert plan.changes([kept], [again]) == []
    assert plan.write([again]) == text


def test_a_file_is_applied_and_a_second_time_changes_nothing(places, tmp_path):
    file = tmp_path / "event.toml"
    file.write_text(EVENT)
    planned = pressbox(places, "apply", str(file), "--plan")
    assert (planned.returncode, planned.stdout.splitlines()[0]) == (OK, "+ flow studio")
    assert "    output wall.port: 5004" in planned.stdout
    assert pressbox(places, "flow", "list").stdout == ""
    assert pressbox(places, "apply", str(file)).returncode == OK
    assert pressbox(places, "flow", "list").stdout.split() == ["studio", "ACTIVE"]
    assert pressbox(places, "apply", str(file)).stdout == "nothing to change\n"
    assert plan.read(pressbox(places, "export").stdout) == plan.read(EVENT)
    file.write_text(EVENT.replace("5004", "5006").replace("run = true", "run = false"))
    changed = json.loads(pressbox(places, "apply", str(file), "--json").stdout)
    assert (changed["before"]["run"], changed["after"]["flow"]["outputs"][0]["port"]) == (True, 5006)
    file.write_text(EVENT.replace('"studio"', '"other"').replace("5000", "5010"))
    pruned = pressbox(places, "apply", str(file), "--prune").stdout
    assert [line for line in pruned.splitlines() if not line.startswith(" ")] == ["- flow studio", "+ flow other"]
    told = [entry.what for entry in Audit(places.audit).read()]
    assert told == ["CreateFlow", "UpdateFlow", "DeleteFlow", "CreateFlow"]


def test_nothing_is_changed_where_one_thing_cannot_be(places, tmp_path):
    file = tmp_path / "event.toml"
    file.write_text(EVENT)
    assert pressbox(places, "apply", str(file)).returncode == OK
    assert pressbox(places, "lock", "studio", "--for", "1h", "--why", "cup final").returncode == OK
    file.write_text(EVENT.replace("5004", "5006") + EVENT.replace("studio", "another").replace("5000", "5010"))
    refused = pressbox(places, "apply", str(file))
    assert (refused.returncode, "flow studio is locked by" in refused.stderr) == (AUTH, True)
    assert pressbox(places, "flow", "list").stdout.split() == ["studio", "ACTIVE"]
    secret = EVENT.replace("studio", "another").replace(
        'protocol = "udp"\nname = "in"', 'protocol = "srt-listener"\nsecret = "none"\nname = "in"'
    )
    file.write_text(secret)
    assert (pressbox(places, "apply", str(file)).returncode, pressbox(places, "flow", "list").stdout.split()) == (
        AUTH,
        ["studio", "ACTIVE"],
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[flow]", "not TOML: "),
        ("[[flows]]\n", "flows: unknown; a file holds tables [[flow]]"),
        ("flow = 1", "flow: write each flow as a table of its own, [[flow]]"),
        ("flow = [1]", "flow: write each flow as a table of its own, [[flow]]"),
        (EVENT + EVENT, "flow: `studio` is there twice"),
        (EVENT.replace("true", "1"), "flow studio: run: expected true or false"),
        (EVENT.replace("5004", "70000"), "flow studio: outputs[0].port: Expected `int` <= 65535"),
        (EVENT.replace("studio", "The Studio"), "flow The Studio: name: a name is 1 to 63 of a-z"),
    ],
)
def test_a_wrong_file_is_told_with_the_flow_and_the_key(places, text, sentence):
    with pytest.raises(FlowError) as caught:
        plan.read(text)
    assert str(caught.value).startswith(sentence)
    assert pressbox(places, "apply", "-", stdin=text).returncode == USAGE
