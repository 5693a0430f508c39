"""`pressbox apply` and `pressbox export`: a set of flows as a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance.exits import OK, USAGE, Failure
from firmware.places import Places

EXAMPLES = """\
  pressbox export > event.toml
  pressbox apply event.toml --plan
  pressbox apply event.toml"""
MORE = """\
Flows that the file names are made or changed to be as it says, while they run: outputs that stay as they are notice nothing. Applied
a second time it changes nothing. Everything is checked before the first change. Secrets are named in the file and kept by
`pressbox secret`."""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    apply = command("apply", _apply, "make the flows as a file says", EXAMPLES, MORE)
    apply.add_argument("file", help="TOML file, - for standard input; `pressbox export` writes one")
    apply.add_argument("--plan", action="store_true", help="show what would change, and change nothing")
    apply.add_argument("--prune", action="store_true", help="delete the flows that the file does not name")
    apply.add_argument("--json", action="store_true", help="the changes as JSON, one a line")
    command("export", _export, "write the flows that there are as a file for `pressbox apply`", EXAMPLES, MORE)


def _apply(options: argparse.Namespace) -> int:
    from appliance import plan
    from appliance.service import Service

    service = Service(Places.from_environment())
    changes = plan.changes(service.list(), plan.read(_text(options.file)), prune=options.prune)
    for change in changes:
        if options.json:
            kept = {"before": change.before, "after": change.after}
            told = {key: None if one is None else {"run": one.desired == "ACTIVE", "flow": one.flow} for key, one in kept.items()}
            print(msgspec.json.encode({"flow": change.name, **told}).decode())
        else:
            print("\n".join(plan.in_words(change)))
    if not changes and not options.json:
        print("nothing to change")
    if not options.plan:
        service.apply(changes)
    return OK


def _export(options: argparse.Namespace) -> int:
    from appliance import plan
    from appliance.service import Service

    print(plan.write(Service(Places.from_environment()).list()), end="")
    return OK


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(USAGE, f"{file} cannot be read: {error.strerror if isinstance(error, OSError) else 'it is no text'}") from None
