"""Entitlements that this host grants: who may take a flow's stream, and the output that a subscriber is given.

A grant opens nothing. When a host of a subscriber's account takes it up, the flow gets an output for it alone: an SRT listener with a
passphrase of its own that lets in the address which asked, and no other. So to disable or to revoke one touches none of the others.
What that output is, is nobody's to choose and nobody's to change: it goes with its entitlement.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import msgspec

from appliance.api import describe
from appliance.api.arns import Arn, new_id, parse_arn
from appliance.api.ends import EVERYWHERE, secret_of
from appliance.api.faults import BadRequest, Forbidden, NotFound, Unavailable
from appliance.api.notes import EndNotes, Entitlement, FlowNotes, Subscription, notes_of, plain_name
from appliance.api.operations import Known, Operations, with_flow
from appliance.api.peering import Terms
from appliance.api.ports import listening
from appliance.api.shapes import Encryption, Grant, GrantEntitlement, UpdateEntitlement, check_tags
from appliance.api.transfer import transfer_told, transferred
from firmware.model import Flow, SrtListenerOutput
from firmware.secrets import generate

PORTS = range(20_100, 20_300)
LATENCY_MS = 120  # the subscriber's own wish is what counts, for SRT takes the longer one


class EntitlementOperations(Operations):
    def grant_flow_entitlements(self, flow_arn: str, given: Grant) -> dict[str, Any]:
        granted: list[Entitlement] = []

        def change(known: Known) -> None:
            count = len(known.notes.entitlements) + len(given.entitlements)
            self.over_quota("GrantFlowEntitlements", "entitlements", count, self.quotas.entitlements)
            for place, one in enumerate(given.entitlements):
                granted.append(self.new_entitlement(known.notes, one, f"entitlements[{place}]."))

        self.change(flow_arn, change)
        return {"flowArn": flow_arn, "entitlements": [describe.entitlement(one) for one in granted]}

    def new_entitlement(self, notes: FlowNotes, given: GrantEntitlement, way: str) -> Entitlement:
        name = given.name or f"entitlement-{len(notes.entitlements) + 1}"
        if name in [one.name for one in notes.entitlements]:
            raise BadRequest(f"{way}name: `{name}` is there already; each needs a name of its own")
        made = Entitlement(
            id=new_id("entitlement"),
            name=name,
            subscribers=given.subscribers,
            description=given.description or "",
            status=given.entitlement_status or "ENABLED",
            fee_percent=given.data_transfer_subscriber_fee_percent or 0,
            encryption=self._encryption(given.encryption, {}, way),
            tags=check_tags(given.entitlement_tags),
        )
        notes.entitlements.append(made)
        return made

    def _encryption(self, given: Encryption | None, before: dict[str, Any], way: str) -> dict[str, Any]:
        if given is None:
            return before
        if given.key_type != "static-key":
            raise BadRequest(f"{way}encryption.keyType: {given.key_type} is not for an entitlement here; allowed is static-key")
        whole: dict[str, Any] = before | msgspec.to_builtins(given)
        secret_of(whole.get("secretArn", ""), self.service.secrets, f"{way}encryption")
        return whole

    def update_flow_entitlement(self, flow_arn: str, entitlement_arn: str, given: UpdateEntitlement) -> dict[str, Any]:
        changed: list[Entitlement] = []

        def change(known: Known) -> None:
            one = _entitlement(known, entitlement_arn)
            one.description = one.description if given.description is None else given.description
            one.status = given.entitlement_status or one.status
            one.subscribers = given.subscribers or one.subscribers
            one.encryption = self._encryption(given.encryption, one.encryption, "")
            self._arrange(known, one)
            changed.append(one)

        self.change(flow_arn, change)
        return {"flowArn": flow_arn, "entitlement": describe.entitlement(changed[-1])}

    def revoke_flow_entitlement(self, flow_arn: str, entitlement_arn: str) -> dict[str, Any]:
        def change(known: Known) -> None:
            one = _entitlement(known, entitlement_arn)
            self._account(known, one)
            _end(known, one)
            known.notes.entitlements.remove(one)

        self.change(flow_arn, change)
        self.service.secrets.delete(secret_name(parse_arn(entitlement_arn, "entitlement", "entitlementArn")))
        return {"flowArn": flow_arn, "entitlementArn": entitlement_arn}

    def list_entitlements(self) -> dict[str, Any]:
        """What was granted to the caller's account here and, for those of this house, what other hosts granted to this one."""
        own = [one for kept in self.service.list() for one in notes_of(kept).entitlements if self.caller.account in one.subscribers]
        listed = [_listed(one.arn, one.name, one.fee_percent) for one in own]
        if self.caller.role != "subscriber":
            listed += [_listed(terms.entitlement_arn, terms.entitlement_name, terms.fee_percent) for terms in self.peering.granted()]
        return {"entitlements": listed}

    # between hosts: what MediaConnect does inside

    def subscribe_to_entitlement(self, entitlement_arn: str) -> dict[str, Any]:
        """Give the caller's host what it takes to have the stream. Asked again, its address may be another one."""
        arn = str(parse_arn(entitlement_arn, "entitlement", "entitlementArn"))
        flow_arn, again = self._granted(arn)
        terms: list[Terms] = []

        def change(known: Known) -> None:
            one = _entitlement(known, arn)
            self._may_take(one)
            if one.subscription is None:
                self.over_quota("AddFlowOutputs", "outputs", len(known.flow.outputs) + 1, self.quotas.outputs)
                self._begin(known, one)
            self._arrange(known, one, self.record.origin)
            terms.append(self._terms(known, one))

        self.change(flow_arn, change, despite_lock=again)
        return dict(msgspec.to_builtins(terms[-1]))

    def end_subscription(self, entitlement_arn: str) -> None:
        arn = str(parse_arn(entitlement_arn, "entitlement", "entitlementArn"))
        flow_arn, _ = self._granted(arn)

        def change(known: Known) -> None:
            one = _entitlement(known, arn)
            self._may_take(one)
            self._account(known, one)
            _end(known, one)

        self.change(flow_arn, change)
        self.service.secrets.delete(secret_name(parse_arn(arn, "entitlement", "entitlementArn")))

    def _granted(self, arn: str) -> tuple[str, bool]:
        """The flow, and whether the caller has the stream already. What is granted to others is as unknown as what is not there."""
        for kept in self.service.list():
            notes = notes_of(kept)
            for one in notes.entitlements:
                if one.arn == arn and self.caller.account in one.subscribers:
                    return notes.arn, one.subscription is not None
        raise NotFound(f"entitlementArn: account {self.caller.account} has no entitlement {arn} here")

    def _may_take(self, one: Entitlement) -> None:
        if self.caller.account not in one.subscribers:  # a moment ago it was
            raise NotFound(f"entitlementArn: account {self.caller.account} has no entitlement {one.arn} here")
        if one.subscription is not None and one.subscription.account != self.caller.account:
            raise Forbidden("entitlementArn: another of its subscribers uses it; an entitlement is for one flow")

    def _begin(self, known: Known, one: Entitlement) -> None:
        output = plain_name(f"entitled-{one.name}", [output.name for output in known.flow.outputs])
        one.subscription = Subscription(account=self.caller.account, output=output, since=time.time())
        known.notes.outputs[output] = EndNotes(id=new_id("output"), name=output, entitlement_arn=one.arn)
        if not one.encryption:
            self.service.secrets.set(secret_name(one), generate())
        made = SrtListenerOutput(
            name=output,
            port=_free_port([known.flow, *known.others]),
            latency_ms=LATENCY_MS,
            secret=secret_name(one),
            allow=[],
        )
        with_flow(known, outputs=[*known.flow.outputs, made])

    def _arrange(self, known: Known, one: Entitlement, origin: str = "") -> None:
        """Have its output as the entitlement is now, open to `origin` where that is given."""
        if one.subscription is None:
            return
        if one.subscription.account not in one.subscribers:
            self._account(known, one)
            _end(known, one)
            return
        changes: dict[str, Any] = {"enabled": one.status == "ENABLED", "secret": secret_name(one), "key_bits": 256}
        if one.encryption:
            changes["secret"] = secret_of(one.encryption.get("secretArn", ""), self.service.secrets, "encryption")
            changes["key_bits"] = int(one.encryption.get("algorithm", "aes256")[3:])
        if origin:
            six = ":" in origin
            changes |= {"address": "::" if six else EVERYWHERE, "allow": [f"{origin}/{128 if six else 32}"]}
        outputs = [
            msgspec.structs.replace(output, **changes) if output.name == one.subscription.output else output
            for output in known.flow.outputs
        ]
        with_flow(known, outputs=outputs)

    def _account(self, known: Known, one: Entitlement) -> None:
        """Have it on record what was transferred, and whose that is to pay, before the subscription ends."""
        if one.subscription is not None:
            carried = transferred(self.service.places, known.flow.name, one.subscription)
            self.record.also("DataTransfer", one.arn, transfer_told(one, one.subscription, carried))

    def _terms(self, known: Known, one: Entitlement) -> Terms:
        assert one.subscription is not None  # noqa: S101
        output = next(output for output in known.flow.outputs if output.name == one.subscription.output)
        assert isinstance(output, SrtListenerOutput)  # noqa: S101
        return Terms(
            entitlement_arn=one.arn,
            entitlement_name=one.name,
            fee_percent=one.fee_percent,
            status=one.status,
            port=output.port,
            key_bits=output.key_bits,
            passphrase="" if one.encryption else self.service.secrets.get(output.secret),
        )


