"""What the API keeps of a flow beside its definition: ids, names as they were given, descriptions, tags.

The definition (`firmware.model.Flow`) alone says what runs. A flow that another way made has no notes; they are derived
from its names then, the same each time, and kept from the first change on that comes through the API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from appliance.api.arns import Arn, id_from, new_id
from appliance.locks import beside
from firmware.model import Flow, Output, Source
from firmware.store import Kept

LONGEST_NAME = 63  # of an end or a flow, in its definition


class EndNotes(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Of a source or an output."""

    id: str
    name: str
    description: str = ""
    tags: dict[str, str] = {}
    max_bitrate: int | None = None
    role_arn: str = ""  # of its encryption; nobody needs a role to read a secret of this machine
    entitlement_arn: str = ""  # of an output: whose it is; of a source: what it comes by
    peer: str = ""  # of a source by entitlement: who granted it
    fee_percent: int = 0


class Subscription(msgspec.Struct, frozen=True):
    account: str
    output: str  # its name in the definition
    since: float = 0.0  # Unix time


class Entitlement(msgspec.Struct, kw_only=True, omit_defaults=True):
    id: str
    name: str
    subscribers: list[str]
    description: str = ""
    status: Literal["ENABLED", "DISABLED"] = "ENABLED"
    fee_percent: int = 0
    encryption: dict[str, Any] = {}
    tags: dict[str, str] = {}
    subscription: Subscription | None = None

    @property
    def arn(self) -> str:
        return str(Arn("entitlement", self.id, self.name))


class FlowNotes(msgspec.Struct, kw_only=True, omit_defaults=True):
    id: str
    name: str
    zone: str = "local"
    tags: dict[str, str] = {}
    failover: bool = False
    maintenance: dict[str, str] = {}
    thumbnails: bool = True
    sources: dict[str, EndNotes] = {}  # by the name in the definition
    outputs: dict[str, EndNotes] = {}
    entitlements: list[Entitlement] = []

    @property
    def arn(self) -> str:
        return str(Arn("flow", self.id, self.name))

    def all_tags(self) -> dict[str, dict[str, str]]:
        """Tags of the flow and of its parts, by ARN."""
        tags = {self.arn: self.tags} | {one.arn: one.tags for one in self.entitlements}
        for kind, ends in (("source", self.sources), ("output", self.outputs)):
            tags |= {str(Arn(kind, end.id, end.name)): end.tags for end in ends.values()}
        return tags


def notes_of(kept: Kept) -> FlowNotes:
    """With notes for each end that there is, and for no other."""
    flow = kept.flow
    own = beside(kept).api
    if own:
        notes = msgspec.json.decode(own, type=FlowNotes)
    else:
        notes = FlowNotes(id=id_from("flow", flow.name), name=flow.name, failover=len(flow.sources) > 1)
    notes.sources = _ends("source", flow, flow.sources, notes.sources)
    notes.outputs = _ends("output", flow, flow.outputs, notes.outputs)
    for one in notes.entitlements:
        if one.subscription is not None and one.subscription.output not in notes.outputs:  # taken away another way
            one.subscription = None
    return notes


def _ends(kind: str, flow: Flow, ends: Sequence[Source | Output], known: dict[str, EndNotes]) -> dict[str, EndNotes]:
    return {end.name: known.get(end.name) or EndNotes(id=id_from(kind, flow.name, end.name), name=end.name) for end in ends}


def new_notes(kind: str, name: str, description: str | None, tags: dict[str, str] | None) -> EndNotes:
    return EndNotes(id=new_id(kind), name=name, description=description or "", tags=tags or {})


def plain_name(name: str, taken: Iterable[str]) -> str:
    """A name that a definition can have, as near as may be to the one that was given."""
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:LONGEST_NAME] or "flow"
    others = set(taken)
    number = 1
    unique = plain
    while unique in others:
        number += 1
        unique = f"{plain[: LONGEST_NAME - len(str(number)) - 1]}-{number}"
    return unique
