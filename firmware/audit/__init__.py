"""The audit log: who changed what, from where, and who was refused.

It is append-only, and each entry is sealed to the one before (`chain.py`); `trail.py` says which files it is in and what a
dead writer leaves. What a person with write access to those files can hide (whoever is the files' owner has both):

- *With the log alone*: nothing. A byte changed, a line taken out, moved or cut off the end, a file taken away is found. Lines can be
  added at the end, for the chain has no key, and stand there as if they had been recorded.
- *With the log and the head*: everything on this disk. Entries can be rewritten from any place on, sealed anew and the head with them;
  dropped at the end and the head with them, or at the beginning and its anchor with them. Both deleted, the log begins at 1 again.
  What stays out of reach is what has left: each entry goes to syslog with its number and hash, and whoever has one such pair from elsewhere
  sees that something up to there was rewritten. So have the journal forwarded, or note what `pressbox audit --verify` prints.

The log is bounded, so whoever may be refused without end pushes its beginning out: limit how often one may try before it is recorded.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from firmware.alone import alone
from firmware.audit.chain import Entry, Head, Outcome, Verdict, judge, parse
from firmware.audit.trail import Opened, Trail
from hw.clock import synchronised

MAX_BYTES = 16 << 20
KEEP = 8
BUSY_S = 15.0  # a slow card takes its time over each entry, and several may wait
TEXT_LENGTH = 512  # of who, target and the like, which a stranger may choose
SYSLOG = Path("/dev/log")
_AUTHPRIV, _WARNING, _NOTICE = 10 << 3, 4, 5


class AuditError(RuntimeError):
    """What happened could not be recorded, or the record cannot be read."""


class Audit:
    """Every call stands alone and may come from any thread or process.

    `notices` tells, in sentences, which lines `read` left out; `unshipped` counts the entries that syslog did not take.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, keep: int = KEEP, syslog: Path = SYSLOG) -> None:
        self.path, self.syslog = path, syslog
        self.trail = Trail(path, max_bytes, keep)
        self.unshipped = 0
        self.notices: list[str] = []

    def record(
        self,
        who: str,
        what: str,
        target: str,
        *,
        role: str = "",
        origin: str = "console",
        before: Any = None,
        after: Any = None,
        outcome: Outcome = "done",
        why: str = "",
    ) -> Entry:
        """Add an entry; it is on the disk when this returns. `origin` is an address or "console"; `before` and `after` must hold no
        secret's value. AuditError says that nothing was recorded: whether the change goes ahead is the caller's decision.
        """
        with self._alone("written"):
            head, told = self.trail.settled()
            made = []
            for reason, found in told:
                head, repair = self.trail.append(head, _entry("pressbox", "audit.repair", self.path.name, why=reason, before=found))
                made.append(repair)
            self.trail.torn.unlink(missing_ok=True)
            asked = _entry(who, what, target, role, origin, before, after, outcome, why)
            made.append(self.trail.append(head, asked)[1])
        for entry in made:
            self._ship(entry)
        return made[-1]

    def verify(self) -> Verdict:
        with ExitStack() as stack:
            head, files = self._opened(stack)
            if head is None and files:
                why = f"{self.trail.head.name}, which says where the log ends, is gone or was changed"
                return Verdict(0, 0, "", "missing", why)
            return judge(head or Head(), (line for file in files for line in file.lines()))

    def read(
        self,
        *,
        who: str = "*",
        what: str = "*",
        target: str = "*",
        since: datetime | None = None,
        until: datetime | None = None,
        outcome: Outcome | None = None,
        last: int | None = None,
    ) -> Iterator[Entry]:
        """Entries in their order. `who`, `what` and `target` are whole texts or patterns (`flow.*`); `last` counts those that fit."""
        earliest, latest = _written(since) if since else "", _written(until) if until else "~"

        def fits(entry: Entry) -> bool:
            return (
                earliest <= entry.at <= latest
                and outcome in (None, entry.outcome)
                and fnmatchcase(entry.who, who)
                and fnmatchcase(entry.what, what)
                and fnmatchcase(entry.target, target)
            )

        with ExitStack() as stack:
            _, files = self._opened(stack)
            if last is None:
                yield from (entry for file in files for entry in self._entries(file) if fits(entry))
                return
            found: deque[Entry] = deque()
            for file in reversed(files):
                newest = deque((entry for entry in self._entries(file) if fits(entry)), maxlen=last - len(found))
                found.extendleft(reversed(newest))
                if len(found) == last:
                    break
            yield from found

    def _entries(self, file: Opened) -> Iterator[Entry]:
        for line in file.lines():
            entry = parse(line.content)
            if entry:
                yield entry
            else:
                self.notices.append(f"{line} is not as it was written and is left out; `pressbox audit --verify` says more")

    def _opened(self, stack: ExitStack) -> tuple[Head | None, list[Opened]]:
        """The head and the files as they are at one moment; writers go on while they are read."""
        if not self.path.parent.is_dir():
            return None, []
        with self._alone("read"):
            return self.trail.read_head(), self.trail.opened(stack)

    def _ship(self, entry: Entry) -> None:
        """To syslog, without waiting: logging's own SysLogHandler would, where nobody takes what comes. An entry that is too long
        for one message goes without `before` and `after`."""
        severity = _WARNING if entry.outcome == "refused" else _NOTICE
        for told in (entry, msgspec.structs.replace(entry, before=None, after=None)):
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as log:
                    log.sendto(b"<%d>pressbox-audit: %b" % (_AUTHPRIV | severity, msgspec.json.encode(told)), os.fspath(self.syslog))
                return
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    break
        self.unshipped += 1

    @contextmanager
    def _alone(self, done: str) -> Iterator[None]:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with alone(self.path.with_suffix(".lock"), BUSY_S, lambda why: AuditError(f"the audit log is busy: {why}")):
                yield
        except OSError as error:
            raise AuditError(f"the audit log {self.path} cannot be {done}: {error.strerror or error}") from None


def _entry(
    who: str,
    what: str,
    target: str,
    role: str = "",
    origin: str = "console",
    before: Any = None,
    after: Any = None,
    outcome: Outcome = "done",
    why: str = "",
) -> Entry:
    """An entry that has no place in the chain yet."""
    try:
        before, after = (msgspec.json.decode(msgspec.json.encode(value)) for value in (before, after))
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(f"{what} cannot be recorded: before and after are plain JSON: {error}") from None
    return Entry(
        number=0,
        at=_written(datetime.now(UTC)),
        synced=synchronised(),
        who=_short(who),
        role=_short(role),
        origin=_short(origin),
        what=_short(what),
        target=_short(target),
        before=before,
        after=after,
        outcome=outcome,
        why=_short(why),
        previous="",
    )


def _short(text: str) -> str:
    text = text.encode(errors="backslashreplace").decode()  # what came off a wire may be no text
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
