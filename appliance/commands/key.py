"""`pressbox key`: access keys for the API, issued, switched off and taken back."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.exits import AUTH, FAILED, OK, Failure
from appliance.whoami import console_user
from firmware.places import Places

if TYPE_CHECKING:  # the API loads Flask, and every command builds this parser
    from appliance.api.accesskeys import AccessKey, AccessKeys, Listed
    from firmware.audit import Audit

ROLES = ("subscriber", "viewer", "operator", "administrator")
ACCOUNT = "000000000000"

MORE = """\
The AWS CLI, boto3 and every other AWS SDK speak to this box with an access key that the box itself issued. A key is for one person or one
machine and has a role:
  subscriber     another host: lists what was granted to its account, and takes it up
  viewer         describes and lists
  operator       also starts and stops flows, changes their sources, outputs and tags, switches a subscriber off and on
  administrator  everything: creates and deletes flows, grants and revokes entitlements
The secret is shown once, by `issue`; nobody can look it up later. To change a key without an interruption: issue another with the same
name, give it to the client, `disable` the old one, and `delete` it when nothing has asked for it. Each holds from the next request on."""

EXAMPLES = """\
  pressbox key issue --name truck --role operator
  pressbox key list
  pressbox key disable PBOXMFRGGZDFMZTWQ2LK"""

Command = Callable[[argparse.Namespace], int]


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `key` to the commands; `command(name, run, text, examples, more)` is that of `pressbox`."""
    key = command("key", run, "issue access keys for the API, list them, switch them off and on", EXAMPLES, MORE)
    actions = key.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    issue = actions.add_parser("issue", help="make a key and show its secret, this once")
    issue.add_argument("--name", required=True, help="who uses it: 1 to 64 letters, digits and + = , . @ _ -")
    issue.add_argument("--role", required=True, choices=ROLES, help="what it may do")
    issue.add_argument("--account", default=ACCOUNT, metavar="DIGITS", help=f"12 digits by which entitlements name it (default: {ACCOUNT})")
    issue.add_argument(
        "--endpoint-url", default="https://THIS-BOX:8443", metavar="URL", help="address of this box, for the lines that are printed"
    )
    issue.add_argument("--json", action="store_true", help="as JSON, one line")
    listed = actions.add_parser("list", help="all keys, never their secrets")
    listed.add_argument("--json", action="store_true", help="as JSON, one line a key")
    for name, text in (
        ("disable", "take nothing signed with it, and keep it"),
        ("enable", "take it again"),
        ("delete", "forget it"),
    ):
        actions.add_parser(name, help=text).add_argument("id", help="id of the key, as `pressbox key list` shows it")


def run(options: argparse.Namespace) -> int:
    from appliance.api.accesskeys import AccessKeyError, AccessKeys
    from firmware.audit import Audit

    places = Places.from_environment()
    keys, audit = AccessKeys(places.access_keys), Audit(places.audit)
    try:
        if options.action == "issue":
            _issue(keys, audit, options)
        elif options.action == "list":
            _list(keys, as_json=options.json)
        else:
            _change(keys, audit, options.action, options.id)
    except AccessKeyError as error:
        raise Failure(AUTH, str(error)) from None
    return OK


def _change(keys: AccessKeys, audit: Audit, action: str, key_id: str) -> None:
    """What lets somebody in is recorded first, or not done. What keeps somebody out is done first: a full disk does not hold it up."""
    key = keys.find(key_id)
    if action == "enable":
        _record(audit, "key.enable", key_id, {"disabled": key.disabled}, {"disabled": False}, "the key was not enabled, for that")
        keys.enable(key_id)
    elif action == "disable":
        keys.disable(key_id)
        _record(audit, "key.disable", key_id, {"disabled": key.disabled}, {"disabled": True}, "the key is disabled, but that")
    else:
        keys.delete(key_id)
        _record(audit, "key.delete", key_id, _about(key), None, "the key is deleted, but that")
    print(f"{key_id} of {key.name or 'an unknown name'} is {action}d")


def _issue(keys: AccessKeys, audit: Audit, options: argparse.Namespace) -> None:
    key = keys.issue(options.name, options.role, options.account)
    try:
        _record(audit, "key.issue", key.id, None, _about(key), "no key was issued, for that")
    except Failure:
        keys.delete(key.id)
        raise
    _show(key, options)


def _about(key: AccessKey | Listed) -> dict[str, Any]:
    return {"name": key.name, "role": key.role, "account": key.account, "disabled": key.disabled}


def _record(audit: Audit, what: str, key_id: str, before: dict[str, Any] | None, after: dict[str, Any] | None, unless: str) -> None:
    from firmware.audit import AuditError

    try:
        audit.record(console_user(), what, key_id, before=before, after=after)
    except AuditError as error:
        raise Failure(FAILED, f"{unless} cannot be recorded: {error}") from None


def _show(key: AccessKey, options: argparse.Namespace) -> None:
    if options.json:
        print(msgspec.json.encode(_shown(key)).decode())
        return
    print(f"""\
The access key of {key.name}, {key.role}, account {key.account}. The secret is shown this once.

  access key id      {key.id}
  secret access key  {key.secret}

To use it, put this into the environment of the client:

  export AWS_ACCESS_KEY_ID={key.id}
  export AWS_SECRET_ACCESS_KEY={key.secret}
  export AWS_DEFAULT_REGION=us-east-1
  export AWS_ENDPOINT_URL_MEDIACONNECT={options.endpoint_url}

or run `aws configure --profile {key.name}`, answer with the two above and the region, and then

  aws configure set --profile {key.name} endpoint_url {options.endpoint_url}
  aws --profile {key.name} mediaconnect list-flows""")


def _shown(key: AccessKey) -> dict[str, Any]:
    """As `aws iam create-access-key` prints one, with the role and the account beside it."""
    return {
        "AccessKey": {
            "UserName": key.name,
            "AccessKeyId": key.id,
            "Status": "Active",
            "SecretAccessKey": key.secret,
            "CreateDate": key.created,
            "Role": key.role,
            "Account": key.account,
        }
    }


def _list(keys: AccessKeys, *, as_json: bool) -> None:
    listed = keys.list()
    if as_json:
        print("".join(msgspec.json.encode(key).decode() + "\n" for key in listed), end="")
        return
    if not listed:
        print("no access keys; `pressbox key issue --name NAME --role ROLE` makes one")
        return
    row = "{:20}  {:16}  {:13}  {:12}  {:8}  {:10}  {}"
    print(row.format("id", "name", "role", "account", "state", "created", "last used"))
    for key in listed:
        print(key.problem or row.format(key.id, key.name, key.role, key.account, _state(key), _day(key.created), _hour(key.last_used)))


def _state(key: Listed) -> str:
    return "disabled" if key.disabled else "enabled"


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else ""


def _hour(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H} h UTC" if at else "never"
