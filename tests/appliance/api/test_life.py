"""Whole lives of flows, driven by the field's own clients, with packets."""

from __future__ import annotations

import socket
import time
from itertools import islice

from firmware.audit import Audit
from firmware.wire.rtp import Numberer
from tests.lab import feed
from tests.lab.programs import wait_until
from tests.lab.recorder import Recorder

from .host import WHITELIST, refusal


def test_the_cli_runs_a_flow_from_its_making_to_its_end(running_host, ports):
    aws, first, second, out = running_host.aws, ports(1), ports(1), ports(1)
    source = "Name={},Protocol=rtp,IngestPort={},WhitelistCidr=" + WHITELIST
    made = aws(
        "create-flow", "--name", "Awards_Show", "--sources", source.format("Primary", first), source.format("Backup", second),
        "--source-failover-config", "State=ENABLED,FailoverMode=MERGE,RecoveryWindow=300",
    )["Flow"]  # fmt: skip
    arn = made["FlowArn"]
    assert (made["Status"], made["Name"], made["Source"]["Name"], made["SourceFailoverConfig"]["RecoveryWindow"]) == (
        "STANDBY", "Awards_Show", "Primary", 300,
    )  # fmt: skip
    added = aws("add-flow-outputs", "--flow-arn", arn, "--outputs", f"Name=Wall,Protocol=rtp-fec,Destination=127.0.0.1,Port={out}")
    output = added["Outputs"][0]["OutputArn"]
    assert aws("start-flow", "--flow-arn", arn)["Status"] == "STARTING"
    aws("wait", "flow-active", "--flow-arn", arn)
    assert aws("describe-flow", "--flow-arn", arn)["Flow"]["Status"] == "ACTIVE"
    update = aws(
        "update-flow-output", "--flow-arn", arn, "--output-arn", output, "--description", "the wall", "--output-status", "DISABLED"
    )
    assert (update["Output"]["Description"], update["Output"]["OutputStatus"]) == ("the wall", "DISABLED")
    backup = made["Sources"][1]["SourceArn"]
    moved = aws("update-flow-source", "--flow-arn", arn, "--source-arn", backup, "--ingest-port", str(ports(1)), "--description", "b")
    assert moved["Source"]["WhitelistCidr"] == WHITELIST
    failover = aws(
        "update-flow", "--flow-arn", arn, "--source-failover-config", "FailoverMode=FAILOVER,SourcePriority={PrimarySource=Backup}"
    )
    assert failover["Flow"]["SourceFailoverConfig"]["SourcePriority"] == {"PrimarySource": "Backup"}
    granted = aws("grant-flow-entitlements", "--flow-arn", arn, "--entitlements", "Name=truck,Subscribers=123456789012")
    entitlement = granted["Entitlements"][0]["EntitlementArn"]
    off = aws("update-flow-entitlement", "--flow-arn", arn, "--entitlement-arn", entitlement, "--entitlement-status", "DISABLED")
    assert off["Entitlement"]["EntitlementStatus"] == "DISABLED"
    aws("tag-resource", "--resource-arn", arn, "--tags", "Environment=Production,Show=Awards night")
    assert aws("list-tags-for-resource", "--resource-arn", arn)["Tags"] == {"Environment": "Production", "Show": "Awards night"}
    aws("untag-resource", "--resource-arn", arn, "--tag-keys", "Show")
    aws("revoke-flow-entitlement", "--flow-arn", arn, "--entitlement-arn", entitlement)
    aws("remove-flow-output", "--flow-arn", arn, "--output-arn", output)
    aws("remove-flow-source", "--flow-arn", arn, "--source-arn", backup)
    assert [flow["Status"] for flow in aws("list-flows")["Flows"]] == ["ACTIVE"]
    assert aws("stop-flow", "--flow-arn", arn)["Status"] == "STOPPING"
    aws("wait", "flow-standby", "--flow-arn", arn)
    assert aws("delete-flow", "--flow-arn", arn)["Status"] == "DELETING"
    aws("wait", "flow-deleted", "--flow-arn", arn)
    audit = Audit(running_host.places.audit)
    assert audit.verify().intact
    changes = [entry.what for entry in audit.read() if entry.outcome == "done"]
    assert (changes[0], changes[-1], len(changes)) == ("CreateFlow", "DeleteFlow", 15)


def test_packets_flow_and_an_output_added_on_air_disturbs_nobody(running_host, ports):
    client, port = running_host.client(), ports(1)
    numbered, stream, sender = Numberer(7), feed.stream(10_000_000), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent: list[bytes] = []

    def send(count: int) -> None:
        for datagram in islice(stream, count):
            sent.append(datagram)
            sender.sendto(numbered(datagram, time.monotonic_ns()), ("127.0.0.1", port))

    with sender, Recorder() as first, Recorder() as second:
        arn = client.create_flow(
            Name="relay",
            Sources=[{"Name": "in", "Protocol": "rtp", "IngestPort": port, "WhitelistCidr": WHITELIST}],
            Outputs=[{"Name": "a", "Protocol": "udp", "Destination": "127.0.0.1", "Port": first.port}],
        )["Flow"]["FlowArn"]
        client.start_flow(FlowArn=arn)
        client.get_waiter("flow_active").wait(FlowArn=arn, WaiterConfig={"Delay": 1})
        send(100)
        wait_until(lambda: len(first.datagrams) == 100, what="packets")
        client.add_flow_outputs(FlowArn=arn, Outputs=[{"Name": "b", "Protocol": "udp", "Destination": "127.0.0.1", "Port": second.port}])
        wait_until(lambda: send(1) or second.datagrams, what="packets at the output that was added")
        send(100)
        wait_until(lambda: second.datagrams[-1:] == sent[-1:], what="the last one")
        assert first.datagrams == sent
        wait_until(lambda: client.describe_flow(FlowArn=arn)["Flow"]["Source"].get("PeerIpAddress") == "127.0.0.1", what="the peer")


def test_what_is_not_here_is_refused_by_name_or_empty(host):
    client = host.client()
    assert client.list_gateways()["Gateways"] == client.list_entitlements()["Entitlements"] == []
    refused = refusal(client.create_bridge, Name="b", PlacementArn="arn", Sources=[])
    assert refused == (501, "NotImplementedException", "CreateBridge is not available on a local flow")
