"""Entitlements that other hosts granted to this one: taken, given back, and looked after while a flow lives on one.

A subscriber names an entitlement by its ARN and is told neither address nor passphrase: its host asks the peers, and the one that
granted it answers with the terms. These become an SRT source of the flow, whose secret is kept under a name of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import Literal
from urllib.parse import quote

import msgspec

from appliance.api.arns import Arn, parse_arn
from appliance.api.faults import BadRequest
from appliance.api.notes import notes_of
from appliance.api.peers import Peer, PeerError, Peers
from appliance.service import Service
from firmware.model import SrtCallerSource
from firmware.store import Kept, StoreError, UnknownFlow

LATENCY_MS = 500
LOOK_S = 5.0
OLD_S = 600.0  # a secret of an entitlement that no flow has had for so long is nobody's

log = logging.getLogger("pressbox.peering")


class Terms(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a subscriber's host is told by the host that grants. Of an entitlement with a static key the subscriber has the passphrase."""

    entitlement_arn: str
    entitlement_name: str
    fee_percent: int
    status: Literal["ENABLED", "DISABLED"] = "ENABLED"
    port: int = 0
    key_bits: Literal[128, 192, 256] = 256
    passphrase: str = ""


class Listed(msgspec.Struct, frozen=True, rename="camel"):
    entitlement_arn: str
    entitlement_name: str
    data_transfer_subscriber_fee_percent: int = 0


class Peering:
    def __init__(self, service: Service) -> None:
        self.service = service
        self.peers = Peers(service.places)
        self.told: dict[str, str] = {}
        """What is the matter with the entitlement of a flow, by the flow's name."""

    def granted(self) -> list[Terms]:
        """By all peers that answer."""
        found: list[Terms] = []
        for peer in self.peers.list():
            try:
                answer = self.peers.ask(peer, "GET", "/v1/entitlements")
                for one in msgspec.convert(answer.get("entitlements", []), type=list[Listed]):
                    fee = one.data_transfer_subscriber_fee_percent
                    found.append(Terms(entitlement_arn=one.entitlement_arn, entitlement_name=one.entitlement_name, fee_percent=fee))
            except (PeerError, msgspec.ValidationError) as error:
                log.warning("entitlements: %s", error)
        return found

    def take(self, arn: str, way: str) -> tuple[Peer, Terms]:
        """From whoever granted it; BadRequest says what each peer says."""
        parsed = parse_arn(arn, "entitlement", way)
        for kept in self.service.list():
            if any(notes.entitlement_arn == arn for notes in notes_of(kept).sources.values()):
                raise BadRequest(f"{way}: flow {kept.flow.name} uses it; an entitlement is for one flow")
        said: list[str] = []
        for peer in self.peers.list():
            try:
                terms = self._subscribe(peer, arn)
            except PeerError as error:
                said.append(str(error))
                continue
            if terms.passphrase:
                self.service.secrets.set(secret_name(parsed), terms.passphrase)
            return peer, terms
        raise BadRequest(f"{way}: no peer of this host grants {arn} to it; {'; '.join(said) or '`pressbox peer add` makes one known'}")

    def give_back(self, peer_name: str, arn: str) -> None:
        """As well as may be: whoever granted it can end it, too."""
        self.service.secrets.delete(secret_name(parse_arn(arn, "entitlement", "entitlementArn")))
        try:
            self.peers.ask(self.peers.get(peer_name), "DELETE", _path(arn))
        except PeerError as error:
            log.warning("the subscription to %s is not given back: %s", arn, error)

    def _subscribe(self, peer: Peer, arn: str) -> Terms:
        try:
            return msgspec.convert(self.peers.ask(peer, "POST", _path(arn)), type=Terms)
        except msgspec.ValidationError as error:
            raise PeerError(f"{peer.name} answers what is not understood here: {error}") from None

    # while a flow lives on one

    def follow(self) -> None:
        """Look every few seconds, in a thread that ends with the process."""

        def follow() -> None:
            while True:
                time.sleep(LOOK_S)
                try:
                    self.look()
                except (StoreError, PeerError, OSError) as error:
                    log.warning("entitlements cannot be looked after: %s", error)

        threading.Thread(target=follow, name="peering", daemon=True).start()

    def look(self) -> None:
        """Where a source by entitlement brings nothing, ask again: an address, a port or a passphrase may be another one by now."""
        every = self.service.list()
        told: dict[str, str] = {}
        for kept in every:
            for name, notes in notes_of(kept).sources.items():
                if notes.entitlement_arn and kept.desired == "ACTIVE" and not self._delivers(kept, name):
                    told[kept.flow.name] = self._again(kept, name, notes.peer, notes.entitlement_arn)
        self.told = {name: sentence for name, sentence in told.items() if sentence}
        self._tidy({secret for kept in every for secret in kept.flow.secrets})

    def _delivers(self, kept: Kept, source: str) -> bool:
        status = self.service.status(kept.flow.name)
        ends = status.sources if status is not None and not status.stale else []
        return any(end.name == source and end.state == "connected" for end in ends)

    def _again(self, kept: Kept, source: str, peer_name: str, arn: str) -> str:
        try:
            peer = self.peers.get(peer_name)
            terms = self._subscribe(peer, arn)
        except PeerError as error:
            gone = error.status in (403, 404)
            return f"{source}: the entitlement is revoked ({error})" if gone else f"{source}: {error}"
        if terms.passphrase:
            name = secret_name(parse_arn(arn, "entitlement", "entitlementArn"))
            if name not in self.service.secrets.names() or self.service.secrets.get(name) != terms.passphrase:
                self.service.secrets.set(name, terms.passphrase)
                self.service.ask({"op": "apply"})
        self._become(kept.flow.name, source, peer, terms)
        return f"{source}: {peer_name} has disabled the entitlement" if terms.status == "DISABLED" else ""

    def _become(self, flow: str, source: str, peer: Peer, terms: Terms) -> None:
        def as_told(one: object) -> object:
            if isinstance(one, SrtCallerSource) and one.name == source:
                return msgspec.structs.replace(one, host=peer.host, port=terms.port, key_bits=terms.key_bits)
            return one

        def become(kept: Kept, _: object) -> Kept:
            sources = [as_told(one) for one in kept.flow.sources]
            after = replace(kept, flow=msgspec.structs.replace(kept.flow, sources=sources))
            what = {"host": peer.host, "port": terms.port}
            self.service.audit.record(f"peer {peer.name}", "RenewSubscription", terms.entitlement_arn, after=what)
            return after

        try:
            kept = self.service.get(flow)
            if [as_told(one) for one in kept.flow.sources] != kept.flow.sources:
                self.service.change(flow, become)
        except UnknownFlow:  # deleted meanwhile
            return

    def _tidy(self, used: set[str]) -> None:
        """Secrets that were left behind: by a process that was killed, or by a flow that was deleted another way."""
        for name in self.service.secrets.names():
            if name.startswith(("entitlement-4-", "subscribed-4-")) and name not in used:
                age_s = time.time() - self.service.secrets.path(name).stat().st_mtime
                if age_s > OLD_S:
                    self.service.secrets.delete(name)


def secret_name(arn: Arn) -> str:
    return f"subscribed-{arn.id.lower()}"


def _path(arn: str) -> str:
    return f"/pressbox/v1/subscriptions/{quote(arn, safe='')}"
