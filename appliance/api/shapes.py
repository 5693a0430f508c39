"""What requests may hold, member by member. `parse` is the only way in; its errors name the member and what is allowed.

The clients check required members and types, nothing else: enums, patterns and ranges are checked here. A member that
MediaConnect has and a local flow cannot honour is refused by name, for what is dropped in silence is found out on air.
"""

from __future__ import annotations

import re
import types
import typing
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from appliance.api.faults import BadRequest

PROTOCOLS = ("rtp", "rtp-fec", "rist", "srt-listener", "srt-caller", "udp")  # of a local flow; the others are MediaConnect's alone
NOT_HERE = {
    "vpcInterfaces": "a local flow uses the networks of its machine",
    "vpcInterfaceName": "a local flow uses the networks of its machine",
    "vpcInterfaceAttachment": "a local flow uses the networks of its machine",
    "mediaStreams": "a local flow carries transport streams",
    "mediaStreamSourceConfigurations": "a local flow carries transport streams",
    "mediaStreamOutputConfigurations": "a local flow carries transport streams",
    "gatewayBridgeSource": "there are no bridges",
    "ndiConfig": "there is no NDI",
    "ndiSourceSettings": "there is no NDI",
    "ndiSpeedHqQuality": "there is no NDI",
    "ndiProgramName": "there is no NDI",
    "encodingConfig": "there is no NDI",
    "routerIntegrationTransitDecryption": "there is no router",
    "routerIntegrationTransitEncryption": "there is no router",
    "maxSyncBuffer": "it is for CDI and ST 2110",
    "senderControlPort": "it is for Fujitsu QoS",
    "senderIpAddress": "it is for Fujitsu QoS",
    "remoteId": "it is for Zixi",
}

