from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser

import pytest

from appliance.api.accesskeys import ACCOUNT, AccessKeys
from appliance.api.roles import ROLES
from appliance.commands import key as keycli
from appliance.exits import AUTH, FAILED, OK, Failure
from firmware.audit import Audit
from firmware.places import Places


def test_the_command_knows_the_roles_without_loading_the_api() -> None:
    assert (keycli.ROLES, keycli.ACCOUNT) == (ROLES, ACCOUNT)
    told = "import sys, appliance.commands.key; print('flask' in sys.modules, 'appliance.api' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def pressbox(*words: str) -> int:
    parser = ArgumentParser(prog="pressbox")
    commands = parser.add_subparsers()

    def command(name: str, run: keycli.Command, text: str, examples: str = "", more: str = "") -> ArgumentParser:
        added = commands.add_parser(name, help=text, epilog=more + examples)
        added.set_defaults(run=run)
        return added

    keycli.add(command)
    options = parser.parse_args(words)
    return options.run(options)


@pytest.fixture
def kept(places: Places, monkeypatch: pytest.MonkeyPatch) -> AccessKeys:
    monkeypatch.setenv("PRESSBOX_STATE", str(places.state))
    return AccessKeys(places.access_keys)


def test_the_command_shows_a_secret_once(kept: AccessKeys, capsys: pytest.CaptureFixture[str]) -> None:
    assert pressbox("key", "issue", "--name", "truck", "--role", "operator", "--endpoint-url", "https://192.0.2.7") == OK
    told = capsys.readouterr().out
    (listed,) = kept.list()
    key = kept.get(listed.id)
    for line in (
        f"export AWS_ACCESS_KEY_ID={key.id}",
        f"export AWS_SECRET_ACCESS_KEY={key.secret}",
        "export AWS_ENDPOINT_URL_MEDIACONNECT=https://192.0.2.7",
        "aws configure --profile truck",
    ):
        assert line in told
    pressbox("key", "list")
    pressbox("key", "list", "--json")
    pressbox("key", "disable", key.id)
    told = capsys.readouterr().out
    assert key.id in told
    assert "truck" in told
    assert key.secret not in told


def test_the_command_lists_for_programs(kept: AccessKeys, capsys: pytest.CaptureFixture[str]) -> None:
    pressbox("key", "issue", "--name", "truck", "--role", "viewer", "--account", "123456789012", "--json")
    issued = json.loads(capsys.readouterr().out)["AccessKey"]
    key = kept.get(issued["AccessKeyId"])
    assert (issued["SecretAccessKey"], issued["Role"], issued["Account"]) == (key.secret, "viewer", "123456789012")
    pressbox("key", "disable", key.id)
    capsys.readouterr()
    pressbox("key", "list", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["disabled"], listed["last_used"]) == (key.id, True, None)


def test_the_command_switches_and_deletes(kept: AccessKeys, capsys: pytest.CaptureFixture[str]) -> None:
    key = kept.issue("truck", "viewer")
    for action, state in (("disable", True), ("enable", False)):
        assert pressbox("key", action, key.id) == OK
        assert kept.get(key.id).disabled is state
    assert pressbox("key", "delete", key.id) == OK
    assert capsys.readouterr().out.splitlines()[-1] == f"{key.id} of truck is deleted"
    pressbox("key", "list")
    assert "no access keys" in capsys.readouterr().out
    with pytest.raises(Failure, match="there is no access key") as failure:
        pressbox("key", "delete", key.id)
    assert failure.value.code == AUTH


def test_every_change_is_in_the_audit_log_and_no_secret(kept: AccessKeys, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    pressbox("key", "issue", "--name", "truck", "--role", "viewer")
    key = kept.get(kept.list()[0].id)
    for action in ("disable", "enable", "delete"):
        pressbox("key", action, key.id)
    entries = list(Audit(places.audit).read())
    assert [(entry.who, entry.what, entry.target) for entry in entries] == [
        ("ann", f"key.{action}", key.id) for action in ("issue", "disable", "enable", "delete")
    ]
    assert entries[0].after == {"name": "truck", "role": "viewer", "account": ACCOUNT, "disabled": False}
    assert key.secret not in places.audit.read_text()


def test_what_cannot_be_recorded_lets_nobody_in(kept: AccessKeys, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    key = kept.issue("truck", "viewer")
    places.audit.mkdir()
    for words, told in (
        (("issue", "--name", "studio", "--role", "viewer"), "no key was issued, for that cannot be recorded"),
        (("disable", key.id), "the key is disabled, but that cannot be recorded"),
        (("enable", key.id), "the key was not enabled, for that cannot be recorded"),
    ):
        with pytest.raises(Failure, match=told) as failure:
            pressbox("key", *words)
        assert failure.value.code == FAILED
    assert [(listed.id, listed.disabled) for listed in kept.list()] == [(key.id, True)]
    assert capsys.readouterr().out == ""
