"""What answers hold: a flow and its parts in MediaConnect's shapes, with what runs beside what is wanted.

A request's source is flat; the answer's is split: what concerns the transport is in `transport`.
"""

from __future__ import annotations

import socket
from typing import Any

from appliance.api.arns import Arn
from appliance.api.ends import NO_ROLE, output_members, secret_arn, source_members
from appliance.api.notes import EndNotes, Entitlement, FlowNotes
from firmware import model
from firmware.model import Flow, Output, Source
from firmware.status import EndStatus, FlowStatus
from firmware.store import Kept

TRANSPORT = {
    "protocol", "maxBitrate", "maxLatency", "minLatency", "streamId", "smoothingLatency", "cidrAllowList", "sourceListenerAddress",
    "sourceListenerPort",
}  # fmt: skip
EVERYBODY = ("0.0.0.0/0", "::/0")
Document = dict[str, Any]


def state_of(kept: Kept, status: FlowStatus | None) -> str:
    """STANDBY, STARTING, ACTIVE, STOPPING or ERROR."""
    lives = status is not None and not status.stale
    if kept.desired == "ACTIVE":
        if status is None or not lives or status.state == "STANDBY":
            return "STARTING"
        return "ERROR" if status.state == "ERROR" else "ACTIVE"
    return "STOPPING" if status is not None and lives and status.state == "ACTIVE" else "STANDBY"


def flow(kept: Kept, notes: FlowNotes, status: FlowStatus | None) -> Document:
    address = own_address()
    ends = {end.name: end for end in (*status.sources, *status.outputs)} if status else {}
    sources = [source(one, notes.sources[one.name], ends.get(one.name), address) for one in kept.flow.sources]
    document: Document = {
        "flowArn": notes.arn,
        "name": notes.name,
        "availabilityZone": notes.zone,
        "status": state_of(kept, status),
        "egressIp": address,
        "source": sources[0],
        "sources": sources,
        "outputs": [output(one, notes.outputs[one.name], ends.get(one.name), address) for one in kept.flow.outputs],
        "entitlements": [entitlement(one) for one in notes.entitlements],
        "sourceFailoverConfig": failover(kept.flow, notes),
        "sourceMonitoringConfig": {"thumbnailState": "ENABLED" if notes.thumbnails else "DISABLED"},
        "flowSize": "MEDIUM",
    }
    if notes.maintenance:
        document["maintenance"] = notes.maintenance
    return document


def listed(kept: Kept, notes: FlowNotes, status: FlowStatus | None) -> Document:
    document = {
        "flowArn": notes.arn,
        "name": notes.name,
        "availabilityZone": notes.zone,
        "description": "",
        "sourceType": "ENTITLED" if any(end.entitlement_arn for end in notes.sources.values()) else "OWNED",
        "status": state_of(kept, status),
    }
    return document | ({"maintenance": notes.maintenance} if notes.maintenance else {})


def warnings(flow: Flow, notes: FlowNotes) -> list[str]:
    """What is accepted and should not stay so."""
    sources = [(notes.sources[one.name].name, getattr(one, "allow", [])) for one in flow.sources]
    return [f"{name}: anybody may send to it, its allowlist is {block}" for name, allow in sources for block in allow if block in EVERYBODY]


def messages(kept: Kept, status: FlowStatus | None) -> list[str]:
    """What an operator should know of a flow."""
    if kept.desired != "ACTIVE" or status is None:
        return []
    told = [status.message] if status.message else []
    told += [f"{end.name}: {end.message}" for end in (*status.sources, *status.outputs) if end.state == "failed" and end.message]
    return told + status.alarms


def failover(flow: Flow, notes: FlowNotes) -> Document:
    document: Document = {"state": "ENABLED" if notes.failover else "DISABLED"}
    if notes.failover:
        document["failoverMode"] = flow.recover.upper()
        if flow.recover == "merge":
            document["recoveryWindow"] = flow.window_ms
        elif flow.primary in notes.sources:
            document["sourcePriority"] = {"primarySource": notes.sources[flow.primary].name}
    return document


def source(one: Source, notes: EndNotes, status: EndStatus | None, address: str) -> Document:
    if notes.entitlement_arn:
        return _entitled_source(one, notes)
    members = source_members(one, notes)
    document = {"sourceArn": str(Arn("source", notes.id, notes.name)), **_split(members)}
    if not isinstance(one, model.SrtCaller | model.Camera):
        listens = next((block for block in one.allow if not block.startswith(("127.", "::1"))), "")
        document["ingestIp"] = address if listens else "127.0.0.1"
    return document | _peer(status)


def _entitled_source(one: Source, notes: EndNotes) -> Document:
    """Without how it comes: that is between the hosts."""
    document: Document = {
        "sourceArn": str(Arn("source", notes.id, notes.name)),
        "name": notes.name,
        "description": notes.description,
        "entitlementArn": notes.entitlement_arn,
        "dataTransferSubscriberFeePercent": notes.fee_percent,
    }
    secret = getattr(one, "secret", "")
    if secret and not secret.startswith("subscribed-"):
        document["decryption"] = {"keyType": "static-key", "secretArn": secret_arn(secret), "roleArn": notes.role_arn or NO_ROLE}
    return document


def output(one: Output, notes: EndNotes, status: EndStatus | None, address: str) -> Document:
    arn = str(Arn("output", notes.id, notes.name))
    if notes.entitlement_arn:  # how it gets there is between the hosts
        status_now = "ENABLED" if one.enabled else "DISABLED"
        return {"outputArn": arn, "name": notes.name, "entitlementArn": notes.entitlement_arn, "outputStatus": status_now} | _peer(status)
    document = {"outputArn": arn, **_split(output_members(one, notes))}
    if isinstance(one, model.SrtListener):
        document["listenerAddress"] = address
    return document | _peer(status)


def entitlement(one: Entitlement) -> Document:
    document: Document = {
        "entitlementArn": one.arn,
        "name": one.name,
        "description": one.description,
        "entitlementStatus": one.status,
        "subscribers": one.subscribers,
        "dataTransferSubscriberFeePercent": one.fee_percent,
    }
    return document | ({"encryption": one.encryption} if one.encryption else {})


def own_address() -> str:
    """The address that this machine is reached at from outside, as far as it knows; its own loopback where it has no way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _split(members: Document) -> Document:
    transport = {member: value for member, value in members.items() if member in TRANSPORT}
    return {**{member: value for member, value in members.items() if member not in TRANSPORT}, "transport": transport}


def _peer(status: EndStatus | None) -> Document:
    peer = status.peer.split(",")[0].rpartition(":")[0].strip("[]") if status and status.state == "connected" else ""
    return {"peerIpAddress": peer} if peer else {}