def secret_name(one: Entitlement | Arn) -> str:
    """Of the passphrase of the entitlement's output."""
    return f"entitlement-{one.id.lower()}"


def _end(known: Known, one: Entitlement) -> None:
    if one.subscription is None:
        return
    name, one.subscription = one.subscription.output, None
    known.notes.outputs.pop(name, None)
    with_flow(known, outputs=[output for output in known.flow.outputs if output.name != name])


def _listed(arn: str, name: str, fee_percent: int) -> dict[str, Any]:
    return {"entitlementArn": arn, "entitlementName": name, "dataTransferSubscriberFeePercent": fee_percent}


def _entitlement(known: Known, arn: str) -> Entitlement:
    parse_arn(arn, "entitlement", "entitlementArn")
    for one in known.notes.entitlements:
        if one.arn == arn:
            return one
    raise NotFound(f"entitlementArn: this flow has no entitlement {arn}")


def _free_port(flows: Iterable[Flow]) -> int:
    """One that no flow has and that nobody else on this machine listens on."""
    taken = {port for flow in flows for _, port in listening(flow)}
    for port in PORTS:
        if port not in taken:
            with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
                try:
                    probe.bind((EVERYWHERE, port))
                    return port
                except OSError:
                    continue
    raise Unavailable(f"none of the ports {PORTS[0]} to {PORTS[-1]} is free for another subscriber")
