"""Sources and outputs: from the flat members of a request to what runs, and back.

A member that means nothing to a protocol is refused, with the protocols that have it: MediaConnect documents it so, and
what is taken and then ignored is found out on air.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, TypeVar, cast

import msgspec

from appliance.api.faults import BadRequest
from appliance.api.notes import EndNotes
from appliance.api.shapes import PROTOCOLS, Encryption, EndMembers, Shape, UpdateOutput, UpdateSource
from firmware import model
from firmware.model import Output, Source
from firmware.secrets import SecretError, Secrets

EVERYWHERE = "0.0.0.0"  # noqa: S104 - who may send is the allowlist's to say, not the address's
SRT_LATENCY_MS = RIST_LATENCY_MS = 2000  # MediaConnect's defaults
ZIXI_PORTS = (2077, 2088)
SEEN = {
    "name",
    "port",
    "host",
    "allow",
    "latency_ms",
    "stream_id",
    "enabled",
    "smooth_ms",
}  # keys of a definition that requests have members for
SEEN_OF_SRT = {"secret", "clear", "key_bits"}
NO_ROLE = "arn:pressbox:iam::000000000000:role/none"
_SECRET_ARN = re.compile(r"arn:[^:]*:secretsmanager:[^:]*:[^:]*:secret:(.+)")
_SECRET_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}$")  # that AWS gives to the names of secrets in their ARNs

SOURCE_MEMBERS = {
    "rtp": {"ingestPort", "whitelistCidr", "maxBitrate"},
    "rtp-fec": {"ingestPort", "whitelistCidr", "maxBitrate"},
    "udp": {"ingestPort", "whitelistCidr", "maxBitrate"},
    "rist": {"ingestPort", "whitelistCidr", "maxBitrate", "maxLatency"},
    "srt-listener": {"ingestPort", "whitelistCidr", "maxBitrate", "minLatency", "decryption"},
    "srt-caller": {"sourceListenerAddress", "sourceListenerPort", "maxBitrate", "minLatency", "streamId", "decryption"},
}
OUTPUT_MEMBERS = {
    "rtp": {"destination", "port", "smoothingLatency"},
    "rtp-fec": {"destination", "port", "smoothingLatency"},
    "udp": {"destination", "port"},
    "rist": {"destination", "port", "smoothingLatency", "maxLatency"},
    "srt-listener": {"port", "cidrAllowList", "minLatency", "encryption"},
    "srt-caller": {"destination", "port", "minLatency", "streamId", "encryption"},
}
NEEDED = {"ingestPort", "whitelistCidr", "sourceListenerAddress", "sourceListenerPort", "destination", "port", "cidrAllowList"}
ANY_PROTOCOL = {"name", "description", "protocol", "sourceTags", "outputTags", "outputStatus", "routerIntegrationState"}


End = TypeVar("End", bound=Source | Output)


def members_of(shape: Shape) -> dict[str, Any]:
    """What was given, by its name on the wire."""
    return cast("dict[str, Any]", msgspec.to_builtins(shape))


def source_from(given: UpdateSource, name: str, secrets: Secrets, way: str = "") -> Source:
    """`way` stands before the members that errors name."""
    protocol = _check(given, SOURCE_MEMBERS, way)
    common: dict[str, Any] = {"name": name}
    if protocol == "srt-caller":
        common |= {"host": given.source_listener_address, "port": given.source_listener_port, "stream_id": given.stream_id or ""}
    else:
        common |= {
            "port": given.ingest_port,
            "address": EVERYWHERE,
            "allow": [check_cidr(given.whitelist_cidr or "", way + "whitelistCidr")],
        }
    if protocol.startswith("srt"):
        common |= _srt(given, given.decryption, secrets, way + "decryption")
    elif protocol == "rist":
        common |= _rist(given)
    return cast("Source", _made({**common, "protocol": protocol}, Source, way))


def output_from(given: UpdateOutput, name: str, secrets: Secrets, way: str = "") -> Output:
    protocol = _check(given, OUTPUT_MEMBERS, way)
    common: dict[str, Any] = {"name": name, "port": given.port, "enabled": given.output_status != "DISABLED"}
    if protocol == "srt-listener":
        if (given.port or 0) < 1024:
            raise BadRequest(f"{way}port: expected 1024 to 65535 where the output listens")
        blocks = given.cidr_allow_list or []
        allow = [check_cidr(block, f"{way}cidrAllowList[{place}]") for place, block in enumerate(blocks)]
        common |= {"address": EVERYWHERE, "allow": allow}
    else:
        common["host"] = given.destination
    if "smoothingLatency" in OUTPUT_MEMBERS[protocol]:
        common["smooth_ms"] = given.smoothing_latency or 0
    if protocol == "srt-caller":
        common["stream_id"] = given.stream_id or ""
    if protocol.startswith("srt"):
        common |= _srt(given, given.encryption, secrets, way + "encryption")
    elif protocol == "rist":
        common |= _rist(given)
    else:
        common["clear"] = True  # MediaConnect has no encryption for these; status and audit say so
    return cast("Output", _made({**common, "protocol": protocol}, Output, way))


def source_members(source: Source, notes: EndNotes) -> dict[str, Any]:
    """The flat members that would make it: what a request gives, and an update changes."""
    members: dict[str, Any] = {"name": notes.name, "description": notes.description, "protocol": protocol_of(source)}
    if isinstance(source, model.SrtCaller):
        members |= {"sourceListenerAddress": source.host, "sourceListenerPort": source.port}
    elif not isinstance(source, model.Camera):
        members |= {"ingestPort": source.port, "whitelistCidr": source.allow[0] if source.allow else "127.0.0.0/8"}
    return members | _common_members(source, notes, "decryption")


def output_members(output: Output, notes: EndNotes) -> dict[str, Any]:
    members: dict[str, Any] = {"name": notes.name, "description": notes.description, "protocol": protocol_of(output)}
    members |= {"port": output.port, "outputStatus": "ENABLED" if output.enabled else "DISABLED"}
    if isinstance(output, model.SrtListener):
        members["cidrAllowList"] = output.allow
    else:
        members["destination"] = output.host
    if "smoothingLatency" in OUTPUT_MEMBERS[protocol_of(output)]:
        members["smoothingLatency"] = getattr(output, "smooth_ms", 0)
    return members | _common_members(output, notes, "encryption")


def _common_members(end: Source | Output, notes: EndNotes, key: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if isinstance(end, model.Srt):
        members["minLatency"] = end.latency_ms
        if isinstance(end, model.SrtCaller) and end.stream_id:
            members["streamId"] = end.stream_id
        if end.secret:
            members[key] = {
                "keyType": "srt-password",
                "algorithm": f"aes{end.key_bits}",
                "secretArn": secret_arn(end.secret),
                "roleArn": notes.role_arn or NO_ROLE,
            }
    if isinstance(end, model.Rist):
        members["maxLatency"] = end.latency_ms
    if notes.max_bitrate is not None:
        members["maxBitrate"] = notes.max_bitrate
    return members


def note(notes: EndNotes, given: UpdateSource | UpdateOutput) -> EndNotes:
    """With what nothing in the definition says."""
    encryption = given.decryption if isinstance(given, UpdateSource) else given.encryption
    notes.description = given.description or ""
    notes.role_arn = (encryption.role_arn if encryption else None) or ""
    notes.max_bitrate = given.max_bitrate if isinstance(given, UpdateSource) else None
    return notes


def with_unseen(made: End, before: Source | Output) -> End:
    """What requests have no member for stays as it is, as long as the protocol does."""
    if type(made) is not type(before):
        return made
    seen = SEEN | SEEN_OF_SRT if isinstance(made, model.Srt) else SEEN
    if getattr(made, "smooth_ms", 0):
        seen = seen | {"gather_ms"}  # they exclude each other
    return msgspec.structs.replace(made, **{key: getattr(before, key) for key in made.__struct_fields__ if key not in seen})


def protocol_of(end: Source | Output) -> str:
    return str(end.__struct_config__.tag)


def secret_arn(name: str) -> str:
    return f"arn:pressbox:secretsmanager:local:000000000000:secret:{name}"


def secret_names(arn: str) -> list[str]:
    """The names of ours that it may mean: the first that there is."""
    found = _SECRET_ARN.fullmatch(arn)
    name = (found[1] if found else arn).lower()
    return [name, _SECRET_SUFFIX.sub("", name)] if _SECRET_SUFFIX.search(name) else [name]


def check_cidr(text: str, way: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        hint = f"; did you mean {ipaddress.ip_network(text, strict=False)}?" if "host bits" in str(error) else ""
        raise BadRequest(f"{way}: `{text[:100]}` is no CIDR block; write one like 192.0.2.0/24 or 203.0.113.7/32{hint}") from None


def _check(given: EndMembers, table: dict[str, set[str]], way: str) -> str:
    """The protocol, once every member is one of its own and none that it needs is missing."""
    protocol = given.protocol
    if protocol is None:
        raise BadRequest(f"{way}protocol: missing; allowed are {', '.join(PROTOCOLS)}")
    if protocol not in PROTOCOLS:
        raise BadRequest(f"{way}protocol: {protocol} is not available on a local flow; allowed are {', '.join(PROTOCOLS)}")
    if given.router_integration_state == "ENABLED":
        raise BadRequest(f"{way}routerIntegrationState: allowed is DISABLED; a local flow has no router")
    members = set(members_of(given))
    for member in sorted(members - ANY_PROTOCOL - table[protocol]):
        takers = [name for name, own in table.items() if member in own]
        raise BadRequest(f"{way}{member}: not a member of {protocol}" + (f"; {', '.join(takers)} have it" if takers else ""))
    for member in sorted(table[protocol] & NEEDED - members):
        raise BadRequest(f"{way}{member}: missing; {protocol} needs it")
    port = getattr(given, "ingest_port", None) or getattr(given, "port", None) or 1024
    if protocol.endswith("listener") and port in ZIXI_PORTS:
        raise BadRequest(f"{way}{'ingestPort' if 'ingestPort' in members else 'port'}: {port} is not for SRT; 2077 and 2088 are Zixi's")
    return str(protocol)


def _srt(given: EndMembers, encryption: Encryption | None, secrets: Secrets, way: str) -> dict[str, Any]:
    members: dict[str, Any] = {"latency_ms": given.min_latency or SRT_LATENCY_MS}
    if encryption is None:
        return members | {"clear": True}
    if encryption.key_type != "srt-password":
        raise BadRequest(f"{way}.keyType: {encryption.key_type} is not for SRT; allowed is srt-password")
    return members | {
        "secret": secret_of(encryption.secret_arn or "", secrets, way),
        "key_bits": int((encryption.algorithm or "aes256")[3:]),
    }


def secret_of(arn: str, secrets: Secrets, way: str) -> str:
    """The name of the secret that it means; BadRequest where there is none."""
    if not arn:
        raise BadRequest(f"{way}.secretArn: missing; name the secret that holds the passphrase, like {secret_arn('NAME')}")
    for name in secret_names(arn):
        try:
            secrets.get(name)
            return name
        except SecretError as error:
            why = str(error)
    raise BadRequest(f"{way}.secretArn: {why}")


def _rist(given: EndMembers) -> dict[str, Any]:
    """Simple profile without encryption, as MediaConnect's."""
    return {"latency_ms": max(10, given.max_latency or RIST_LATENCY_MS), "profile": "simple", "clear": True}


def _made(fields: dict[str, Any], kind: Any, way: str) -> Any:
    try:
        return msgspec.convert(fields, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(way + _on_the_wire(str(error), OF_A_SOURCE if kind is Source else OF_AN_OUTPUT)) from None


OF_A_SOURCE = {"port": "ingestPort", "host": "sourceListenerAddress", "allow": "whitelistCidr", "profile": "protocol"}
OF_AN_OUTPUT = {"host": "destination", "allow": "cidrAllowList", "profile": "protocol"}


def _on_the_wire(message: str, names: dict[str, str]) -> str:
    """The model's sentence, with the member that a request has for the key it names."""
    key, colon, what = message.partition(": ")
    return f"{names.get(key, key)}: {what}" if colon else message
