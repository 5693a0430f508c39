"""Random sequences of operations, right and wrong, held against a model: states, what is there, and no error that is the server's."""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.api import create_api
from appliance.api.accesskeys import AccessKeys
from appliance.api.rates import Rates
from firmware.audit import Audit
from firmware.places import Places

NAMES = st.sampled_from([*3 * ["Show", "show", "Awards_Night"], "a b", ""])  # mostly right, or nothing would come about
ENDS = st.sampled_from([*3 * ["A", "B", "a-1"], "x y"])
PORTS = st.sampled_from([*3 * [5000, 5001, 5002, 5004, 6000], 80])
PROTOCOLS = st.sampled_from([*3 * ["rtp", "rtp-fec", "udp"], "zixi-push", "nonsense"])
CIDRS = st.sampled_from([*9 * ["127.0.0.0/8"], "10.0.0.1/8", "anybody"])
AROUND = {"rtp": (0,), "udp": (0,), "rtp-fec": (0, 2, 4)}
GOOD = frozenset(AROUND)


@dataclass
class Flow:
    arn: str
    active: bool = False
    failover: bool = False
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)  # by ARN
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Api(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="pb-"))
        self.places = Places(self.root / "state", self.root / "run")
        self.places.create()
        key = AccessKeys(self.places.access_keys).issue("tester", "administrator")
        self.signer = SigV4Auth(Credentials(key.id, key.secret), "mediaconnect", "eu-central-1")
        self.client = create_api(self.places, Rates(1000)).test_client()
        self.number = itertools.count()
        self.flows: list[Flow] = []
        self.changes = 0

    def teardown(self) -> None:
        entries = list(Audit(self.places.audit).read())
        assert Audit(self.places.audit).verify().intact
        assert sum(entry.outcome == "done" for entry in entries if entry.what != "key.issue") == self.changes
        shutil.rmtree(self.root)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, expect: int) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else b""
        request = AWSRequest(method, f"http://localhost{path}", {"X-Amz-Meta-Number": str(next(self.number))}, data)
        self.signer.add_auth(request)
        answer = self.client.open(path, method=method, data=data, headers=dict(request.headers.items()))
        assert answer.status_code == expect, f"{method} {path} {body}: {answer.status_code} {answer.get_data(as_text=True)}"
        self.changes += method != "GET" and expect < 300
        if expect >= 300:
            assert answer.json["message"]
            assert answer.headers["x-amzn-ErrorType"].endswith("Exception")
        return answer.json if answer.data else {}

    def taken(self) -> set[int]:
        return {port for flow in self.flows for source in flow.sources.values() for port in ports(source)}

    def is_good(self, source: dict[str, Any], taken: set[int]) -> bool:
        good = " " not in source["name"] and source["protocol"] in GOOD and source["ingestPort"] >= 1024
        return good and source["whitelistCidr"] == "127.0.0.0/8" and not taken.intersection(ports(source))

    @rule(name=NAMES, end=ENDS, protocol=PROTOCOLS, port=PORTS, cidr=CIDRS, failover=st.booleans())
    def create(self, name: str, end: str, protocol: str, port: int, cidr: str, failover: bool) -> None:
        source = {"name": end, "protocol": protocol, "ingestPort": port, "whitelistCidr": cidr}
        good = bool(name) and " " not in name and self.is_good(source, self.taken())
        config = {"sourceFailoverConfig": {"state": "ENABLED" if failover else "DISABLED"}}
        answer = self.call("POST", "/v1/flows", {"name": name, "source": source, **config}, expect=201 if good else 400)
        if good:
            made = answer["flow"]
            assert (made["name"], made["status"], made["source"]["ingestPort"]) == (name, "STANDBY", port)
            self.flows.append(Flow(made["flowArn"], failover=failover, sources={made["source"]["sourceArn"]: source}))

    def one(self, data: st.DataObject) -> tuple[Flow | None, str]:
        flow = data.draw(st.sampled_from([*self.flows, None]))
        arn = flow.arn if flow else "arn:aws:mediaconnect:eu-central-1:1:flow:1-a:gone"
        return flow, quote(arn, safe="")

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        flow, arn = self.one(data)
        self.call("POST", f"/v1/flows/start/{arn}", expect=404 if flow is None else 400 if flow.active else 202)
        if flow:
            flow.active = True

    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        flow, arn = self.one(data)
        self.call("POST", f"/v1/flows/stop/{arn}", expect=404 if flow is None else 202 if flow.active else 400)
        if flow:
            flow.active = False

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        flow, arn = self.one(data)
        self.call("DELETE", f"/v1/flows/{arn}", expect=404 if flow is None else 400 if flow.active else 202)
        if flow and not flow.active:
            self.flows.remove(flow)

    @rule(data=st.data(), end=ENDS, protocol=PROTOCOLS, port=PORTS)
    def add_source(self, data: st.DataObject, end: str, protocol: str, port: int) -> None:
        flow, arn = self.one(data)
        source = {"name": end, "protocol": protocol, "ingestPort": port, "whitelistCidr": "127.0.0.0/8"}
        good = flow is not None and self.is_good(source, self.taken()) and flow.failover and len(flow.sources) == 1
        if good and flow:
            (other,) = flow.sources.values()
            good = end != other["name"] and (protocol == other["protocol"] or {protocol, other["protocol"]} == {"rtp", "rtp-fec"})
        answer = self.call("POST", f"/v1/flows/{arn}/source", {"sources": [source]}, expect=_expected(flow, source, good, 201))
        if good and flow:
            flow.sources[answer["sources"][0]["sourceArn"]] = source

    @rule(data=st.data())
    def remove_source(self, data: st.DataObject) -> None:
        flow, arn = self.one(data)
        source = data.draw(st.sampled_from([*(flow.sources if flow else ()), "arn:aws:mediaconnect:x:1:source:1-a:gone"]))
        known = flow is not None and source in flow.sources
        good = known and flow is not None and len(flow.sources) > 1
        self.call("DELETE", f"/v1/flows/{arn}/source/{quote(source, safe='')}", expect=202 if good else 400 if known else 404)
        if good and flow:
            del flow.sources[source]

    @rule(data=st.data(), end=ENDS, protocol=PROTOCOLS, port=PORTS)
    def add_output(self, data: st.DataObject, end: str, protocol: str, port: int) -> None:
        flow, arn = self.one(data)
        output = {"name": end, "protocol": protocol, "destination": "127.0.0.1", "port": port}
        good = flow is not None and " " not in end and protocol in GOOD
        if good and flow:
            sent = {taken for other in flow.outputs.values() for taken in ports(other)}
            good = not sent.intersection(ports(output)) and end not in [other["name"] for other in flow.outputs.values()]
        answer = self.call("POST", f"/v1/flows/{arn}/outputs", {"outputs": [output]}, expect=_expected(flow, output, good, 201))
        if good and flow:
            flow.outputs[answer["outputs"][0]["outputArn"]] = output

    @rule(data=st.data(), description=st.text(max_size=20))
    def update_output(self, data: st.DataObject, description: str) -> None:
        flow, arn = self.one(data)
        output = data.draw(st.sampled_from([*(flow.outputs if flow else ()), "arn:aws:mediaconnect:x:1:output:1-a:gone"]))
        known = flow is not None and output in flow.outputs
        path = f"/v1/flows/{arn}/outputs/{quote(output, safe='')}"
        answer = self.call("PUT", path, {"description": description}, expect=202 if known else 404)
        if known:
            assert answer["output"]["description"] == description

    @rule(data=st.data(), tags=st.dictionaries(st.sampled_from(["a", "b", "aws:x"]), st.text(max_size=5), max_size=2))
    def tag(self, data: st.DataObject, tags: dict[str, str]) -> None:
        flow, arn = self.one(data)
        good = "aws:x" not in tags
        self.call("POST", f"/tags/{arn}", {"tags": tags}, expect=400 if not good else 404 if flow is None else 204)
        if good and flow:
            flow.tags |= tags

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        listed = self.call("GET", "/v1/flows?maxResults=1000", expect=200)["flows"]
        assert {flow["flowArn"]: flow["status"] for flow in listed} == {
            flow.arn: "STARTING" if flow.active else "STANDBY" for flow in self.flows
        }
        for flow in self.flows[-1:]:
            arn = quote(flow.arn, safe="")
            described = self.call("GET", f"/v1/flows/{arn}", expect=200)["flow"]
            assert {source["sourceArn"] for source in described["sources"]} == flow.sources.keys()
            assert {output["outputArn"]: output["port"] for output in described["outputs"]} == {
                arn: output["port"] for arn, output in flow.outputs.items()
            }
            assert self.call("GET", f"/tags/{arn}", expect=200)["tags"] == flow.tags


def ports(end: dict[str, Any]) -> set[int]:
    port = end.get("ingestPort", end.get("port"))
    return {port + more for more in AROUND.get(end["protocol"], (0,))}


def _expected(flow: Flow | None, end: dict[str, Any], good: bool, status: int) -> int:
    """A body that cannot be is told before a flow that is not there."""
    readable = end["name"] != "x y" and end["protocol"] != "nonsense" and end.get("ingestPort", 1024) >= 1024
    return status if good else 404 if flow is None and readable else 400


TestApi = Api.TestCase
TestApi.settings = settings(max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
