"""What each role may do.

A subscriber is another host: it asks what it is entitled to, and takes it up. A viewer looks. An operator runs the show: starts and
stops, changes what flows have, and switches a subscriber off and on. What brings a flow into being or ends it, and who is given the
picture at all, is the administrator's.

| operation | least role |
|---|---|
| ListEntitlements, SubscribeToEntitlement, EndSubscription | subscriber |
| Describe…, List…, Get…, BatchGet… | viewer |
| StartFlow, StopFlow, UpdateFlow | operator |
| AddFlowSources, UpdateFlowSource, RemoveFlowSource | operator |
| AddFlowOutputs, UpdateFlowOutput, RemoveFlowOutput | operator |
| UpdateFlowEntitlement of its status and description | operator |
| TagResource, UntagResource | operator |
| UpdateFlowEntitlement of its subscribers or encryption | administrator |
| CreateFlow, DeleteFlow, GrantFlowEntitlements, RevokeFlowEntitlement | administrator |
| everything else | administrator |
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

Role = Literal["subscriber", "viewer", "operator", "administrator"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may what those before it may

SUBSCRIBER = frozenset({"ListEntitlements", "SubscribeToEntitlement", "EndSubscription"})
OPERATOR = frozenset(
    {
        "StartFlow",
        "StopFlow",
        "UpdateFlow",
        "AddFlowSources",
        "UpdateFlowSource",
        "RemoveFlowSource",
        "AddFlowOutputs",
        "UpdateFlowOutput",
        "RemoveFlowOutput",
        "TagResource",
        "UntagResource",
    }
)
ENTITLEMENT_SWITCH = frozenset({"entitlementStatus", "description"})
_READING = ("Describe", "List", "Get", "BatchGet")


def least_role(operation: str, members: Collection[str] = ()) -> Role:
    """The least role that may do it; `members` are those of the request's body, as on the wire."""
    if operation in SUBSCRIBER:
        return "subscriber"
    if operation.startswith(_READING):
        return "viewer"
    if operation == "UpdateFlowEntitlement":
        return "operator" if ENTITLEMENT_SWITCH.issuperset(members) else "administrator"
    return "operator" if operation in OPERATOR else "administrator"


def may(role: Role, operation: str, members: Collection[str] = ()) -> bool:
    return ROLES.index(role) >= ROLES.index(least_role(operation, members))
