"""What a request leaves in the audit log: who changed what from what to what, and what was refused.

A change is recorded before it is committed, within the same transaction: there is none without its entry, and where no entry can be
written the change is refused. A power cut between the two leaves an entry whose change was not made.
"""

from __future__ import annotations

from typing import Any

from appliance.api.faults import Fault, Unavailable
from appliance.api.sigv4 import Caller, Denied
from appliance.api.table import Row
from firmware.audit import Audit, AuditError

UNTOLD = {"status", "peerIpAddress", "egressIp"}  # what is, not what is wanted


class Record:
    def __init__(self, audit: Audit, row: Row, labels: dict[str, str], origin: str) -> None:
        self._audit = audit
        self._operation = row.operation
        self._changes = row.method != "GET" and not row.does.startswith("empty")
        self._target = list(labels.values())[-1] if labels else ""
        self.origin = origin
        self._who, self._role = "", ""

    def by(self, caller: Caller) -> None:
        self._who, self._role = f"{caller.name} ({caller.key_id})", caller.role

    def changed(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        """`before` and `after` are documents as answers hold them, without secrets; only what differs is kept."""
        target = self._target or str((after or before or {}).get("flowArn", ""))
        try:
            old, new = (before, after) if before is None or after is None else difference(before, after)
            self._write(target, before=old, after=new)
        except AuditError as error:
            raise Unavailable(f"nothing was changed, for it cannot be recorded: {error}") from None

    def also(self, what: str, target: str, told: dict[str, Any]) -> None:
        """What the change brings with it."""
        try:
            self._audit.record(self._who or "unknown", what, target, role=self._role, origin=self.origin, after=told)
        except AuditError as error:
            raise Unavailable(f"nothing was changed, for it cannot be recorded: {error}") from None

    def refused(self, fault: Fault) -> None:
        unsaid = ""
        if fault.status == 429:  # asked too soon, or again within a moment: clients sign it anew and ask later
            return
        if isinstance(fault, Denied):
            if fault.limited:
                return
            self._who = self._who or fault.key_id
            unsaid = f" ({fault.unsaid} more before it were over the limit of its address)" if fault.unsaid else ""
        elif not self._changes:
            return
        try:
            self._write(self._target, outcome="refused", why=f"{fault.kind}: {fault}{unsaid}")
        except AuditError:
            return  # it is refused all the same; the log of the process has the reason

    def _write(self, target: str, **more: Any) -> None:
        self._audit.record(self._who or "unknown", self._operation, target, role=self._role, origin=self.origin, **more)


def difference(before: Any, after: Any) -> tuple[Any, Any]:
    """Both without what is alike. Parts of a list are told apart by their ARNs."""
    if isinstance(before, dict) and isinstance(after, dict):
        old, new = {}, {}
        for member in before.keys() | after.keys() - UNTOLD:
            was, is_ = before.get(member), after.get(member)
            if was != is_ and member not in UNTOLD:
                old[member], new[member] = difference(was, is_)
        return old, new
    if _is_parts(before) and _is_parts(after):
        return difference({_arn(part): part for part in before}, {_arn(part): part for part in after})
    return before, after


def _is_parts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) and _arn(part) for part in value)


def _arn(part: dict[str, Any]) -> str:
    return next((str(value) for member, value in part.items() if member.endswith("Arn")), "")