Protocol = Literal[
    "rtp", "rtp-fec", "rist", "srt-listener", "srt-caller", "udp",
    "zixi-push", "zixi-pull", "st2110-jpegxs", "cdi", "fujitsu-qos", "ndi-speed-hq",
]  # fmt: skip
MOST_TAGS = 50
Switch = Literal["ENABLED", "DISABLED"]
FlowName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="1 to 64 of A-Z, a-z, 0-9, - and _")]
EndName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$", description="1 to 128 of A-Z, a-z, 0-9, - and _")]
Text = Annotated[str, Meta(max_length=1024)]
ListenPort = Annotated[int, Meta(ge=1024, le=65_535)]
FarPort = Annotated[int, Meta(ge=1, le=65_535)]
SrtLatencyMs = Annotated[int, Meta(ge=100, le=15_000)]
RistLatencyMs = Annotated[int, Meta(ge=10, le=15_000)]
SmoothingMs = Annotated[int, Meta(ge=0, le=1000)]
Bitrate = Annotated[int, Meta(ge=1, le=1_000_000_000)]
TagKey = Annotated[str, Meta(min_length=1, max_length=128)]
TagValue = Annotated[str, Meta(max_length=256)]
Tags = Annotated[dict[TagKey, TagValue], Meta(max_length=MOST_TAGS)]
Account = Annotated[str, Meta(pattern=r"^[0-9]{12}$", description="12 digits")]
Hour = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):00$", description="a full hour, like 02:00")]
Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class Shape(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """Members as on the wire, in camelCase. None: not given."""


class Encryption(Shape):
    key_type: Literal["static-key", "srt-password", "speke"] = "static-key"
    algorithm: Literal["aes128", "aes192", "aes256"] | None = None
    secret_arn: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    role_arn: str | None = None  # required by MediaConnect; nobody needs a role to read a secret of this machine
    constant_initialization_vector: str | None = None
    device_id: str | None = None
    region: str | None = None
    resource_id: str | None = None
    url: str | None = None


class EndMembers(Shape):
    """What sources and outputs share, as requests have it: flat."""

    description: Text | None = None
    max_latency: RistLatencyMs | None = None
    min_latency: SrtLatencyMs | None = None
    protocol: Protocol | None = None
    stream_id: Annotated[str, Meta(max_length=512)] | None = None
    router_integration_state: Switch | None = None


class UpdateSource(EndMembers):
    decryption: Encryption | None = None
    entitlement_arn: str | None = None
    ingest_port: ListenPort | None = None
    max_bitrate: Bitrate | None = None
    source_listener_address: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    source_listener_port: FarPort | None = None
    whitelist_cidr: str | None = None


class SetSource(UpdateSource):
    name: EndName | None = None
    source_tags: Tags | None = None


class UpdateOutput(EndMembers):
    cidr_allow_list: list[str] | None = None
    destination: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    encryption: Encryption | None = None
    port: FarPort | None = None
    smoothing_latency: SmoothingMs | None = None
    output_status: Switch | None = None


class AddOutput(UpdateOutput):
    name: EndName | None = None
    output_tags: Tags | None = None


class UpdateEntitlement(Shape):
    description: Text | None = None
    encryption: Encryption | None = None
    entitlement_status: Switch | None = None
    subscribers: Annotated[list[Account], Meta(min_length=1, max_length=50)] | None = None


class GrantEntitlement(UpdateEntitlement, kw_only=True):
    subscribers: Annotated[list[Account], Meta(min_length=1, max_length=50)]
    name: EndName | None = None
    data_transfer_subscriber_fee_percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    entitlement_tags: Tags | None = None


class SourcePriority(Shape):
    primary_source: str | None = None


class Failover(Shape):
    failover_mode: Literal["MERGE", "FAILOVER"] | None = None
    recovery_window: Annotated[int, Meta(ge=100, le=15_000)] | None = None
    source_priority: SourcePriority | None = None
    state: Switch | None = None


class Maintenance(Shape):
    maintenance_day: Day | None = None
    maintenance_start_hour: Hour | None = None
    maintenance_scheduled_date: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$", description="a date, like 2030-01-31")] | None = None


class AddMaintenance(Shape):
    maintenance_day: Day
    maintenance_start_hour: Hour


class Monitoring(Shape):
    thumbnail_state: Switch | None = None


class UpdateFlow(Shape):
    source_failover_config: Failover | None = None
    maintenance: Maintenance | None = None
    source_monitoring_config: Monitoring | None = None
    flow_size: Literal["MEDIUM"] | None = None


class CreateFlow(Shape, kw_only=True):
    name: FlowName
    availability_zone: Annotated[str, Meta(max_length=64)] | None = None
    source: SetSource | None = None
    sources: Annotated[list[SetSource], Meta(max_length=2)] | None = None
    outputs: list[AddOutput] = []
    entitlements: list[GrantEntitlement] = []
    source_failover_config: Failover | None = None
    maintenance: AddMaintenance | None = None
    source_monitoring_config: Monitoring | None = None
    flow_size: Literal["MEDIUM"] | None = None
    flow_tags: Tags | None = None


class AddSources(Shape):
    sources: Annotated[list[SetSource], Meta(min_length=1)]


class AddOutputs(Shape):
    outputs: Annotated[list[AddOutput], Meta(min_length=1)]


class Grant(Shape):
    entitlements: Annotated[list[GrantEntitlement], Meta(min_length=1)]


class Tagging(Shape):
    tags: Tags


class Nothing(Shape):
    """No members at all."""


T = TypeVar("T", bound=Shape)

_AT = re.compile(r" - at (?:`key` in )?`\$\.?(?P<key>[^`]*)`$")


def parse(body: bytes, shape: type[T]) -> T:
    """BadRequest names the member by its way from the outermost, and the allowed values."""
    try:
        data = msgspec.json.decode(body) if body else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    return convert(data, shape)


def convert(data: object, shape: type[T]) -> T:
    if not isinstance(data, dict):
        raise BadRequest("the body: expected an object with members")
    try:
        clean = _without_nulls(data, "")
        return msgspec.convert(clean, type=shape)
    except msgspec.ValidationError as error:
        raise BadRequest(_in_words(str(error), shape)) from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def _without_nulls(data: Any, way: str) -> Any:
    """As AWS has it: null is not given. Members that a local flow cannot honour are refused on the way."""
    if isinstance(data, dict):
        for member in data:
            if member in NOT_HERE and data[member] not in (None, [], {}):
                raise BadRequest(f"{way}{member}: not available on a local flow; {NOT_HERE[member]}")
        return {
            member: _without_nulls(value, f"{way}{member}.")
            for member, value in data.items()
            if not (value is None and member in _members()) and not (member in NOT_HERE and value in (None, [], {}))
        }
    if isinstance(data, list):
        return [_without_nulls(value, f"{way[:-1]}[{place}].") for place, value in enumerate(data)]
    return data


@cache
def _members() -> frozenset[str]:
    """Every member that any shape has: null there is as not given, and no name for what nobody knows."""
    kinds = [kind for kind in globals().values() if isinstance(kind, type) and issubclass(kind, Shape)]
    return frozenset(field.encode_name for kind in kinds for field in msgspec.structs.fields(kind))


def _in_words(message: str, shape: type[Shape]) -> str:
    found = _AT.search(message)
    what, key = (message[: found.start()], found["key"]) if found else (message, "")
    if "unknown field" in what:
        unknown = what.split("`")[1]
        members = sorted(field.encode_name for field in msgspec.structs.fields(_struct_at(shape, key) or shape))
        return f"{key}.{unknown}: unknown; allowed are {', '.join(members)}".lstrip(".")
    if "missing required field" in what:
        return f"{key}.{what.split('`')[1]}: missing".lstrip(".")
    kind = _kind_at(shape, key)
    choices = _choices(kind)
    if choices and what.startswith(("Invalid enum", "Expected")):
        what += "; allowed are " + ", ".join(PROTOCOLS if PROTOCOLS[0] in choices else choices)
    elif "regex" in what and (said := _description(kind)):
        what = f"expected {said}"
    return f"{key or 'the body'}: {what}"


def _kind_at(shape: Any, key: str) -> Any:
    """The annotation of a member, by its way as msgspec writes it: `sources[...].ingestPort`."""
    kind: Any = shape
    for part in re.findall(r"[A-Za-z]+|\[[^]]*\]", key):
        kind = _bare(kind)
        if part.startswith("["):
            kind = (typing.get_args(kind) or (None,))[-1]
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = next((field.type for field in msgspec.structs.fields(kind) if field.encode_name == part), None)
        else:
            return None
    return kind


def _struct_at(shape: Any, key: str) -> type[msgspec.Struct] | None:
    kind = _bare(_kind_at(shape, key)) if key else shape
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _bare(kind: Any) -> Any:
    """Without `Annotated` and without `| None`."""
    while True:
        if typing.get_origin(kind) is Annotated:
            kind = typing.get_args(kind)[0]
        elif isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
            kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
        else:
            return kind


def _choices(kind: Any) -> list[str]:
    bare = _bare(kind)
    return [str(choice) for choice in typing.get_args(bare)] if typing.get_origin(bare) is Literal else []


def _description(kind: Any) -> str:
    while kind is not None:
        if typing.get_origin(kind) is Annotated:
            return next((meta.description or "" for meta in typing.get_args(kind)[1:] if isinstance(meta, Meta)), "")
        if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
            kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
        else:
            return ""
    return ""


def members_given(shape: Shape | None) -> set[str]:
    """Names on the wire of the members that are there."""
    return set() if shape is None else set(msgspec.to_builtins(shape))


def check_tags(tags: dict[str, str] | None) -> dict[str, str]:
    """BadRequest for a key that is AWS's own."""
    own = next((key for key in tags or {} if key.lower().startswith("aws:")), None)
    if own:
        raise BadRequest(f"tags: `{own}` begins with aws:, which is AWS's own")
    return tags or {}
