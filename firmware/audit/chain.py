"""The chain of the audit log: each line seals the line before it.

    {"number":7, … ,"previous":"<hash of line 6>","hash":"<sha256 of this line with the hash empty>"}

The hash is taken over the bytes of the line itself, from `{` to `}`, with `"hash":""`. So no byte can change unseen, and
anybody can check a line without Pressbox:

    sed -n 7p audit.jsonl | sed 's/"hash":"[0-9a-f]*"}$/"hash":""}/' | tr -d '\\n' | sha256sum
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

Outcome = Literal["done", "refused"]
Fault = Literal["changed", "missing", "out of order", "cut off"]

BEGINNING = "0" * 64  # what the very first entry names as the one before it
_SEAL = 64 + len('"}\n')


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    at: str
    synced: bool
    who: str
    role: str
    origin: str = msgspec.field(name="from")
    what: str
    target: str
    before: Any
    after: Any
    outcome: Outcome
    why: str
    previous: str
    hash: str = ""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where the chain ends (`number`, `hash`, `size` of the newest file) and where what is kept of it begins (`first`, after `anchor`)."""

    number: int = 0
    hash: str = BEGINNING
    size: int = 0
    first: int = 1
    anchor: str = BEGINNING


class Line(NamedTuple):
    file: str
    row: int
    content: bytes

    def __str__(self) -> str:
        return f"line {self.row} of {self.file}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`first` to `last` fit, and `hash` is that of the last; `fault` and `why` tell of the first line that does not."""

    first: int
    last: int
    hash: str
    fault: Fault | None = None
    why: str = ""

    @property
    def intact(self) -> bool:
        return self.fault is None

    def __str__(self) -> str:
        if self.fault:
            return f"{self.fault}: {self.why}"
        return f"intact: entries {self.first} to {self.last}, the last has the hash {self.hash}" if self.last else "intact: no entry so far"


_decoder = msgspec.json.Decoder(Entry)


def seal(entry: Entry) -> tuple[Entry, bytes]:
    """The entry with its hash, and its line."""
    sealed = msgspec.structs.replace(entry, hash=hashlib.sha256(msgspec.json.encode(entry)).hexdigest())
    return sealed, msgspec.json.encode(sealed) + b"\n"


def parse(line: bytes) -> Entry | None:
    """The entry of a whole line, or None where the line is not as it was written."""
    if not line.endswith(b'"}\n') or len(line) < _SEAL:
        return None
    digest = hashlib.sha256(line[:-_SEAL] + b'"}').hexdigest()
    try:
        entry = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return entry if entry.hash == digest and line[-_SEAL:-3] == digest.encode() else None


def judge(head: Head, lines: Iterable[Line]) -> Verdict:
    """Walk the chain from its anchor to its head."""
    rest = iter(lines)
    number, previous = head.first - 1, head.anchor

    def wrong(fault: Fault, why: str) -> Verdict:
        return Verdict(head.first, number, previous, fault, why)

    for line in rest:
        entry = parse(line.content)
        if entry is None:
            after = next(rest, None)
            if after is None and not line.content.endswith(b"\n"):
                break  # whoever wrote it died; the next writer tells
            return wrong("changed", f"{line} is not as it was written; entry {number + 1} should be there")
        if entry.number != number + 1:
            return wrong(*_misplaced(number + 1, entry, line, rest))
        if entry.previous != previous:
            return wrong("changed", f"{line}, entry {entry.number}, was sealed after another entry {number} than the one that is there now")
        number, previous = entry.number, entry.hash
        if number == head.number and previous != head.hash:
            return wrong("changed", f"{line}, entry {number}, is not the one that the head names")
    if number < head.number:
        return wrong("cut off", f"the log ends with entry {number}, and entry {head.number} was written")
    return Verdict(head.first, number, previous)


def _misplaced(due: int, entry: Entry, line: Line, rest: Iterator[Line]) -> tuple[Fault, str]:
    elsewhere = entry.number < due or any(later.number == due for later in map(parse, (line.content for line in rest)) if later)
    fault: Fault = "out of order" if elsewhere else "missing"
    return fault, f"{line} is entry {entry.number}, and entry {due} should be there"
