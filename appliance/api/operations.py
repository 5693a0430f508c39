"""What every operation stands on: finding a flow by its ARN, changing it as one step, and the quotas."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from appliance.api import describe
from appliance.api.arns import parse_arn
from appliance.api.faults import BadRequest, Forbidden, NotFound, OverQuota
from appliance.api.notes import FlowNotes, notes_of
from appliance.api.peering import Peering
from appliance.api.ports import check_ports
from appliance.api.record import Record
from appliance.api.sigv4 import Caller
from appliance.locks import Beside, Locked, beside, check, lock_of
from appliance.service import Service
from firmware.model import Flow
from firmware.status import FlowStatus
from firmware.store import Desired, Kept, UnknownFlow

FLOWS = 20


@dataclass(frozen=True, slots=True)
class Quotas:
    """MediaConnect's own. `PRESSBOX_MAX_FLOWS` raises the first; the others are what a flow can be."""

    flows: int = FLOWS
    outputs: int = 50
    entitlements: int = 50

    @classmethod
    def from_environment(cls) -> Quotas:
        return cls(flows=int(os.environ.get("PRESSBOX_MAX_FLOWS", FLOWS)))


@dataclass(slots=True)
class Known:
    """A flow as the API sees it."""

    flow: Flow
    desired: Desired
    notes: FlowNotes
    beside: Beside = field(default_factory=Beside)
    others: Sequence[Flow] = ()
    """All flows but this one, while it is changed."""

    @classmethod
    def of(cls, kept: Kept) -> Known:
        return cls(kept.flow, kept.desired, notes_of(kept), beside(kept))

    def kept(self) -> Kept:
        self.beside.api = msgspec.Raw(msgspec.json.encode(self.notes))
        return Kept(self.flow, self.desired, msgspec.json.encode(self.beside))

    def document(self) -> dict[str, Any]:
        """As answers hold it, with what is wanted and with tags: for the record."""
        return describe.flow(self.kept(), self.notes, None) | {"desired": self.desired, "tags": self.notes.all_tags()}


class Operations:
    """Of one request, whose changes `record` is told."""

    def __init__(self, service: Service, peering: Peering, quotas: Quotas, record: Record, caller: Caller) -> None:
        self.service = service
        self.peering = peering
        self.caller = caller
        self.quotas = quotas
        self.record = record
        self.warnings: list[str] = []
        """Of what the request changed, for its answer."""

    def find(self, flow_arn: str) -> Known:
        return _find(self.service.list(), flow_arn)

    def status(self, known: Known) -> FlowStatus | None:
        return self.service.status(known.flow.name)

    def change(self, flow_arn: str, change: Callable[[Known], None], *, despite_lock: bool = False) -> Known:
        """Let `change` change it, check that it can be, keep it, and have it applied. What `change` raises undoes all."""
        known = self.find(flow_arn)

        def become(kept: Kept, others: Sequence[Kept]) -> Kept:
            nonlocal known
            known = Known.of(kept)
            if known.notes.arn != flow_arn:
                raise _unknown(flow_arn)
            known.others = [other.flow for other in others]
            before = known.document()
            change(known)
            check_ports(known.flow, known.others)
            after = known.kept()
            if not despite_lock:
                check_lock(kept, after)
            self.record.changed(before, known.document())
            return after

        try:
            self.service.change(known.flow.name, become)
        except UnknownFlow:  # deleted a moment ago
            raise _unknown(flow_arn) from None
        self.warnings = describe.warnings(known.flow, known.notes)
        return known

    def over_quota(self, operation: str, what: str, count: int, most: int) -> None:
        if count > most:
            raise OverQuota(operation, f"{what}: {count} are more than the {most} that there may be")


def check_lock(kept: Kept, after: Kept | None) -> None:
    """Of how it runs, and of who may have its stream."""
    lock = lock_of(kept)
    try:
        check(kept, after)
        if lock is not None and after is not None and _given_away(kept) != _given_away(after):
            raise Locked(kept.flow.name, lock)
    except Locked as locked:
        raise Forbidden(str(locked)) from None


def _given_away(kept: Kept) -> list[tuple[object, ...]]:
    return [(one.id, one.status, one.subscribers, one.encryption) for one in notes_of(kept).entitlements]


def with_flow(known: Known, **changes: object) -> None:
    """Other parts for its definition; BadRequest where they do not fit together."""
    try:
        known.flow = msgspec.structs.replace(known.flow, **changes)
    except ValueError as error:
        raise BadRequest(str(error)) from None


def _find(every: Sequence[Kept], flow_arn: str) -> Known:
    parse_arn(flow_arn, "flow", "flowArn")
    for kept in every:
        known = Known.of(kept)
        if known.notes.arn == flow_arn:
            return known
    raise _unknown(flow_arn)


def _unknown(flow_arn: str) -> NotFound:
    return NotFound(f"flowArn: there is no flow {flow_arn}")
