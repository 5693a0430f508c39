"""Flows as a file says: what would have to change for them to be so, and the file for those that there are.

    [[flow]]
    name = "studio"
    run = true

    [[flow.source]]
    protocol = "srt-listener"
    name = "path-a"
    port = 9000
    secret = "path-a"
    allow = ["203.0.113.0/24"]

    [[flow.output]]
    protocol = "udp"
    name = "wall"
    host = "239.1.2.3"
    port = 5004

The keys are those of a flow's definition; what is not said is as it is by default. Secrets are named, and are no part of the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import tomli_w

from firmware.model import Flow, FlowError, parse_flow
from firmware.store import Desired, Kept


@dataclass(frozen=True, slots=True)
class Change:
    """`before` is None for a flow that is made, `after` for one that is deleted."""

    name: str
    before: Kept | None
    after: Kept | None


def read(text: str) -> list[Kept]:
    """The flows of a file, as they shall be. FlowError names the flow and the key."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FlowError(f"not TOML: {error}") from None
    unknown = sorted(data.keys() - {"flow"})
    if unknown:
        raise FlowError(f"{unknown[0]}: unknown; a file holds tables [[flow]]")
    tables = data.get("flow", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FlowError("flow: write each flow as a table of its own, [[flow]]")
    wanted = [_flow(table, place) for place, table in enumerate(tables, 1)]
    names = [kept.flow.name for kept in wanted]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise FlowError(f"flow: `{twice}` is there twice; each needs a name of its own")
    return wanted


def _flow(table: dict[str, Any], place: int) -> Kept:
    definition = dict(table)
    run = definition.pop("run", False)
    name = definition.get("name", f"number {place}")
    if not isinstance(run, bool):
        raise FlowError(f"flow {name}: run: expected true or false")
    for key, plural in (("source", "sources"), ("output", "outputs")):
        if key in definition:
            definition[plural] = definition.pop(key)
    try:
        return Kept(parse_flow(definition), "ACTIVE" if run else "STANDBY")
    except FlowError as error:
        raise FlowError(f"flow {name}: {error}") from None


def changes(there: Sequence[Kept], wanted: Sequence[Kept], *, prune: bool = False) -> list[Change]:
    """What must change, deletions first: what they leave free may be wanted. Flows that the file does not name stay, unless `prune`."""
    before = {kept.flow.name: kept for kept in there}
    after = {kept.flow.name: kept for kept in wanted}
    gone = [Change(name, kept, None) for name, kept in before.items() if name not in after] if prune else []
    return gone + [Change(name, before.get(name), kept) for name, kept in after.items() if not _is_so(before.get(name), kept)]


def _is_so(there: Kept | None, wanted: Kept) -> bool:
    return there is not None and (there.flow, there.desired) == (wanted.flow, wanted.desired)


def write(there: Sequence[Kept]) -> str:
    """The file for these flows, without what is as it is by default."""
    return tomli_w.dumps({"flow": [_table(kept.flow, kept.desired) for kept in there]})


def _table(flow: Flow, desired: Desired) -> dict[str, Any]:
    table = {"name": flow.name, "run": desired == "ACTIVE"} | _said(flow)
    del table["sources"]
    table.pop("outputs", None)
    return table | {"source": [_end(end) for end in flow.sources], "output": [_end(end) for end in flow.outputs]}


def _end(end: msgspec.Struct) -> dict[str, Any]:
    return {"protocol": end.__struct_config__.tag} | _said(end)


def _said(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields that are not as they are by default."""
    return {
        field.name: value
        for field, value in zip(msgspec.structs.fields(struct), msgspec.structs.astuple(struct), strict=True)
        if value != _default(field)
    }


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def in_words(change: Change) -> Iterator[str]:
    """The change as a person reads it, a line each part."""
    sign = "+" if change.before is None else "-" if change.after is None else "~"
    yield f"{sign} flow {change.name}"
    old, new = (_parts(kept) for kept in (change.before, change.after))
    for key in sorted(old.keys() | new.keys()):
        if change.after is not None and old.get(key) != new.get(key):
            yield f"    {key}: " + " -> ".join(part for part in (old.get(key), new.get(key, "gone")) if part is not None)


def _parts(kept: Kept | None) -> dict[str, str]:
    """What a definition says, a text for each key; those of ends by the end's name."""
    if kept is None:
        return {}
    table = _table(kept.flow, kept.desired)
    parts = {key: _text(value) for key, value in table.items() if key not in ("source", "output", "name")}
    for kind in ("source", "output"):
        for end in table[kind]:
            parts |= {f"{kind} {end['name']}.{key}": _text(value) for key, value in end.items() if key != "name"}
    return parts


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
