"""The API of a full host, 20 flows of 50 outputs, asked while 200 Mb/s flow through it: how long answers take, and what polling costs."""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from appliance.api.accesskeys import AccessKey, AccessKeys
from firmware.places import Places
from tests.bench.costs import MBIT, say
from tests.bench.ports import Ports, finish
from tests.bench.processes import CPU_CLOCK, PRESSBOX, BenchError, Lab, free_port, is_bound, load
from tests.bench.report import Report, Table
from tests.bench.streams import make_stream

FLOWS, OUTPUTS = 20, 50
GOAL_MS = 100.0
SECONDS = 20.0
PAUSE_S = 0.02
POLLS_A_SECOND = 5
KEPT_S = 3.0  # the host closes a connection that is idle for five
SLICE = 300  # polls between two looks at the memory: a minute of them


@dataclass(frozen=True)
class Case:
    """`sending` of each flow's outputs send; the others are switched off."""

    name: str
    rate_bps: int
    sending: int


CASES = [
    Case("20 flows of 10 Mb/s, one output each on", 10 * MBIT, 1),
    Case("20 flows of 0.2 Mb/s, all 1000 outputs on", MBIT // 5, OUTPUTS),
]


@dataclass
class Client:
    """Signs beforehand and keeps its connection: what is measured is the host's answer."""

    port: int
    key: AccessKey
    connection: HTTPConnection = field(init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _used_s: float = 0.0

    def __post_init__(self) -> None:
        self.connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._signer = SigV4Auth(Credentials(self.key.id, self.key.secret), "mediaconnect", "eu-central-1")

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[float, Any]:
        """Seconds to the whole answer, and the answer."""
        number = {"X-Amz-Meta-Number": str(next(self._numbers))}
        request = AWSRequest(method, f"http://127.0.0.1:{self.port}{path}", number, body)
        self._signer.add_auth(request)
        headers = dict(request.headers.items())
        if time.monotonic() - self._used_s > KEPT_S:
            self.connection.close()
            self.connection.connect()
        self._used_s = time.monotonic()
        began = time.perf_counter()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        took_s = time.perf_counter() - began
        if answer.status >= 300:
            raise BenchError(f"{method} {path} is answered {answer.status}: {data[:300]!r}")
        return took_s, json.loads(data) if data else None


class Host:
    def __init__(self, lab: Lab, folder: Path, case: Case, ports: Ports) -> None:
        places = Places(folder / "state", folder / "run")
        places.create()
        self.key = AccessKeys(places.access_keys).issue("bench", "administrator")
        self.port = free_port()
        settings = [f"PRESSBOX_STATE={places.state}", f"PRESSBOX_RUN={places.run}", "PRESSBOX_API_RATE=100"]
        self.process = lab.start(["env", *settings, *PRESSBOX, "run", "--no-web", "--api", str(self.port)])
        self.client = Client(self.port, self.key)
        lab.wait(self._answers, "the API", timeout_s=60)
        self.first_in, first_out = free_port(FLOWS), free_port(OUTPUTS)
        self.sink = ports.sink(lab, Path("/dev/null"), range(first_out, first_out + OUTPUTS), recorded=0)
        self.arns = [self._flow(number, case, first_out) for number in range(FLOWS)]
        self.paths = [f"/v1/flows/{quote(arn, safe='')}" for arn in self.arns]
        for arn in self.arns:
            self.client.ask("POST", f"/v1/flows/start/{quote(arn, safe='')}")
        lab.wait(lambda: all(is_bound(self.first_in + number) for number in range(FLOWS)), "all flows listen", timeout_s=120)

    def _answers(self) -> bool:
        try:
            self.client.ask("GET", "/v1/flows")
        except OSError:
            self.client.connection.close()
            return False
        return True

    def _flow(self, number: int, case: Case, first_out: int) -> str:
        source = {"name": "in", "protocol": "udp", "ingestPort": self.first_in + number, "whitelistCidr": "127.0.0.0/8"}
        outputs = [
            {"name": f"output-{at}", "protocol": "udp", "destination": "127.0.0.1", "port": first_out + at, "outputStatus": status}
            for at, status in enumerate(["ENABLED"] * case.sending + ["DISABLED"] * (OUTPUTS - case.sending))
        ]
        body = {"name": f"flow-{number}", "source": source, "outputs": outputs}
        return str(self.client.ask("POST", "/v1/flows", json.dumps(body).encode())[1]["flow"]["flowArn"])

    def memory(self) -> tuple[float, float]:
        """PSS and USS of the API's processes, in MB."""
        found = [_memory(pid) for pid in self._running()]
        return sum(pss for pss, _ in found), sum(uss for _, uss in found)

    def cpu_s(self) -> float:
        """That the API's processes have spent."""
        return sum(time.clock_gettime(~pid << 3 | CPU_CLOCK) for pid in self._running())

    def _running(self) -> list[int]:
        found = _running("appliance.apid", self.port)
        if not found:
            raise BenchError("the API's process is not there")
        return found

    def boto(self) -> Any:
        config = Config(retries={"total_max_attempts": 1})
        return boto3.client(
            "mediaconnect",
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=self.key.id,
            aws_secret_access_key=self.key.secret,
            config=config,
        )


def run(seconds: float | None, repeats: int | None, only: str, polls: int = 0) -> Report:
    title = f"Answers of {FLOWS} flows with {OUTPUTS} outputs each, ms; goal: p99 below {GOAL_MS:g} ms over bare HTTP"
    times = Table(title, ["while", "operation", "p50", "p99", "max", "n", "CPU ms each", "boto3 p50", "boto3 p99", "Mb/s", "load", ""])
    memories = Table("Memory of the API's processes, MB", ["while", "requests so far", "PSS", "USS"])
    report = Report("api", [times, memories])
    for case in [one for one in CASES if only in one.name]:
        say(case.name)
        try:
            _measure(case, seconds or SECONDS, polls if case is CASES[0] else 0, times, memories)
        except BenchError as error:
            report.failures[case.name] = str(error)
    say("")
    report.notes = [
        "Bare HTTP: one connection that is kept, signed beforehand, to the last byte of the answer. boto3: the whole call of its client.",
        "Mb/s: what came to the sinks. All on this machine: the client, the flows, their sender and the sinks share its processors.",
    ]
    return report


def _measure(case: Case, seconds: float, polls: int, times: Table, memories: Table) -> None:
    with tempfile.TemporaryDirectory(prefix="pb-", ignore_cleanup_errors=True) as name, Lab() as lab:
        folder = Path(name)
        ports = Ports(folder)
        stream = make_stream(folder, 10, 10 * MBIT)
        host = Host(lab, folder, case, ports)
        long_s = 4 * seconds + polls / POLLS_A_SECOND + 30
        pacer = ports.pace(lab, stream, case.rate_bps, long_s, range(host.first_in, host.first_in + FLOWS))
        began = time.monotonic()
        time.sleep(3)  # until the first snapshots tell of packets
        boto = host.boto()
        bare = {
            "DescribeFlow": lambda turn: host.client.ask("GET", host.paths[turn % FLOWS])[0],
            "ListFlows": lambda turn: host.client.ask("GET", "/v1/flows")[0],
        }
        own = {
            "DescribeFlow": lambda turn: _took_s(lambda: boto.describe_flow(FlowArn=host.arns[turn % FLOWS])),
            "ListFlows": lambda turn: _took_s(lambda: boto.list_flows()),
        }
        memories.rows.append([case.name, 0, *host.memory()])
        rows = []
        for operation, ask in bare.items():
            spent_s = host.cpu_s()
            times_s = _sample(ask, seconds)
            rows.append((operation, times_s, (host.cpu_s() - spent_s) / len(times_s) * 1000, _sample(own[operation], seconds)))
        asked = sum(len(one) + len(two) for _, one, _, two in rows)
        memories.rows.append([case.name, asked, *host.memory()])
        for done in _poll(host, polls):
            memories.rows.append([case.name, asked + done, *host.memory()])
        passed_s, busy = time.monotonic() - began, load()
        finish(pacer)
        rate = sum(finish(host.sink)["datagrams"]) * 1316 * 8 / passed_s / MBIT
        for operation, one, cpu_ms, two in rows:
            met = "met" if _at(one, 0.99) < GOAL_MS else "missed"
            cells = [_at(one, 0.5), _at(one, 0.99), one[-1] * 1000, len(one), cpu_ms, _at(two, 0.5), _at(two, 0.99)]
            times.rows.append([case.name, operation, *cells, rate, busy, met])


def _sample(ask: Callable[[int], float], seconds: float) -> list[float]:
    until, found = time.monotonic() + seconds, []
    while time.monotonic() < until:
        found.append(ask(len(found)))
        time.sleep(PAUSE_S)
    return sorted(found)


def _poll(host: Host, polls: int) -> Iterator[int]:
    """At so many a second, DescribeFlow and ListFlows by turns; now and then how many it were."""
    began = time.monotonic()
    for done in range(1, polls + 1):
        host.client.ask("GET", host.paths[done % FLOWS] if done % 2 else "/v1/flows")
        if done % SLICE == 0:
            say(f"{done} of {polls} polls")
        if done == polls or (done % (10 * SLICE) == 0):
            yield done
        time.sleep(max(0.0, began + done / POLLS_A_SECOND - time.monotonic()))


def _took_s(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def _running(module: str, port: int) -> list[int]:
    """The processes that run it on this port: gunicorn's own and its worker."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if module.encode() in words and str(port).encode() in words:
                found.append(int(entry.name))
    return found


def _memory(pid: int) -> tuple[float, float]:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    kb = {name: int(lines[name].split()[0]) for name in ("Pss", "Private_Clean", "Private_Dirty")}
    return kb["Pss"] / 1024, (kb["Private_Clean"] + kb["Private_Dirty"]) / 1024
