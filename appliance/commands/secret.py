"""`pressbox secret`: passphrases and SRTP keys by name."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from appliance.commands import grammar
from appliance.exits import FAILED, OK, USAGE, Failure
from firmware.places import Places

MORE = """\
A flow that runs takes another value at once. To replace one without a gap, give --keep at each end, the receiving end first: for that
long both values are good. Connections go on, and those that dial do so anew, one path after the other."""
LONGEST_S = 7 * 86400


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    secret = command(
        "secret", _run, "keep passphrases and SRTP keys by name, so that they are in no flow, log or command line", grammar.SECRETS, MORE
    )
    secret.add_argument("action", choices=["set", "generate", "list", "delete"], help="set reads from standard input")
    secret.add_argument("name", nargs="?", help="name of the secret")
    secret.add_argument("--srtp", action="store_true", help="a key for srtp://: 44 random bytes in base64, in place of a passphrase")
    secret.add_argument("--keep", type=_seconds, default=0.0, metavar="TIME", help="take the former value, too, for so long: 10m, 2h, 1d")


def _run(options: argparse.Namespace) -> int:
    from firmware.secrets import SecretError, Secrets, generate, generate_srtp_key, parse_srtp_key

    places = Places.from_environment()
    places.create()
    secrets = Secrets(places.secrets)
    if options.action == "list":
        print("".join(f"{name}{_former(secrets.former(name))}\n" for name in secrets.names()), end="")
        return OK
    if not options.name:
        raise Failure(USAGE, f"secret {options.action}: write the name of the secret")
    if options.action == "delete":
        if options.name not in secrets.names():
            raise Failure(FAILED, f"there is no secret `{options.name}`; `pressbox secret list` shows those there are")
        _record(places, "DeleteSecret", options)
        secrets.delete(options.name)
        return OK
    if options.action == "generate":
        value = generate_srtp_key() if options.srtp else generate()
    else:
        asked = "SRTP key: " if options.srtp else "passphrase: "
        value = getpass.getpass(asked) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        if options.srtp:
            try:
                parse_srtp_key(value)
            except SecretError as error:
                raise SecretError(f"the secret `{options.name}` is not set: {error}") from None
    secrets.check(options.name, value)
    _record(places, "SetSecret", options)
    secrets.replace(options.name, value, former_for_s=options.keep)
    if options.action == "generate":
        print(f"{options.name} is in {secrets.path(options.name)}")
    return OK


def _record(places: Places, what: str, options: argparse.Namespace) -> None:
    from appliance.service import record

    record(places, what, options.name, before=None, after={"former_kept_s": options.keep} if options.keep else None)


def _former(former: object) -> str:
    from firmware.secrets import Former

    if not isinstance(former, Former):
        return ""
    return f"  (the former value is taken until {datetime.fromtimestamp(former.until_s, UTC):%Y-%m-%d %H:%M:%S} UTC)"


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)
    length_s = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] if found else 0
    if not 0 < length_s <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not a length of time up to 7 days; write 10m, 2h or 1d")
    return float(length_s)
