"""Wrong members, unknown ARNs, quotas and roles: refused in words that name the member, and nothing is changed."""

from __future__ import annotations

import socket

import msgspec
import pytest

from appliance.api import shapes
from appliance.api.faults import BadRequest
from firmware.audit import Audit
from firmware.secrets import Secrets, generate

from .host import WHITELIST, Host, refusal

RTP = {"Name": "in", "Protocol": "rtp", "IngestPort": 5000, "WhitelistCidr": WHITELIST}
SRT = {"Name": "in", "Protocol": "srt-listener", "IngestPort": 5000, "WhitelistCidr": WHITELIST}
BOTH = {"State": "ENABLED"}
WRONG_SOURCES = [
    ({"Protocol": "bogus"}, "source.protocol: Invalid enum value 'bogus'; allowed are rtp, rtp-fec, rist, srt-listener, srt-caller, udp"),
    ({"Protocol": "zixi-push"}, "source.protocol: zixi-push is not available on a local flow; allowed are rtp, rtp-fec"),
    ({"IngestPort": 80}, "source.ingestPort: Expected `int` >= 1024"),
    ({"IngestPort": 65_533, "Protocol": "rtp-fec"}, "source.ingestPort: 65533 leaves no room for the FEC ports 2 and 4 above it"),
    ({"WhitelistCidr": "10.0.0.1/8"}, "source.whitelistCidr: `10.0.0.1/8` is no CIDR block; write one like 192.0.2.0/24"),
    ({"WhitelistCidr": "anybody"}, "source.whitelistCidr: `anybody` is no CIDR block"),
    ({"MinLatency": 200}, "source.minLatency: not a member of rtp; srt-listener, srt-caller have it"),
    ({"StreamId": "x"}, "source.streamId: not a member of rtp; srt-caller have it"),
    ({"VpcInterfaceName": "eth0"}, "source.vpcInterfaceName: not available on a local flow"),
    ({"Name": "no spaces"}, "source.name: expected 1 to 128 of A-Z, a-z, 0-9, - and _"),
    ({"EntitlementArn": "arn:aws:mediaconnect:x:1:entitlement:1-a:e"}, "source.ingestPort: the source comes by an entitlement"),
    (SRT | {"IngestPort": 2088}, "source.ingestPort: 2088 is not for SRT; 2077 and 2088 are Zixi's"),
    (SRT | {"MinLatency": 50}, "source.minLatency: Expected `int` >= 100"),
    (
        SRT | {"Decryption": {"RoleArn": "r", "KeyType": "speke"}},
        "source.decryption.keyType: speke is not for SRT; allowed is srt-password",
    ),
    (SRT | {"Decryption": {"RoleArn": "r", "KeyType": "srt-password"}}, "source.decryption.secretArn: missing"),
    (
        SRT | {"Decryption": {"RoleArn": "r", "KeyType": "srt-password", "SecretArn": "nowhere"}},
        "source.decryption.secretArn: the secret `nowhere` is missing",
    ),
    ({"SourceTags": {"aws:mine": "x"}}, "tags: `aws:mine` begins with aws:, which is AWS's own"),
]
UDP = {"Name": "out", "Protocol": "udp", "Destination": "127.0.0.1", "Port": 5004}
WRONG_OUTPUTS = [
    ({"Port": 0}, "outputs[0].port: Expected `int` >= 1"),
    ({"CidrAllowList": ["10.0.0.0/8"]}, "outputs[0].cidrAllowList: not a member of udp; srt-listener have it"),
    ({"Protocol": "rtp", "SmoothingLatency": 1001}, "outputs[0].smoothingLatency: Expected `int` <= 1000"),
    ({"Protocol": "udp", "SmoothingLatency": 200}, "outputs[0].smoothingLatency: not a member of udp"),
    ({"RouterIntegrationState": "ENABLED"}, "outputs[0].routerIntegrationState: allowed is DISABLED"),
    ({"NdiProgramName": "x"}, "outputs[0].ndiProgramName: not available on a local flow; there is no NDI"),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from firmware.places import Places

    root = tmp_path_factory.mktemp("host")
    there = Places(root / "state", root / "run")
    there.create()
    with Host(there) as started:
        yield started


@pytest.fixture
def client(shared):
    client = shared.client()
    yield client
    for flow in client.list_flows()["Flows"]:
        client.delete_flow(FlowArn=flow["FlowArn"])


@pytest.mark.parametrize(("members", "sentence"), WRONG_SOURCES, ids=[sentence[:40] for _, sentence in WRONG_SOURCES])
def test_a_wrong_member_of_a_source_is_named(client, members, sentence):
    status, code, message = refusal(client.create_flow, Name="f", Source=RTP | members)
    assert (status, code) == (400, "BadRequestException")
    assert message.startswith(sentence)
    assert client.list_flows()["Flows"] == []


def test_null_is_as_not_given_and_no_name_for_what_nobody_knows():
    source = {"protocol": "rtp", "ingestPort": 5000, "whitelistCidr": WHITELIST, "streamId": None, "mediaStreams": None}
    ask = {"name": "f", "source": source}
    shape = shapes.parse(msgspec.json.encode(ask), shapes.CreateFlow)
    assert shape.source
    assert shape.source.stream_id is None
    with pytest.raises(BadRequest, match=r"source\.colour: unknown; allowed are "):
        shapes.parse(msgspec.json.encode(ask | {"source": source | {"colour": None}}), shapes.CreateFlow)


def test_an_allowlist_of_everybody_is_accepted_with_a_warning(client):
    made = client.create_flow(Name="f", Source=RTP | {"Name": "in", "WhitelistCidr": "0.0.0.0/0"})
    warning = "in: anybody may send to it, its allowlist is 0.0.0.0/0"
    assert made["ResponseMetadata"]["HTTPHeaders"]["x-pressbox-warning"] == warning
    described = client.describe_flow(FlowArn=made["Flow"]["FlowArn"])
    assert described["Messages"]["Errors"] == [warning]


@pytest.mark.parametrize(("members", "sentence"), WRONG_OUTPUTS, ids=[sentence[:40] for _, sentence in WRONG_OUTPUTS])
def test_a_wrong_member_of_an_output_is_named(client, members, sentence):
    status, code, message = refusal(client.create_flow, Name="f", Source=RTP, Outputs=[UDP | members])
    assert (status, code, message[: len(sentence)]) == (400, "BadRequestException", sentence)


def test_the_rules_for_two_sources(client):
    second = RTP | {"Name": "b", "IngestPort": 5010}
    for members, sentence in (
        ({"Sources": [RTP, second]}, "sourceFailoverConfig.state: two sources need ENABLED"),
        (
            {"Sources": [RTP, SRT | {"Name": "b", "IngestPort": 5010}], "SourceFailoverConfig": BOTH},
            "sources: two of one flow have the same",
        ),
        ({"Sources": [RTP, second, second]}, "sources: Expected `array` of length <= 2"),
        ({"Sources": [RTP, RTP | {"Name": "b"}], "SourceFailoverConfig": BOTH}, "ingestPort: 5000, of b, is taken by in"),
        ({"Source": RTP, "Sources": [second]}, "source: give either source or sources"),
        ({}, "sources: missing"),
        (
            {"Sources": [RTP, second], "SourceFailoverConfig": BOTH | {"FailoverMode": "FAILOVER", "RecoveryWindow": 200}},
            "sourceFailoverConfig.recoveryWindow: is for MERGE",
        ),
        (
            {
                "Sources": [RTP, second],
                "SourceFailoverConfig": BOTH | {"FailoverMode": "FAILOVER", "SourcePriority": {"PrimarySource": "c"}},
            },
            "sourceFailoverConfig.sourcePriority.primarySource: `c` is none of the sources; allowed are in, b",
        ),
    ):
        assert refusal(client.create_flow, Name="f", **members)[2].startswith(sentence)
    made = client.create_flow(Name="f", Sources=[RTP, second | {"Protocol": "rtp-fec"}], SourceFailoverConfig=BOTH)["Flow"]
    added = refusal(client.add_flow_sources, FlowArn=made["FlowArn"], Sources=[RTP | {"Name": "c", "IngestPort": 6000}])
    assert added[2].startswith("sources: 3 are more than the 2 that a flow has")


def test_ports_and_destinations_are_taken_once(client):
    arn = client.create_flow(Name="a", Source=RTP | {"Protocol": "rtp-fec"}, Outputs=[UDP])["Flow"]["FlowArn"]
    taken = refusal(client.create_flow, Name="b", Source=RTP | {"IngestPort": 5004})
    assert taken[2].startswith("ingestPort: 5004, of in, is taken by in of flow a; rtp-fec takes the ports 2 and 4 above")
    twice = refusal(client.add_flow_outputs, FlowArn=arn, Outputs=[UDP | {"Name": "again"}])
    assert twice[2] == "destination: 127.0.0.1:5004, of again, is that of out already"
    named = refusal(client.add_flow_outputs, FlowArn=arn, Outputs=[UDP | {"Port": 5006}])
    assert named[2].startswith("outputs[0].name: `out` is there already")


def test_what_is_not_there_is_not_found(client):
    arn = client.create_flow(Name="a", Source=RTP)["Flow"]["FlowArn"]
    other = arn.replace("flow:1-", "flow:1-x")
    for call in (client.describe_flow, client.start_flow, client.stop_flow, client.delete_flow, client.describe_flow_source_thumbnail):
        assert refusal(call, FlowArn=other)[:2] == (404, "NotFoundException")
        assert refusal(call, FlowArn="arn:aws:s3:::x")[:2] == (400, "BadRequestException")
    output = arn.replace("flow:1", "output:3")
    assert refusal(client.remove_flow_output, FlowArn=arn, OutputArn=output)[:2] == (404, "NotFoundException")
    assert refusal(client.tag_resource, ResourceArn=output, Tags={"a": "b"})[:2] == (404, "NotFoundException")


def test_states_that_forbid(client):
    arn = client.create_flow(Name="a", Source=RTP)["Flow"]["FlowArn"]
    assert refusal(client.stop_flow, FlowArn=arn)[:2] == (400, "BadRequestException")
    client.start_flow(FlowArn=arn)
    assert refusal(client.delete_flow, FlowArn=arn)[2] == "flowArn: the flow is ACTIVE; stop it first"
    assert client.describe_flow(FlowArn=arn)["Flow"]["Status"] == "STARTING"  # there is no engine here
    only = client.describe_flow(FlowArn=arn)["Flow"]["Source"]["SourceArn"]
    assert refusal(client.remove_flow_source, FlowArn=arn, SourceArn=only)[2].startswith("sourceArn: it is the flow's only source")
    client.stop_flow(FlowArn=arn)


def test_quotas_have_errors_of_their_own(client):
    outputs = [UDP | {"Name": f"o-{n}", "Port": 6000 + n} for n in range(50)]
    arn = client.create_flow(Name="full", Source=RTP, Outputs=outputs)["Flow"]["FlowArn"]
    more = refusal(client.add_flow_outputs, FlowArn=arn, Outputs=[UDP | {"Port": 7000}])
    assert more == (420, "AddFlowOutputs420Exception", "outputs: 51 are more than the 50 that there may be")
    granted = [{"Name": f"e-{n}", "Subscribers": ["123456789012"]} for n in range(51)]
    assert refusal(client.grant_flow_entitlements, FlowArn=arn, Entitlements=granted)[:2] == (420, "GrantFlowEntitlements420Exception")
    for n in range(19):
        client.create_flow(Name=f"f-{n}", Source=RTP | {"IngestPort": 7100 + 2 * n})
    assert refusal(client.create_flow, Name="more", Source=RTP | {"IngestPort": 7000})[:2] == (420, "CreateFlow420Exception")
    pages, token = [], None
    while True:
        page = client.list_flows(MaxResults=7, **({"NextToken": token} if token else {}))
        pages.append(len(page["Flows"]))
        token = page.get("NextToken")
        if not token:
            break
    assert pages == [7, 7, 6]
    assert refusal(client.list_flows, NextToken="*")[2] == "nextToken: not one that this server gave"
    assert refusal(client.list_flows, MaxResults=1001)[2] == "maxResults: `1001` is not between 1 and 1000"


def test_a_change_that_the_engine_does_not_answer_is_kept_and_done(shared, client):
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(shared.places.control))
        deaf.listen(8)
        made = client.create_flow(Name="a", Source=RTP)["Flow"]
        shared.places.control.unlink()
    assert [flow["FlowArn"] for flow in client.list_flows()["Flows"]] == [made["FlowArn"]]


