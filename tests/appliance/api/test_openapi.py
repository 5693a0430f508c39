"""The description of the API, and whether it is true."""

from __future__ import annotations

import json
import re
import urllib.request

import jsonschema_rs
import pytest
import schemathesis

from appliance.api import create_api, openapi
from appliance.api.shapes import NOT_HERE, PROTOCOLS
from appliance.api.table import BETWEEN_HOSTS, ROWS

from .described import DOCUMENT, OPERATIONS, check
from .host import WHITELIST, refusal


def test_every_route_is_described_and_nothing_else(places):
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower(), rule.endpoint)
        for rule in create_api(places).url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {(path, method, told["operationId"]) for path, item in DOCUMENT["paths"].items() for method, told in item.items()}
    assert described == routes
    assert len(described) == len(ROWS) + len(BETWEEN_HOSTS) + 1


def test_it_is_openapi_and_its_schemas_are_schemas():
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.validate()
    assert len(list(schema.get_all_operations())) == len(OPERATIONS)
    for name, part in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate(part)
        jsonschema_rs.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def test_it_is_served_unsigned_and_holds_nothing_of_this_host(host):
    with urllib.request.urlopen(host.url + openapi.PATH, timeout=10) as answer:
        served = answer.read()
    assert json.loads(served) == DOCUMENT
    assert host.key.id.encode() not in served
    assert b"tester" not in served


def test_what_a_local_flow_refuses_is_described_as_refused():
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["SetSource"]["properties"]["protocol"]["anyOf"][0]["enum"] == list(PROTOCOLS)
    assert DOCUMENT["info"]["x-not-available"] == NOT_HERE
    for schema in schemas.values():
        assert not schema.get("properties", {}).keys() & NOT_HERE.keys() - {"senderIpAddress"}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "requestBody" in OPERATIONS[name]])
def test_a_body_takes_no_member_that_is_not_described(name):
    schema = OPERATIONS[name]["requestBody"]["content"]["application/json"]["schema"]
    shape = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert shape["additionalProperties"] is False


def test_answers_of_every_kind_are_as_described(running_host, ports):
    """`client` holds each answer to the description and to botocore's shape."""
    client, first, second = running_host.client(), ports(5), ports(5)
    source = {"Protocol": "rtp-fec", "WhitelistCidr": WHITELIST}
    made = client.create_flow(
        Name="show",
        Sources=[{"Name": "a", "IngestPort": first, **source}],
        Outputs=[{"Name": "wall", "Protocol": "srt-listener", "Port": ports(1), "CidrAllowList": ["127.0.0.0/8"], "MinLatency": 200}],
        Entitlements=[{"Name": "truck", "Subscribers": ["123456789012"]}],
        SourceFailoverConfig={"State": "ENABLED", "FailoverMode": "MERGE", "RecoveryWindow": 300},
        Maintenance={"MaintenanceDay": "Monday", "MaintenanceStartHour": "02:00"},
        SourceMonitoringConfig={"ThumbnailState": "ENABLED"},
        FlowTags={"Show": "Awards"},
    )["Flow"]
    arn = made["FlowArn"]
    client.start_flow(FlowArn=arn)
    client.get_waiter("flow_active").wait(FlowArn=arn, WaiterConfig={"Delay": 1})
    (added,) = client.add_flow_sources(FlowArn=arn, Sources=[{"Name": "b", "IngestPort": second, **source}])["Sources"]
    rist = {"Name": "rist", "Protocol": "rist", "Destination": "127.0.0.1", "Port": ports(2), "MaxLatency": 500}
    (output,) = client.add_flow_outputs(FlowArn=arn, Outputs=[rist])["Outputs"]
    client.update_flow(FlowArn=arn, SourceFailoverConfig={"FailoverMode": "FAILOVER", "SourcePriority": {"PrimarySource": "b"}})
    client.update_flow_source(FlowArn=arn, SourceArn=added["SourceArn"], MaxBitrate=20_000_000)
    client.update_flow_output(FlowArn=arn, OutputArn=output["OutputArn"], OutputStatus="DISABLED")
    client.update_flow_entitlement(FlowArn=arn, EntitlementArn=made["Entitlements"][0]["EntitlementArn"], EntitlementStatus="DISABLED")
    client.grant_flow_entitlements(FlowArn=arn, Entitlements=[{"Name": "two", "Subscribers": ["210987654321"]}])
    client.tag_resource(ResourceArn=output["OutputArn"], Tags={"a": "b"})
    assert client.list_tags_for_resource(ResourceArn=output["OutputArn"])["Tags"] == {"a": "b"}
    client.untag_resource(ResourceArn=output["OutputArn"], TagKeys=["a"])
    client.describe_flow_source_metadata(FlowArn=arn)
    client.describe_flow_source_thumbnail(FlowArn=arn)
    client.list_entitlements()
    client.list_bridges()
    client.list_router_inputs()
    assert client.describe_flow(FlowArn=arn)["Flow"]["Status"] == "ACTIVE"
    assert client.list_flows(MaxResults=1)["Flows"][0]["FlowArn"] == arn
    client.remove_flow_output(FlowArn=arn, OutputArn=output["OutputArn"])
    client.remove_flow_source(FlowArn=arn, SourceArn=added["SourceArn"])
    client.revoke_flow_entitlement(FlowArn=arn, EntitlementArn=made["Entitlements"][0]["EntitlementArn"])
    assert refusal(client.delete_flow, FlowArn=arn)[0] == 400
    client.stop_flow(FlowArn=arn)
    client.get_waiter("flow_standby").wait(FlowArn=arn, WaiterConfig={"Delay": 1})
    client.delete_flow(FlowArn=arn)
    assert refusal(client.describe_flow, FlowArn=arn)[0] == 404
    assert refusal(client.create_bridge, Name="b", PlacementArn="p", Sources=[])[0] == 501


def test_an_answer_that_is_not_described_is_found():
    headers = {"x-amzn-RequestId": "0" * 32, "x-amzn-ErrorType": "NotFoundException"}
    check("StartFlow", 404, headers, b'{"message": "flowArn: there is no such flow"}')
    for status, body in ((404, b"{}"), (418, b'{"message": "x"}'), (202, b'{"flowArn": "x", "status": "RUNNING"}')):
        with pytest.raises(AssertionError, match="described"):
            check("StartFlow", status, headers, body)
