"""`pressbox audit`: who changed what, as a table, as JSON, and whether the record is intact."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from appliance.exits import FAILED, OK, Failure
from firmware.places import Places

if TYPE_CHECKING:
    from firmware.audit import Audit
    from firmware.audit.chain import Entry

SHOWN = 20
CHANGES_SHOWN = 3
VALUE_LENGTH = 24
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

EXAMPLES = """\
  pressbox audit
  pressbox audit --since 2h --refused
  pressbox audit --target '*wall*' --what '*Output' --last 5
  pressbox audit --since 2026-05-01 --until 2026-05-02T06:00 --json | jq -r '[.at,.who,.what,.target]|@tsv'
  pressbox audit --verify || echo 'somebody has changed the record'"""

MORE = """\
Every change and every refused attempt is here: what was before and what is after, and whether the clock was right then
(a time with ? was taken while it was not). Each entry holds the hash of the one before, so an entry that is changed, taken out or
cut off is found by --verify. It prints the number and the hash of the last entry: whoever notes them elsewhere can show later
that nothing up to there was rewritten. The entries go to the journal as well: journalctl -t pressbox-audit.

TIME is UTC, 2026-05-01 or 2026-05-01T18:30 or with a zone of its own, or how long ago: 45s, 30m, 2h, 3d, 1w.
PATTERN is a whole text, or has * for anything in it."""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    audit = command("audit", run, "show who changed what and who was refused, and check that the record is whole", EXAMPLES, MORE)
    audit.add_argument("--who", default="*", metavar="PATTERN", help="only what this user or key did")
    audit.add_argument("--what", default="*", metavar="PATTERN", help="only this operation")
    audit.add_argument("--target", default="*", metavar="PATTERN", help="only what was done to this name or ARN")
    audit.add_argument("--since", type=moment, metavar="TIME", help="only what happened then or later")
    audit.add_argument("--until", type=moment, metavar="TIME", help="only what happened then or earlier")
    audit.add_argument("--refused", action="store_true", help="only what was refused")
    audit.add_argument("--last", type=_count, metavar="N", help=f"the last N of these (default: {SHOWN}, or all with --since)")
    audit.add_argument("--json", action="store_true", help="the whole entries, one JSON object a line")
    audit.add_argument("--verify", action="store_true", help="check the whole record; exit code 1 says that it is not intact")


def run(options: argparse.Namespace) -> int:
    from firmware.audit import Audit, AuditError

    audit = Audit(Places.from_environment().audit)
    try:
        return _verify(audit) if options.verify else _show(audit, options)
    except AuditError as error:
        raise Failure(FAILED, str(error)) from None


def moment(text: str) -> datetime:
    """A time, or how long ago."""
    ago = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        said = datetime.fromisoformat(text)
        return said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text} is not a time; write 2026-05-01, 2026-05-01T18:30, or how long ago as 30m, 2h, 3d"
        ) from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of entries, 1 or more")
    return int(text)


def _verify(audit: Audit) -> int:
    verdict = audit.verify()
    print(verdict)
    return OK if verdict.intact else FAILED


def _show(audit: Audit, options: argparse.Namespace) -> int:
    import shutil

    import msgspec

    entries = audit.read(
        who=options.who,
        what=options.what,
        target=options.target,
        since=options.since,
        until=options.until,
        outcome="refused" if options.refused else None,
        last=options.last or (None if options.since else SHOWN),
    )
    if options.json:
        for entry in entries:
            print(msgspec.json.encode(entry).decode())
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(line[:width] for line in table(entries)))
    for notice in audit.notices:
        print(f"pressbox: {notice}", file=sys.stderr)
    return OK


def table(entries: Iterable[Entry]) -> list[str]:
    rows: list[tuple[str, ...]] = [("number", "time (UTC)", "who", "from", "what", "target", "outcome", "change")]
    rows += [_row(entry) for entry in entries]
    if len(rows) == 1:
        return ["nothing is recorded, or nothing that fits"]
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    return ["  ".join([*(f"{cell:{width}}" for cell, width in zip(row[:7], widths, strict=True)), row[7]]).rstrip() for row in rows]


def _row(entry: Entry) -> tuple[str, ...]:
    at = entry.at[:19].replace("T", " ") + ("" if entry.synced else "?")
    change = entry.why if entry.outcome == "refused" else changes(entry.before, entry.after) or entry.why
    cells = (str(entry.number), at, entry.who, entry.origin, entry.what, _target(entry.target), entry.outcome, change)
    return tuple(_printable(cell) for cell in cells)


def changes(before: Any, after: Any) -> str:
    """What differs, short: `latency_ms 120 → 250, +outputs.wall`."""
    told = list(_differences("", before, after))
    more = f" and {len(told) - CHANGES_SHOWN} more" if len(told) > CHANGES_SHOWN else ""
    return ", ".join(told[:CHANGES_SHOWN]) + more


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    old, new = _parts(before), _parts(after)
    if old is None or new is None:
        if before != after:
            yield f"{path} {_value(before)} → {_value(after)}".strip()
        return
    for name in [*new, *(name for name in old if name not in new)]:
        inner = f"{path}.{name}" if path else name
        if name not in old:
            yield f"+{inner} {_value(new[name])}".strip()
        elif name not in new:
            yield f"-{inner} {_value(old[name])}".strip()
        else:
            yield from _differences(inner, old[name], new[name])


def _parts(value: Any) -> dict[str, Any] | None:
    """What is inside, by name; what is in a list goes by its own name where it has one. None for what has no inside."""
    if isinstance(value, dict):
        return {str(name): item for name, item in value.items()}
    if isinstance(value, list):
        return {str(item.get("name", index)) if isinstance(item, dict) else str(index): item for index, item in enumerate(value)}
    return {} if value is None else None


def _value(value: Any) -> str:
    if isinstance(value, dict | list):
        return ""
    text = str(value)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _target(target: str) -> str:
    """Of an ARN its kind and name; --json has the whole."""
    parts = target.split(":")
    return f"{parts[5]}:{parts[-1]}" if target.startswith("arn:") and len(parts) > 6 else target


def _printable(text: str) -> str:
    """A stranger's text must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
