"""What answers hold, member by member: the other half of `shapes`, for whoever reads the description of the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from appliance.api.shapes import Encryption, Failover, Maintenance, Monitoring, Shape, Switch

State = Literal["STANDBY", "STARTING", "ACTIVE", "UPDATING", "STOPPING", "DELETING", "ERROR"]
Address = Annotated[str, Meta(description="an IP address")]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", description="UTC, like 2026-11-21T20:30:00Z")]
Percent = Annotated[int, Meta(ge=0, le=100)]


class Transport(Shape):
    """How the stream comes or goes."""

    protocol: Annotated[str, Meta(description="rtp, rtp-fec, rist, srt-listener, srt-caller or udp; camera for what this box films")]
    cidr_allow_list: list[str] | None = None
    max_bitrate: int | None = None
    max_latency: int | None = None
    min_latency: int | None = None
    smoothing_latency: int | None = None
    source_listener_address: str | None = None
    source_listener_port: int | None = None
    stream_id: str | None = None


class Source(Shape):
    source_arn: str
    name: str
    transport: Transport | None = None  # not of one by entitlement: how that comes is between the hosts
    data_transfer_subscriber_fee_percent: Percent | None = None
    decryption: Encryption | None = None
    description: str | None = None
    entitlement_arn: str | None = None
    ingest_ip: Address | None = None
    ingest_port: int | None = None
    peer_ip_address: Address | None = None
    sender_ip_address: Address | None = None
    whitelist_cidr: str | None = None


class Output(Shape):
    output_arn: str
    name: str
    output_status: Switch
    transport: Transport | None = None  # as a source's
    data_transfer_subscriber_fee_percent: Percent | None = None
    description: str | None = None
    destination: str | None = None
    encryption: Encryption | None = None
    entitlement_arn: str | None = None
    listener_address: Address | None = None
    peer_ip_address: Address | None = None
    port: int | None = None


class Entitlement(Shape):
    entitlement_arn: str
    name: str
    subscribers: list[str]
    entitlement_status: Switch
    data_transfer_subscriber_fee_percent: Percent | None = None
    description: str | None = None
    encryption: Encryption | None = None


class Terms(Shape):
    """What the host of a subscriber is told. The passphrase of an entitlement with a static key is for people to tell each other."""

    entitlement_arn: str
    entitlement_name: str
    fee_percent: Percent
    status: Switch
    port: int
    key_bits: Literal[128, 192, 256]
    passphrase: str | None = None


class ListedEntitlement(Shape):
    entitlement_arn: str
    entitlement_name: str
    data_transfer_subscriber_fee_percent: Percent | None = None


class Flow(Shape):
    flow_arn: str
    name: str
    availability_zone: str
    status: State
    source: Source
    sources: list[Source]
    outputs: list[Output]
    entitlements: list[Entitlement]
    source_failover_config: Failover
    source_monitoring_config: Monitoring
    flow_size: Literal["MEDIUM"]
    description: str | None = None
    egress_ip: Address | None = None
    maintenance: Maintenance | None = None


class ListedFlow(Shape):
    flow_arn: str
    name: str
    availability_zone: str
    description: str
    source_type: Literal["OWNED", "ENTITLED"]
    status: State
    maintenance: Maintenance | None = None


class Messages(Shape):
    """What an operator should know."""

    errors: list[str]


class Detail(Shape):
    code: str
    message: str
    resource_name: str | None = None


class OneFlow(Shape):
    flow: Flow


class DescribedFlow(OneFlow):
    messages: Messages | None = None


class ListedFlows(Shape):
    flows: list[ListedFlow]
    next_token: str | None = None


class FlowState(Shape):
    flow_arn: str
    status: State


class AddedSources(Shape):
    flow_arn: str
    sources: list[Source]


class ChangedSource(Shape):
    flow_arn: str
    source: Source


class RemovedSource(Shape):
    flow_arn: str
    source_arn: str


class AddedOutputs(Shape):
    flow_arn: str
    outputs: list[Output]


class ChangedOutput(Shape):
    flow_arn: str
    output: Output


class RemovedOutput(Shape):
    flow_arn: str
    output_arn: str


class GrantedEntitlements(Shape):
    flow_arn: str
    entitlements: list[Entitlement]


class ChangedEntitlement(Shape):
    flow_arn: str
    entitlement: Entitlement


class RevokedEntitlement(Shape):
    flow_arn: str
    entitlement_arn: str


class ListedEntitlements(Shape):
    entitlements: list[ListedEntitlement]
    next_token: str | None = None


class ResourceTags(Shape):
    tags: dict[str, str]


class Stream(Shape):
    pid: int
    stream_type: str
    channels: int | None = None
    codec: str | None = None
    frame_rate: str | None = None
    frame_resolution: dict[str, Any] | None = None
    sample_rate: int | None = None
    sample_size: int | None = None


class Programme(Shape):
    program_number: int
    program_pid: int
    pcr_pid: int
    streams: list[Stream]
    program_name: str | None = None


class Programmes(Shape):
    programs: list[Programme]


class SourceMetadata(Shape):
    flow_arn: str
    messages: list[Detail]
    transport_media_info: Programmes
    timestamp: Moment | None = None


class ThumbnailDetails(Shape):
    flow_arn: str
    thumbnail_messages: list[Detail]
    thumbnail: Annotated[str, Meta(description="a JPEG in base64")] | None = None
    timecode: str | None = None
    timestamp: Moment | None = None


class SourceThumbnail(Shape):
    thumbnail_details: ThumbnailDetails


ANSWERS: dict[str, type[Shape]] = {
    "CreateFlow": OneFlow,
    "DescribeFlow": DescribedFlow,
    "ListFlows": ListedFlows,
    "UpdateFlow": OneFlow,
    "DeleteFlow": FlowState,
    "StartFlow": FlowState,
    "StopFlow": FlowState,
    "AddFlowSources": AddedSources,
    "UpdateFlowSource": ChangedSource,
    "RemoveFlowSource": RemovedSource,
    "AddFlowOutputs": AddedOutputs,
    "UpdateFlowOutput": ChangedOutput,
    "RemoveFlowOutput": RemovedOutput,
    "GrantFlowEntitlements": GrantedEntitlements,
    "UpdateFlowEntitlement": ChangedEntitlement,
    "RevokeFlowEntitlement": RevokedEntitlement,
    "ListEntitlements": ListedEntitlements,
    "SubscribeToEntitlement": Terms,
    "ListTagsForResource": ResourceTags,
    "DescribeFlowSourceMetadata": SourceMetadata,
    "DescribeFlowSourceThumbnail": SourceThumbnail,
}
