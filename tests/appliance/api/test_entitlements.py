"""An entitlement between two hosts: granted, taken up by its ARN alone, disabled, enabled, revoked, with packets."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from firmware.audit import Audit
from firmware.places import Places
from tests.lab import feed
from tests.lab.programs import pressbox, wait_until
from tests.lab.recorder import Recorder

from .host import WHITELIST, Host, refusal

OURS, THEIRS = "111122223333", "444455556666"
NOBODY = "arn:pressbox:mediaconnect:local:000000000000:entitlement:4-0000000000000000-000000000000:x"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory) -> Iterator[tuple[Host, Host]]:
    """One that grants and one, of the account OURS, that takes."""
    made = []
    for name in ("grants", "takes"):
        root = tmp_path_factory.mktemp(name)
        places = Places(root / "state", root / "run")
        places.create()
        made.append(Host(places, engine=True))
    granting, taking = made
    with granting, taking:
        befriend(granting, taking, OURS)
        yield granting, taking


def befriend(granting: Host, taking: Host, account: str) -> None:
    key = granting.keys.issue("another-house", "subscriber", account)
    added = pressbox(taking.places, "peer", "add", "house", granting.url, "--key-id", key.id, stdin=key.secret)
    assert added.returncode == 0, added.stderr
    assert key.secret not in added.stdout + (taking.places.state / "peers.json").read_text()


class Feed:
    """Datagrams into a port, without end, a few a second."""

    def __init__(self, port: int) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._send, args=(port,))
        self._thread.start()

    def _send(self, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for datagram in feed.stream(1_000_000):
                sender.sendto(datagram, ("127.0.0.1", port))
                if self._done.wait(0.01):
                    return

    def close(self) -> None:
        self._done.set()
        self._thread.join()


@pytest.fixture
def shared_flow(hosts, ports):
    """A flow that runs on the granting host, with a plain output beside what is granted: its client, its ARN and what the output gets."""
    client, port = hosts[0].client(), ports(1)
    with Recorder() as beside:
        source = {"Name": "in", "Protocol": "udp", "IngestPort": port, "WhitelistCidr": WHITELIST}
        output = {"Name": "beside", "Protocol": "udp", "Destination": "127.0.0.1", "Port": beside.port}
        arn = client.create_flow(Name="house", Source=source, Outputs=[output])["Flow"]["FlowArn"]
        client.start_flow(FlowArn=arn)
        running = Feed(port)
        wait_until(lambda: beside.datagrams, what="the flow carries")
        yield client, arn, beside
        running.close()
    client.stop_flow(FlowArn=arn)
    client.delete_flow(FlowArn=arn)


@pytest.fixture
def taker(hosts):
    client = hosts[1].client()
    yield client
    for flow in client.list_flows()["Flows"]:
        if flow["Status"] != "STANDBY":
            client.stop_flow(FlowArn=flow["FlowArn"])
        client.delete_flow(FlowArn=flow["FlowArn"])


def grant(client, arn, **more):
    members = {"Name": "truck", "Subscribers": [OURS], "DataTransferSubscriberFeePercent": 40} | more
    return client.grant_flow_entitlements(FlowArn=arn, Entitlements=[members])["Entitlements"][0]["EntitlementArn"]


def taken(taker, entitlement, recorder, **more) -> str:
    source = {"Name": "by-right", "EntitlementArn": entitlement, "MinLatency": 100} | more
    output = {"Name": "wall", "Protocol": "udp", "Destination": "127.0.0.1", "Port": recorder.port}
    arn = taker.create_flow(Name="guest", Source=source, Outputs=[output])["Flow"]["FlowArn"]
    taker.start_flow(FlowArn=arn)
    return str(arn)


def transferred(host: Host) -> int:
    told = pressbox(host.places, "entitlements", "--json")
    assert told.returncode == 0, told.stderr
    return int(json.loads(told.stdout.splitlines()[0]).get("bytes", 0))


def flows_on(recorder: Recorder) -> bool:
    """Something came lately: the feed sends a hundred a second."""
    return bool(recorder.times) and time.monotonic() - recorder.times[-1] < 0.5


def test_a_life_of_an_entitlement_with_packets(hosts, shared_flow, taker):
    client, arn, beside = shared_flow
    entitlement = grant(client, arn)
    listed = {"EntitlementArn": entitlement, "EntitlementName": "truck", "DataTransferSubscriberFeePercent": 40}
    assert taker.list_entitlements()["Entitlements"] == [listed]
    with Recorder() as wall:
        guest = taken(taker, entitlement, wall)
        wait_until(lambda: wall.datagrams, what="the stream at the subscriber")
        made = taker.describe_flow(FlowArn=guest)["Flow"]
        source = made["Source"]
        assert (source["EntitlementArn"], source["DataTransferSubscriberFeePercent"], "Transport" in source) == (entitlement, 40, False)
        assert taker.list_flows()["Flows"][0]["SourceType"] == "ENTITLED"
        outputs = {output["Name"]: output for output in client.describe_flow(FlowArn=arn)["Flow"]["Outputs"]}
        own = outputs["entitled-truck"]
        assert (own["EntitlementArn"], own["OutputStatus"], "Transport" in own) == (entitlement, "ENABLED", False)
        assert "it belongs to the entitlement" in refusal(client.remove_flow_output, FlowArn=arn, OutputArn=own["OutputArn"])[2]

        client.update_flow_entitlement(FlowArn=arn, EntitlementArn=entitlement, EntitlementStatus="DISABLED")
        wait_until(lambda: not flows_on(wall), what="the subscriber is cut off")
        wait_until(lambda: "disabled" in str(taker.describe_flow(FlowArn=guest).get("Messages")), what="the subscriber is told")
        client.update_flow_entitlement(FlowArn=arn, EntitlementArn=entitlement, EntitlementStatus="ENABLED")
        wait_until(lambda: flows_on(wall), what="the subscriber is back")

        wait_until(lambda: transferred(hosts[0]) > 50_000, 30, what="what was transferred is counted")
        client.revoke_flow_entitlement(FlowArn=arn, EntitlementArn=entitlement)
        wait_until(lambda: not flows_on(wall), what="the subscriber is cut off for good")
        wait_until(lambda: "revoked" in str(taker.describe_flow(FlowArn=guest).get("Messages")), what="the subscriber is told")
    assert [output["Name"] for output in client.describe_flow(FlowArn=arn)["Flow"]["Outputs"]] == ["beside"]
    assert not [name for name in hosts[0].program.out if "passphrase" in name]
    assert not [path for path in hosts[0].places.secrets.iterdir() if path.name.startswith("entitlement-")]
    wait_until(lambda: flows_on(beside), what="the stream beside it goes on")
    audit = Audit(hosts[0].places.audit)
    transfer = next(entry.after for entry in audit.read() if entry.what == "DataTransfer")
    assert (transfer["account"], transfer["subscriberFeePercent"]) == (OURS, 40)
    assert transfer["subscriberBytes"] == round(transfer["bytes"] * 0.4) > 20_000
    entry = next(entry for entry in audit.read() if entry.what == "SubscribeToEntitlement")
    assert (entry.who.split()[0], entry.role, audit.verify().intact) == ("another-house", "subscriber", True)


def test_a_static_key_is_told_by_people_and_never_by_the_host(hosts, shared_flow, taker):
    client, arn, _ = shared_flow
    for host, value in zip(hosts, ("00112233445566778899aabbccddeeff",) * 2, strict=True):
        assert pressbox(host.places, "secret", "set", "agreed", stdin=value).returncode == 0
    key = {"KeyType": "static-key", "Algorithm": "aes128", "SecretArn": "agreed", "RoleArn": "arn:pressbox:iam::000000000000:role/none"}
    entitlement = grant(client, arn, Encryption=key)
    with Recorder() as wall:
        missing = {"Name": "f", "Source": {"EntitlementArn": entitlement}}
        assert refusal(taker.create_flow, **missing)[2].startswith("source.decryption: missing")
        taken(taker, entitlement, wall, Decryption=key)
        wait_until(lambda: wall.datagrams, what="the stream at the subscriber")
    client.revoke_flow_entitlement(FlowArn=arn, EntitlementArn=entitlement)
    assert (hosts[0].places.secrets / "agreed").exists()


def test_what_was_not_granted_cannot_be_taken(hosts, shared_flow, taker):
    client, arn, _ = shared_flow
    theirs = grant(client, arn, Subscribers=[THEIRS])
    assert taker.list_entitlements()["Entitlements"] == []
    for entitlement in (theirs, NOBODY):
        status, code, told = refusal(taker.create_flow, Name="f", Source={"EntitlementArn": entitlement})
        assert (status, code) == (400, "BadRequestException")
        assert told.startswith("source.entitlementArn: no peer of this host grants")
    assert taker.list_flows()["Flows"] == []
    assert [output["Name"] for output in client.describe_flow(FlowArn=arn)["Flow"]["Outputs"]] == ["beside"]


def test_an_entitlement_is_for_one_flow_and_a_failed_creation_gives_it_back(shared_flow, taker):
    client, arn, _ = shared_flow
    entitlement = grant(client, arn)
    bad = {"Name": "out", "Protocol": "udp", "Destination": "127.0.0.1", "Port": 9, "StreamId": "x"}
    assert refusal(taker.create_flow, Name="f", Source={"EntitlementArn": entitlement}, Outputs=[bad])[0] == 400
    assert [output["Name"] for output in client.describe_flow(FlowArn=arn)["Flow"]["Outputs"]] == ["beside"]
    with Recorder() as wall:
        guest = taken(taker, entitlement, wall)
        again = refusal(taker.create_flow, Name="second", Source={"EntitlementArn": entitlement})
        assert again == (400, "BadRequestException", "source.entitlementArn: flow guest uses it; an entitlement is for one flow")
        taker.stop_flow(FlowArn=guest)
        taker.delete_flow(FlowArn=guest)
        assert [output["Name"] for output in client.describe_flow(FlowArn=arn)["Flow"]["Outputs"]] == ["beside"]
        taken(taker, entitlement, wall)
        wait_until(lambda: wall.datagrams, what="the stream at the next flow")


def test_an_output_that_somebody_takes_away_is_made_again(hosts, shared_flow, taker):
    client, arn, _ = shared_flow
    entitlement = grant(client, arn)
    with Recorder() as wall:
        guest = taken(taker, entitlement, wall)
        wait_until(lambda: wall.datagrams, what="the stream at the subscriber")
        whole = pressbox(hosts[0].places, "export").stdout
        output = r'\[\[flow\.output\]\]\nprotocol = "srt-listener"\nname = "entitled-truck".*?(?=\n\[\[|\Z)'
        without = re.sub(output, "", whole, flags=re.DOTALL)
        assert without != whole
        applied = pressbox(hosts[0].places, "apply", "-", stdin=without)
        assert applied.returncode == 0, applied.stderr
        assert [output["Name"] for output in client.describe_flow(FlowArn=arn)["Flow"]["Outputs"]] == ["beside"]
        known = len(wall.datagrams)
        wait_until(lambda: len(wall.datagrams) > known + 20 and flows_on(wall), 30, what="the subscriber's host asked again")
        taker.stop_flow(FlowArn=guest)


def test_a_subscribers_key_is_good_for_nothing_else(hosts):
    key = hosts[0].keys.issue("another", "subscriber", THEIRS)
    client = hosts[0].client(key)
    assert client.list_entitlements()["Entitlements"] == []
    assert refusal(client.list_flows)[1] == "AccessDeniedException"
    assert refusal(client.create_flow, Name="f", Source={"EntitlementArn": NOBODY})[1] == "AccessDeniedException"