def test_roles_may_what_they_may_and_refusals_are_recorded(shared, client):
    viewer, operator = (shared.client(shared.keys.issue(role, role)) for role in ("viewer", "operator"))
    arn = client.create_flow(Name="a", Source=RTP)["Flow"]["FlowArn"]
    assert viewer.describe_flow(FlowArn=arn)["Flow"]["Name"] == "a"
    assert refusal(viewer.start_flow, FlowArn=arn)[:2] == (403, "AccessDeniedException")
    operator.start_flow(FlowArn=arn)
    operator.stop_flow(FlowArn=arn)
    assert refusal(operator.delete_flow, FlowArn=arn)[:2] == (403, "AccessDeniedException")
    last = [(entry.who.split()[0], entry.what, entry.outcome) for entry in Audit(shared.places.audit).read(last=5)]
    assert last == [
        ("tester", "CreateFlow", "done"),
        ("viewer", "StartFlow", "refused"),
        ("operator", "StartFlow", "done"),
        ("operator", "StopFlow", "done"),
        ("operator", "DeleteFlow", "refused"),
    ]


def test_a_secret_is_a_reference_and_never_comes_back(shared, client):
    value = generate()
    Secrets(shared.places.secrets).set("studio", value)
    key = {"RoleArn": "arn:aws:iam::1:role/r", "KeyType": "srt-password", "SecretArn": "arn:aws:secretsmanager:eu-1:1:secret:studio-AbCdEf"}
    made = client.create_flow(Name="a", Source=SRT | {"Decryption": key})["Flow"]
    assert made["Source"]["Decryption"] == {
        "Algorithm": "aes256",
        "KeyType": "srt-password",
        "RoleArn": "arn:aws:iam::1:role/r",
        "SecretArn": "arn:pressbox:secretsmanager:local:000000000000:secret:studio",
    }
    told = b"".join(map(msgspec.json.encode, Audit(shared.places.audit).read(last=1)))
    assert b"secret:studio" in told
    assert value.encode() not in told
