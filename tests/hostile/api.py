"""`scripts/hostile api`: the API under cases that schemathesis draws from its own description, signed right, wrongly and not at all."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core import NotSet

from appliance.api.notes import notes_of
from appliance.api.openapi import PATH
from appliance.api.table import ROWS
from firmware.audit import Audit
from firmware.places import Places
from firmware.store import Store
from tests.appliance.api.described import DOCUMENT, OPERATIONS
from tests.appliance.api.host import WHITELIST, Host

from .asked import Session, Signer, Strangers, send, stored
from .forged import FORGERIES, Wire, right
from .plausible import Plausible

ROUND = 100  # cases under one seed
CONFORMING = ("status_code_conformance", "content_type_conformance", "response_headers_conformance", "response_schema_conformance")
LIVELY = 8  # as often as an operation that is only refused is one asked that does something
FOR_GOOD_S = 3.0  # after which a signature that was used is no longer refused as one of a moment ago


class Hostile:
    """A host, and what was found of it."""

    def __init__(self, host: Host, seed_number: int) -> None:
        self.host = host
        self.places = host.places
        self.chance = Random(seed_number)
        self.plausible = Plausible(host.places, self.chance)
        self.strangers = Strangers()
        self.statuses: dict[str, Counter[int]] = {"signed": Counter(), "unsigned": Counter(), "forged": Counter(), "replayed": Counter()}
        self.failures: dict[str, str] = {}
        self.seconds: list[float] = []
        self._seed = seed_number
        load_all_checks()
        schema = schemathesis.openapi.from_url(host.url + PATH)
        self.operations = {one.definition.raw["operationId"]: one for one in (found.ok() for found in schema.get_all_operations())}
        self._checks = CHECKS.get_by_names(list(CONFORMING))
        self._strategies: dict[tuple[str, bool, bool], st.SearchStrategy[Any]] = {}
        lively = [row.operation for row in ROWS if row.does.isdecimal()]
        self._often = lively * LIVELY + ["CreateFlow", "AddFlowOutputs"] * LIVELY + list(self.operations)
        self.carried_out: Counter[str] = Counter()
        self._digest = b""
        self._taken: list[tuple[float, Wire]] = []
        self._session = Session()
        self._signer = Signer(host.key)
        disabled = host.keys.issue("disabled", "administrator")
        host.keys.disable(disabled.id)
        self._wrong: list[Any] = [None, Signer(host.key, "another/secret"), Signer(disabled)]

    def failed(self, what: str, more: object) -> None:
        self.failures.setdefault(what, str(more)[:2000])

    def rounds(self, cases: int, kind: str, one: Callable[[st.DataObject], None], told: Callable[[str], None]) -> None:
        """So many, each of which draws as it likes."""
        for begin in range(0, cases, ROUND):
            self._seed += 1
            self.something_there()

            @seed(self._seed)
            @settings(
                max_examples=min(ROUND, cases - begin),
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(st.data())
            def case(data: st.DataObject) -> None:
                one(data)

            case()
            told(f"{kind}: {sum(self.statuses[kind].values())} of {cases}, {len(self.failures)} failures")

    def draw(self, data: st.DataObject) -> tuple[str, Any]:
        operation = data.draw(st.sampled_from(self._often))
        right_one, real = data.draw(st.integers(0, 9)) < 7, data.draw(st.integers(0, 9)) < 8
        case = data.draw(self._strategy(operation, right_one, real))
        if real and case.path_parameters:
            case.path_parameters = self.plausible.labels(case.path_parameters)
        if right_one and self.chance.random() < 0.8:
            case.body = self.plausible.body(operation, case.body)
        return operation, case

    def _strategy(self, operation: str, right_one: bool, real: bool) -> st.SearchStrategy[Any]:
        """`real`: labels are not drawn, for ARNs of what there is take their place."""
        key = (operation, right_one, real)
        if key not in self._strategies:
            one = self.operations[operation]
            wrong_is_possible = bool(one.body) or bool(one.query)
            mode = GenerationMode.POSITIVE if right_one or not wrong_is_possible else GenerationMode.NEGATIVE
            labels = {label.name: "" for label in one.path_parameters} if real else {}
            self._strategies[key] = one.as_strategy(generation_mode=mode, **({"path_parameters": labels} if labels else {}))
        return self._strategies[key]

    def signed(self, data: st.DataObject) -> None:
        operation, case = self.draw(data)
        began = time.monotonic()
        answer = case.call(base_url=self.host.url, session=self._session, auth=self._signer)
        self.seconds.append(time.monotonic() - began)
        self.statuses["signed"][answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code != 501:
            self.failed(f"{operation} answers {answer.status_code}", f"{case.as_curl_command()}\n{answer.content!r}")
        self._conforms(operation, case, answer)
        if answer.status_code >= 300:
            return
        self.carried_out[operation] += 1
        if not self._takes(operation, case.body):
            self.failed(f"{operation} takes a body that is not described", case.body)

    def _takes(self, operation: str, body: Any) -> bool:
        """Whether such a body is described: null is as if the member were not there."""
        if "requestBody" not in OPERATIONS[operation] or isinstance(body, NotSet):
            return True
        schema = OPERATIONS[operation]["requestBody"]["content"]["application/json"]["schema"]
        return bool(jsonschema_rs.is_valid({**schema, "components": DOCUMENT["components"]}, _without_nulls(body)))

    def _conforms(self, operation: str, case: Any, answer: Any) -> None:
        try:
            case.validate_response(answer, checks=self._checks)
        except AssertionError as error:
            self.failed(f"{operation} answers {answer.status_code} and not as described", error)
        except BaseExceptionGroup as errors:
            self.failed(f"{operation} answers {answer.status_code} and not as described", errors.exceptions)

    def unsigned(self, data: st.DataObject) -> None:
        operation, case = self.draw(data)
        if operation == "DescribeApi":
            return
        before = self._before()
        answer = case.call(base_url=self.host.url, session=self.strangers.session(), auth=self.chance.choice(self._wrong))
        self.statuses["unsigned"][answer.status_code] += 1
        self._refused(f"{operation} without a right signature", answer.status_code, before, case.as_curl_command)
        self._conforms(operation, case, answer)

    def _before(self) -> bytes:
        """Where nothing that may has changed anything since it was last looked at, that is what there is."""
        return self._digest or stored(self.places)

    def _refused(self, what: str, status: int, before: bytes, more: Callable[[], object], allowed: tuple[int, ...] = (403,)) -> None:
        if status not in allowed:
            self.failed(f"{what}: answers {status}", more())
        self._digest = stored(self.places)
        if self._digest != before:
            self.failed(f"{what}: changed what is stored", more())

    def wire(self, data: st.DataObject) -> Wire:
        """A request that is right, and would change something."""
        flow = self.chance.choice(Store(self.places.store).list())
        arn = quote(notes_of(flow).arn, safe="")
        tags = json.dumps({"tags": {f"t-{self.chance.randrange(20)}": "x"}}).encode()
        output = {"protocol": "udp", "destination": "127.0.0.1", "port": self.chance.randrange(1024, 65_000)}
        method, target, body = data.draw(
            st.sampled_from(
                [
                    ("POST", f"/tags/{arn}", tags),
                    ("POST", f"/v1/flows/{arn}/outputs", json.dumps({"outputs": [output]}).encode()),
                    ("POST", f"/v1/flows/{'stop' if flow.desired == 'ACTIVE' else 'start'}/{arn}", b""),
                    ("DELETE", f"/tags/{arn}?tagKeys=t-1&tagKeys=t-2", b""),
                    ("PUT", f"/v1/flows/{arn}", b'{"sourceMonitoringConfig": {"thumbnailState": "ENABLED"}}'),
                    ("DELETE", f"/v1/flows/{arn}", b""),
                ]
            )
        )
        return right(self.host.key, self.host.url.removeprefix("http://"), method, target, body)

    def forged(self, data: st.DataObject) -> None:
        forge = data.draw(st.sampled_from(FORGERIES))
        wire = forge(data, self.host.key, self.wire(data))
        before = self._before()
        status, answer = send(self.host.url, wire.method, wire.target, wire.sent(), wire.body, self.strangers.address())
        self.statuses["forged"][status] += 1
        elsewhere = (400, 403, 501) if forge.__name__ in ("path_changed", "method_changed") else (403,)  # where nothing is
        self._refused(forge.__name__, status, before, lambda: f"{wire}\n{answer!r}", elsewhere)

    def replayed(self, data: st.DataObject) -> None:
        """What was taken is sent again: at once, and by somebody else, and later."""
        data.draw(st.integers(0, 1 << 60))  # or there would be a dozen different cases, and hypothesis stop after them
        wire = self.wire(data)
        send(self.host.url, wire.method, wire.target, wire.sent(), wire.body, "127.0.0.1")
        self._taken.append((time.monotonic(), wire))
        self._again(wire.header("User-Agent", "another") if data.draw(st.booleans()) else wire, (403, 429))
        taken_s, old = self._taken[0]
        if time.monotonic() - taken_s > FOR_GOOD_S:
            self._taken.pop(0)
            self._again(old, (403,))

    def _again(self, wire: Wire, allowed: tuple[int, ...]) -> None:
        before = stored(self.places)
        status, answer = send(self.host.url, wire.method, wire.target, wire.sent(), wire.body, self.strangers.address())
        self.statuses["replayed"][status] += 1
        self._refused("a replay", status, before, lambda: f"{wire}\n{answer!r}", allowed)

    def something_there(self, count: int = 3) -> None:
        """Flows to ask for."""
        self._digest = b""
        for _ in range(20):
            if len(Store(self.places.store).list()) >= count:
                return
            source = {"name": "in", "protocol": "udp", "ingestPort": self.chance.randrange(1024, 65_000), "whitelistCidr": WHITELIST}
            body = json.dumps({"name": "flow", "source": source}).encode()
            wire = right(self.host.key, self.host.url.removeprefix("http://"), "POST", "/v1/flows", body)
            send(self.host.url, "POST", "/v1/flows", wire.sent(), body, "127.0.0.1")  # 400 where the port is taken
        self.failed("no flow can be made", self.host.program)

    def run(self, cases: int, told: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
        """`cases` of schemathesis, 3 of 5 signed, and a tenth as many forgeries and replays of our own."""
        began = time.monotonic()
        self.rounds(cases * 3 // 5, "signed", self.signed, told)
        self.rounds(cases - cases * 3 // 5, "unsigned", self.unsigned, told)
        self.rounds(max(len(FORGERIES), cases // 10), "forged", self.forged, told)
        self.rounds(max(16, cases // 100), "replayed", self.replayed, told)
        while self._taken:
            taken_s, wire = self._taken.pop(0)
            time.sleep(max(0.0, taken_s + FOR_GOOD_S - time.monotonic()))
            self._again(wire, (403,))
        if self.host.program.said("Traceback"):
            self.failed("the API raised what it does not handle", self.host.program)
        if not Audit(self.places.audit).verify().intact:
            self.failed("the audit log is not whole", "")
        ordered = sorted(self.seconds)
        return {
            "holds": not self.failures,
            "took_s": round(time.monotonic() - began),
            "answers": {kind: {str(status): count for status, count in sorted(each.items())} for kind, each in self.statuses.items()},
            "carried_out": dict(sorted(self.carried_out.items())),
            "signed_ms": {"median": _ms(ordered, 0.5), "p99": _ms(ordered, 0.99)},
            "failures": self.failures,
        }


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {member: _without_nulls(one) for member, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _ms(ordered: list[float], share: float) -> float:
    return round(ordered[int(len(ordered) * share)] * 1000, 1) if ordered else 0.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/hostile api", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="that schemathesis draws (default: 20,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", action="store_true", help="with the engine: flows that are started run")
    parser.add_argument("--json", action="store_true", help="JSON instead of words")
    given_options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pb-") as folder:
        places = Places(Path(folder) / "state", Path(folder) / "run")
        places.create()
        with Host(places, engine=given_options.engine) as host:
            found = Hostile(host, given_options.seed).run(
                given_options.cases, lambda line: print(f"  {line}", end="\r", file=sys.stderr, flush=True)
            )
    if given_options.json:
        print(json.dumps(found))
    else:
        print(summary(found))
    return 0 if found["holds"] else 1


def summary(found: dict[str, Any]) -> str:
    lines = [
        f"{kind:<9} {sum(each.values()):>6} cases: " + ", ".join(f"{status} {count} times" for status, count in each.items())
        for kind, each in found["answers"].items()
    ]
    done = found["carried_out"]
    lines.append(f"carried out: {len(done)} operations, from {min(done, key=done.__getitem__)} ({min(done.values())} times) up")
    lines.append(f"signed requests took {found['signed_ms']['median']} ms (median), {found['signed_ms']['p99']} ms (p99)")
    lines += [f"FAILED: {what}\n{more}" for what, more in found["failures"].items()]
    return "\n".join([*lines, "Everything holds." if found["holds"] else f"{len(found['failures'])} things do not hold."])
