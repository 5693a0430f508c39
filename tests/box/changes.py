"""Proof that the API may die at any moment of a change: what is kept is as before it or after it, and no packet notices."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
from contextlib import suppress
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from appliance.api.accesskeys import AccessKeys
from firmware.audit import Audit
from tests.lab.ports import free_ports

from .lab import Lab
from .proof import Bench, Figures, judged, progress, unharmed

LONGEST_CHANGE_S = 0.06  # the API is killed so long after a change began, at most


def kill_api(options: argparse.Namespace) -> Figures:
    """kill -9 of the API during random changes (200): each is made or not, the audit log is whole, and no packet is lost"""
    port = free_ports(1)[0]
    with Bench(options, times=200, more=["--api", str(port)]) as bench:
        api = Api(bench.lab, port)
        made = 0
        for turn in range(bench.times):
            progress(turn, bench.times)
            made += api.killed_within(bench.chance.choice([api.tagged, api.added, api.removed]), bench.chance.uniform(0, LONGEST_CHANGE_S))
        verdict = Audit(bench.lab.places.audit).verify()
        figures = bench.loss() | {"kills": bench.times, "changes_made": made, "audit_entries": verdict.last}
        claims = {"the audit log is whole": verdict.intact, "some changes were made, and some not": 0 < made < bench.times}
        return judged(figures, unharmed(figures) | claims)


class Api:
    """Changes of the studio's flow, of which each says what the flow's outputs and tags would be."""

    def __init__(self, lab: Lab, port: int) -> None:
        key = AccessKeys(lab.places.access_keys).issue("prover", "administrator")
        self.lab = lab
        self.client: Any = boto3.client(
            "mediaconnect",
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
        )
        self._port = port
        self._number = 0
        lab.wait(self._answers, what="the API")
        flows = self.client.list_flows()["Flows"]
        self.arn = next(flow["FlowArn"] for flow in flows if flow["Name"] == "studio")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def state(self) -> tuple[frozenset[str], int]:
        """Names of outputs, and how many tags there are."""

        def look() -> tuple[frozenset[str], int] | None:
            with suppress(BotoCoreError, ClientError):
                outputs = self.client.describe_flow(FlowArn=self.arn)["Flow"]["Outputs"]
                self.outputs = {output["Name"]: output["OutputArn"] for output in outputs}
                return frozenset(self.outputs), len(self.client.list_tags_for_resource(ResourceArn=self.arn)["Tags"])
            return None

        return self.lab.wait(look, what="the API answers again")

    def tagged(self, outputs: frozenset[str], tags: int) -> tuple[Any, dict[str, Any], tuple[frozenset[str], int]]:
        if tags >= 40:
            keys = list(self.client.list_tags_for_resource(ResourceArn=self.arn)["Tags"])
            return self.client.untag_resource, {"ResourceArn": self.arn, "TagKeys": keys}, (outputs, 0)
        members = {"ResourceArn": self.arn, "Tags": {f"t-{self._number}": "x"}}
        return self.client.tag_resource, members, (outputs, tags + 1)

    def added(self, outputs: frozenset[str], tags: int) -> tuple[Any, dict[str, Any], tuple[frozenset[str], int]]:
        if len(outputs) > 30:
            return self.removed(outputs, tags)
        name = f"o-{self._number}"
        output = {"Name": name, "Protocol": "udp", "Destination": "127.0.0.1", "Port": 40_000 + self._number}
        return self.client.add_flow_outputs, {"FlowArn": self.arn, "Outputs": [output]}, (outputs | {name}, tags)

    def removed(self, outputs: frozenset[str], tags: int) -> tuple[Any, dict[str, Any], tuple[frozenset[str], int]]:
        name = next((name for name in outputs if name.startswith("o-")), None)
        if name is None:
            return self.added(outputs, tags)
        return self.client.remove_flow_output, {"FlowArn": self.arn, "OutputArn": self.outputs[name]}, (outputs - {name}, tags)

    def killed_within(self, change: Any, after_s: float) -> bool:
        """Whether the change was made. AssertionError where what is kept is neither as before it nor as after it."""
        self._number += 1
        before = self.state()
        call, members, expected = change(*before)
        asking = threading.Thread(target=_ask, args=(call, members))
        parent = self.lab.child("appliance.apid")
        processes = [parent, *_children(parent)]
        asking.start()
        asking.join(after_s)
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        asking.join()
        after = self.state()
        assert after in (before, expected), f"{call.__name__}: {before} became {after}, not {expected}"
        return after == expected


def _ask(call: Any, members: dict[str, Any]) -> None:
    with suppress(BotoCoreError, ClientError):
        call(**members)


def _children(pid: int) -> list[int]:
    """The worker of gunicorn, which would outlive its parent for a moment."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []
