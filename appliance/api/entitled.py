"""A source by entitlement: its request names an ARN, and what it becomes is what the granting host says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from appliance.api.arns import parse_arn
from appliance.api.ends import members_of, secret_of
from appliance.api.faults import BadRequest
from appliance.api.notes import EndNotes
from appliance.api.operations import Known, Operations
from appliance.api.peering import LATENCY_MS, Terms, secret_name
from appliance.api.peers import Peer
from appliance.api.shapes import Encryption, SetSource, UpdateSource
from firmware.model import SrtCallerSource
from firmware.secrets import Secrets

CHANGEABLE = {"description", "decryption", "minLatency", "maxBitrate"}
MEMBERS = {"name", "sourceTags", "entitlementArn"} | CHANGEABLE
Taken = dict[str, tuple[Peer, Terms]]


class EntitledOperations(Operations):
    @contextmanager
    def entitled(self, sources: Iterable[tuple[str, SetSource]]) -> Iterator[Taken]:
        """Take what they name before the change, for that asks other hosts; give it back where the change fails. Each with its way."""
        taken: Taken = {}
        try:
            for way, one in sources:
                if one.entitlement_arn:
                    _check_members(one, way)
                    taken[one.entitlement_arn] = self.peering.take(one.entitlement_arn, f"{way}entitlementArn")
            yield taken
        except BaseException:
            for arn, (peer, _) in taken.items():
                self.peering.give_back(peer.name, arn)
            raise

    def give_back(self, sources: Iterable[EndNotes]) -> None:
        for notes in sources:
            if notes.entitlement_arn:
                self.peering.give_back(notes.peer, notes.entitlement_arn)

    def update_entitled(self, known: Known, name: str, given: UpdateSource) -> SrtCallerSource:
        """Its description, key and latency; all else is for the granting host to say."""
        for member in sorted(set(members_of(given)) - CHANGEABLE):
            raise BadRequest(f"{member}: the source comes by an entitlement; allowed are {', '.join(sorted(CHANGEABLE))}")
        notes = known.notes.sources[name]
        notes.description = notes.description if given.description is None else given.description
        notes.max_bitrate = given.max_bitrate or notes.max_bitrate
        source = next(one for one in known.flow.sources if one.name == name)
        assert isinstance(source, SrtCallerSource)  # noqa: S101
        changes: dict[str, Any] = {"latency_ms": given.min_latency or source.latency_ms}
        if given.decryption:
            changes["secret"] = _static_key(given.decryption, self.service.secrets, "decryption")
        return msgspec.structs.replace(source, **changes)


def entitled_source(given: SetSource, name: str, taken: Taken, secrets: Secrets, way: str) -> SrtCallerSource:
    arn = given.entitlement_arn or ""
    peer, terms = taken[arn]
    if terms.passphrase:
        if given.decryption:
            raise BadRequest(f"{way}decryption: this entitlement has no key of its own; leave it out")
        secret = secret_name(parse_arn(arn, "entitlement", f"{way}entitlementArn"))
    elif given.decryption is None:
        raise BadRequest(f"{way}decryption: missing; this entitlement has a static key, which its owner tells you")
    else:
        secret = _static_key(given.decryption, secrets, f"{way}decryption")
    latency_ms = given.min_latency or LATENCY_MS
    return SrtCallerSource(name=name, host=peer.host, port=terms.port, latency_ms=latency_ms, secret=secret, key_bits=terms.key_bits)


def note_entitled(notes: EndNotes, given: SetSource, taken: Taken) -> EndNotes:
    arn = given.entitlement_arn or ""
    peer, terms = taken[arn]
    notes.entitlement_arn, notes.peer, notes.fee_percent = arn, peer.name, terms.fee_percent
    notes.max_bitrate = given.max_bitrate
    return notes


def _static_key(given: Encryption, secrets: Secrets, way: str) -> str:
    if given.key_type != "static-key":
        raise BadRequest(f"{way}.keyType: {given.key_type} is not for an entitlement; allowed is static-key")
    return secret_of(given.secret_arn or "", secrets, way)


def _check_members(given: SetSource, way: str) -> None:
    for member in sorted(set(members_of(given)) - MEMBERS):
        raise BadRequest(f"{way}{member}: the source comes by an entitlement; allowed are {', '.join(sorted(MEMBERS))}")
