"""`pressbox lock` and `pressbox unlock`: nobody changes a flow while it is on air."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from appliance.exits import OK
from firmware.places import Places

EXAMPLES = """\
  pressbox lock studio --for 4h --why 'cup final'
  pressbox lock studio --until 2026-05-01T23:30 --why 'cup final'
  pressbox unlock studio --why 'the show is over'"""
MORE = """\
While a flow is locked, whatever would change how it runs is refused, from the command line, the API and the pages alike: sources, outputs,
start, stop, delete, a rehearsed cut. A lock ends by itself. To change something all the same, unlock it: who did and why is in the
audit log."""
LONGEST = timedelta(days=31)


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    lock = command("lock", _lock, "let nobody change a flow for the length of a show", EXAMPLES, MORE)
    lock.add_argument("flow", help="name of the flow")
    end = lock.add_mutually_exclusive_group(required=True)
    end.add_argument("--for", dest="until", type=_after, metavar="TIME", help="how long: 90m, 4h, 2d")
    end.add_argument("--until", type=_moment, metavar="TIME", help="2026-05-01T23:30, UTC or with a zone of its own")
    lock.add_argument("--why", required=True, help="what is on, for whoever meets the lock")
    unlock = command("unlock", _unlock, "let a locked flow be changed again", EXAMPLES, MORE)
    unlock.add_argument("flow", help="name of the flow")
    unlock.add_argument("--why", required=True, help="the reason, for the audit log")


def _lock(options: argparse.Namespace) -> int:
    from appliance.service import Service

    Service(Places.from_environment()).lock(options.flow, options.until, options.why)
    return OK


def _unlock(options: argparse.Namespace) -> int:
    from appliance.service import Service

    Service(Places.from_environment()).unlock(options.flow, options.why)
    return OK


def _after(text: str) -> datetime:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a length of time; write 90m, 4h or 2d")
    return _checked(datetime.now(UTC) + timedelta(**{{"m": "minutes", "h": "hours", "d": "days"}[found[2]]: int(found[1])}))


def _moment(text: str) -> datetime:
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a time; write 2026-05-01T23:30") from None
    return _checked(said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC))


def _checked(until: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < until <= now + LONGEST:
        raise argparse.ArgumentTypeError(f"{until:%Y-%m-%d %H:%M} UTC is not within the next {LONGEST.days} days")
    return until
