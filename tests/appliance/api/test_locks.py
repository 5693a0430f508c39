"""A flow that is locked for a show: nobody changes how it runs, whichever way they come."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from appliance.exits import AUTH, USAGE
from appliance.locks import Lock, with_lock
from appliance.service import Service
from firmware.audit import Audit
from tests.lab.programs import pressbox

from .host import WHITELIST, refusal

SOURCE = {"Name": "in", "Protocol": "rtp", "IngestPort": 5000, "WhitelistCidr": WHITELIST}
OUTPUT = {"Name": "out", "Protocol": "udp", "Destination": "127.0.0.1", "Port": 5004}


def test_what_would_change_how_it_runs_is_refused_until_it_is_unlocked(host):
    client, places = host.client(), host.places
    arn = client.create_flow(Name="show", Source=SOURCE)["Flow"]["FlowArn"]
    assert pressbox(places, "lock", "show", "--for", "4h", "--why", "cup final").returncode == 0
    for call, members in ((client.start_flow, {}), (client.delete_flow, {}), (client.add_flow_outputs, {"Outputs": [OUTPUT]})):
        status, code, message = refusal(call, FlowArn=arn, **members)
        assert (status, code) == (403, "ForbiddenException")
        assert "flow show is locked by" in message
        assert message.endswith("UTC: cup final")
    ended = pressbox(places, "flow", "start", "show")
    assert (ended.returncode, "flow show is locked by" in ended.stderr) == (AUTH, True)
    client.tag_resource(ResourceArn=arn, Tags={"shift": "late"})
    described = client.describe_flow(FlowArn=arn)
    assert described["Flow"]["Status"] == "STANDBY"
    assert described["Messages"]["Errors"][0].startswith("locked by")
    assert pressbox(places, "unlock", "show", "--why", "over").returncode == 0
    client.start_flow(FlowArn=arn)
    assert client.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"shift": "late"}
    told = [(entry.what, entry.outcome) for entry in Audit(places.audit).read() if "Flow" in entry.what]
    assert told == [
        ("CreateFlow", "done"),
        ("LockFlow", "done"),
        *((what, "refused") for what in ("StartFlow", "DeleteFlow", "AddFlowOutputs", "StartFlow")),
        ("UnlockFlow", "done"),
        ("StartFlow", "done"),
    ]


def test_a_lock_ends_by_itself_and_is_replaced_only_by_whom_it_is_from(places):
    flow = {"name": "a", "sources": [{"protocol": "udp", "name": "in", "port": 5000}], "outputs": []}
    assert pressbox(places, "flow", "create", "-", stdin=json.dumps(flow)).returncode == 0
    service = Service(places)
    now = datetime.now(UTC)
    service.store.change("a", lambda kept, others: with_lock(kept, Lock("somebody", now - timedelta(seconds=1), "over")))
    service.start("a")
    service.store.change("a", lambda kept, others: with_lock(kept, Lock("somebody", now + timedelta(hours=1), "cup final")))
    refused = pressbox(places, "lock", "a", "--for", "1h", "--why", "mine")
    assert (refused.returncode, "is locked by somebody" in refused.stderr) == (AUTH, True)
    assert pressbox(places, "lock", "a", "--until", "2020-01-01", "--why", "x").returncode == USAGE
    assert pressbox(places, "lock", "a", "--for", "soon", "--why", "x").returncode == USAGE
