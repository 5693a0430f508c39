"""Proof that an entitlement touches nobody but its subscriber: two hosts in network namespaces, one that grants and one that takes.

feed --> flow `house` at the studio --> recorder `sent`
             \\---- entitlements a, b, c ---- router ---- flows a, b, c at the venue --> a recorder each
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from appliance.api.accesskeys import AccessKeys
from firmware.audit import Audit
from firmware.places import Places
from tests.lab import networks
from tests.lab.networks import STUDIO, Networks, Side
from tests.lab.programs import PRESSBOX, environment, wait_until
from tests.lab.recorder import Recorder, difference
from tests.lab.stalls import Stalls

from .lab import feed
from .proof import Figures, judged, progress, spread

ACCOUNT = "111122223333"
API_PORT, FEED_PORT = 8443, 5000
FEED_BPS = 2_000_000
OURS, OTHERS = "a", ("b", "c")
CALM = 300  # datagrams


class House:
    """A host on one side, its API over TLS, and a client of it there."""

    def __init__(self, root: Path, network: Networks, side: Side, address: str) -> None:
        self.network, self.side = network, side
        self.places = Places(root / side / "state", root / side / "run")
        self.places.create()
        self.keys = AccessKeys(self.places.access_keys)
        self.url = f"https://{address}:{API_PORT}"
        self.certificate, private = certificate(root / side, address)
        where = ["--api", str(API_PORT), "--api-address", address, "--api-cert", str(self.certificate), "--api-key", str(private)]
        command = [*PRESSBOX, "run", "--no-web", *where]
        self.program = network.program(side, command, environment(self.places, {"PRESSBOX_API_RATE": "1000"}))
        key = self.keys.issue("prover", "administrator")
        self._client: Any = boto3.client(
            "mediaconnect",
            region_name="local",
            endpoint_url=self.url,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            verify=str(self.certificate),
            config=Config(retries={"total_max_attempts": 5, "mode": "standard"}, connect_timeout=3, read_timeout=20),
        )
        wait_until(self._answers, what="the API answers", among=[self.program])

    def _answers(self) -> bool:
        try:
            return bool(self.call("list_flows") or True)
        except Exception:
            return False

    def call(self, operation: str, **members: Any) -> Any:
        with self.network.inside(self.side):
            return getattr(self._client, operation)(**members)

    def befriend(self, other: House) -> None:
        key = other.keys.issue("venue", "subscriber", ACCOUNT)
        command = [*PRESSBOX, "peer", "add", "house", other.url, "--key-id", key.id, "--ca", str(other.certificate)]
        argv = ["ip", "netns", "exec", self.network.names[self.side], *command]
        subprocess.run(argv, input=key.secret, text=True, check=True, env=environment(self.places), capture_output=True)


def certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """One that vouches for itself, and its key."""
    made, key = folder / "host.pem", folder / "host.key"
    options = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}"]
    subprocess.run(["openssl", *options, "-keyout", str(key), "-out", str(made), *names], check=True, capture_output=True)
    return made, key


class Lent:
    """The flow `house` and its three entitlements, taken up at the venue."""

    def __init__(self, stack: ExitStack, network: Networks, root: Path) -> None:
        self.network = network
        self.studio = House(root, network, "studio", STUDIO["a"])
        stack.callback(self.studio.program.close)
        self.venue = House(root, network, "venue", "10.77.1.2")
        stack.callback(self.venue.program.close)
        self.venue.befriend(self.studio)
        self.sent = self._recorder(stack, "studio")
        self.walls = {name: self._recorder(stack, "venue") for name in (OURS, *OTHERS)}
        granted = [{"Name": name, "Subscribers": [ACCOUNT], "DataTransferSubscriberFeePercent": 100} for name in self.walls]
        source = {"Name": "in", "Protocol": "udp", "IngestPort": FEED_PORT, "WhitelistCidr": "127.0.0.0/8"}
        made = self.studio.call("create_flow", Name="house", Source=source, Outputs=[_to("sent", self.sent)], Entitlements=granted)["Flow"]
        self.arn = made["FlowArn"]
        self.entitlements = {one["Name"]: one["EntitlementArn"] for one in made["Entitlements"]}
        self.studio.call("start_flow", FlowArn=self.arn)
        with network.inside("studio"):
            feeding = feed(FEED_PORT, FEED_BPS)
        stack.callback(feeding.communicate)
        for name, wall in self.walls.items():
            taken = {"Name": "by-right", "EntitlementArn": self.entitlements[name], "MinLatency": 200}
            guest = self.venue.call("create_flow", Name=name, Source=taken, Outputs=[_to("wall", wall)])["Flow"]["FlowArn"]
            self.venue.call("start_flow", FlowArn=guest)
        for name in self.walls:
            self.wait(lambda: self.walls[name].datagrams, f"the stream by entitlement {name}")  # noqa: B023

    def _recorder(self, stack: ExitStack, side: Side) -> Recorder:
        with self.network.inside(side):
            return stack.enter_context(Recorder())

    def wait(self, happened: Callable[[], object], what: str) -> None:
        wait_until(happened, 30, what, [self.studio.program, self.venue.program])

    def switch(self, status: str) -> None:
        self.studio.call("update_flow_entitlement", FlowArn=self.arn, EntitlementArn=self.entitlements[OURS], EntitlementStatus=status)

    def others_get(self, count: int) -> None:
        known = {name: len(self.walls[name].datagrams) for name in OTHERS}
        self.wait(lambda: all(len(self.walls[name].datagrams) > known[name] + count for name in OTHERS), "the stream of the others goes on")

    def cut_after_s(self, began: float) -> float:
        """When the last datagram came to the subscriber, once none has for a while."""
        wall = self.walls[OURS]
        self.wait(lambda: time.monotonic() - _last(wall, began) > 1, "the subscriber is cut")
        return _last(wall, began) - began

    def back_after_s(self, began: float) -> float:
        known = len(self.walls[OURS].datagrams)
        self.wait(lambda: len(self.walls[OURS].datagrams) > known + 20, "the subscriber is back")
        return self.walls[OURS].times[known] - began


def entitlements(options: argparse.Namespace) -> Figures:
    """one of three entitlements is disabled and enabled on air (20 times), then revoked: cut within a second, the others lose nothing"""
    why = networks.missing()
    if why:
        print(f"  {why}", file=sys.stderr)
        return {"skipped": why}
    root = Path(tempfile.mkdtemp(prefix="pb-"))
    times = options.times or 20
    cut: list[float] = []
    back: list[float] = []
    try:
        with ExitStack() as stack:
            lent = Lent(stack, stack.enter_context(Networks()), root)
            stalls = Stalls()
            stack.callback(stalls.close)
            lent.others_get(CALM)
            for turn in range(times):
                progress(turn, times)
                began = time.monotonic()
                lent.switch("DISABLED")
                cut.append(lent.cut_after_s(began))
                began = time.monotonic()
                lent.switch("ENABLED")
                back.append(lent.back_after_s(began))
            began = time.monotonic()
            lent.studio.call("revoke_flow_entitlement", FlowArn=lent.arn, EntitlementArn=lent.entitlements[OURS])
            revoked_s = lent.cut_after_s(began)
            lent.others_get(CALM)
            others = {name: asdict(difference(lent.sent.datagrams, lent.walls[name].datagrams)) for name in OTHERS}
            moved_s = _moved(lent)
            whole = Audit(lent.studio.places.audit).verify().intact
            figures = {"switched": times, "cut_s": spread(cut), "back_s": spread(back), "revoked_s": round(revoked_s, 3)}
            figures |= {"others": others, "another_address_s": round(moved_s, 1), "longest_stall_ms": round(stalls.longest_s(0) * 1000)}
    finally:
        shutil.rmtree(root, ignore_errors=True)
    claims = {f"no packet of {name} is lost": not (one["lost"] or one["duplicated"] or one["disordered"]) for name, one in others.items()}
    claims |= {"something was compared": all(one["compared"] > 500 for one in others.values()), "the audit log is whole": whole}
    return judged(figures, claims | {"the subscriber is cut within a second": max(*cut, revoked_s) < 1})


def _moved(lent: Lent) -> float:
    """The venue gets another address, which the studio does not let in before the venue's host has asked again."""
    began = time.monotonic()
    lent.network.move_address("a")
    wall = lent.walls[OTHERS[0]]
    lent.wait(lambda: time.monotonic() - _last(wall, began) > 1, "the stream by the former address ends")
    known = len(wall.datagrams)
    lent.wait(lambda: len(wall.datagrams) > known + 100, "the stream by the new address")
    return time.monotonic() - began


def _to(name: str, recorder: Recorder) -> dict[str, Any]:
    return {"Name": name, "Protocol": "udp", "Destination": "127.0.0.1", "Port": recorder.port}


def _last(recorder: Recorder, began: float) -> float:
    return max(began, recorder.times[-1] if recorder.times else began)
