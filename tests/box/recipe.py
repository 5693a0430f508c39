"""Proof that docs/event.md is true: its commands are run as they stand, and a picture goes through the flows that they make."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path

from appliance.api.accesskeys import AccessKeys
from firmware.audit import Audit
from firmware.places import Places
from tests.lab import networks
from tests.lab.networks import STUDIO, Networks, Side
from tests.lab.programs import PRESSBOX, Program, environment, wait_until
from tests.lab.recorder import Recorder, difference
from tests.lab.stalls import Stalls

from .proof import Figures, judged

GUIDE = Path(__file__).parents[2] / "docs" / "event.md"
OUTPUTS = {"primary": 5002, "backup": 5003}
RTP_HEADER = 12
AROUND = (2, 4)  # columns and rows of FEC, above the media
SECONDS = 20.0
_BLOCK = re.compile(r"^```sh ?(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Ground:
    """Where it is done: the host at the studio and all others at the venue, or everything on this machine's loopback with other ports."""

    def __init__(self, network: Networks | None) -> None:
        self.network = network
        self.host, self.receiver = (STUDIO["a"], network.address["a"]) if network else ("127.0.0.1", "127.0.0.1")
        self.encoders = "10.77.0.0/16" if network else "127.0.0.0/8"
        self._moved = 0 if network else _free_row(8) - 5000

    def inside(self, side: Side) -> AbstractContextManager[None]:
        return self.network.inside(side) if self.network else nullcontext()

    def port(self, port: int) -> int:
        return port + self._moved

    def moved(self, text: str) -> str:
        """With the ports of here, where they are not those of the guide."""
        return re.sub(r"\b500[0-7]\b", lambda found: str(self.port(int(found[0]))), text) if self._moved else text


class Shell:
    """One shell for all blocks: what one sets, the next has. What fails ends it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "-euo", "pipefail"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )
        self.said: list[str] = []

    def run(self, block: str) -> None:
        """AssertionError with what it said, when a command of it fails."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{block}\necho 'the block is done'\n")
        self.process.stdin.flush()
        said: list[str] = []
        for line in self.process.stdout:
            if line == "the block is done\n":
                self.said += said
                return
            said.append(line)
        raise AssertionError(f"a command of docs/event.md fails: {''.join(said).strip()}\n{block}")

    def close(self) -> None:
        self.process.communicate()


def recipe(options: argparse.Namespace) -> Figures:
    """docs/event.md: its AWS CLI commands as they stand, two flows and a picture for `--seconds` (20), to the deletion of the flows"""
    settings, *_ = blocks("settings")
    if shutil.which("aws", path=_path()) is None:
        return {"skipped": "there is no AWS CLI; scripts/setup test installs it"}
    with ExitStack() as stack:
        ground = Ground(stack.enter_context(Networks()) if not networks.missing() else None)
        root = Path(tempfile.mkdtemp(prefix="pb-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        places = Places(root / "state", root / "run")
        places.create()
        return _run(options, ground, places, stack, settings)


def _run(options: argparse.Namespace, ground: Ground, places: Places, stack: ExitStack, settings: str) -> Figures:
    before, after = guide()
    with ground.inside("studio"):
        port = _free_tcp()
        host = stack.enter_context(Program.pressbox(places, "run", "--no-web", "--api", str(port)))
        known = _settings(ground, places, port)
        shell = Shell(os.environ | known | {"PATH": _path()})
        stack.callback(shell.close)
        wait_until(lambda: _answers(port), what="the API answers", among=[host])
    wanted = set(re.findall(r"(?:^|\s)([A-Z_]+)=", settings)) - {"AWS_CA_BUNDLE"}
    assert wanted <= known.keys(), f"docs/event.md wants settings that the proof does not know: {wanted - known.keys()}"
    with ground.inside("venue"):
        sent = stack.enter_context(Recorder())
        got = {name: stack.enter_context(_recorder(ground, number, strip=RTP_HEADER)) for name, number in OUTPUTS.items()}
        fec = {(name, more): stack.enter_context(_recorder(ground, number + more)) for name, number in OUTPUTS.items() for more in AROUND}
    for block in before:
        shell.run(ground.moved(block))
    stalls = Stalls()
    stack.callback(stalls.close)
    (encoder,) = blocks("encoder")
    with ground.inside("venue"):
        ends = [word.replace("$HOST", ground.host) for word in re.findall(r'"(rtp://[^"]+)"', ground.moved(encoder))]
        assert len(ends) == len(OUTPUTS), f"docs/event.md: the encoder sends to {ends}"
        command = [*PRESSBOX, "send", "pattern", *ends, f"udp://127.0.0.1:{sent.port}"]
        sender = Program(command, environment(Places(places.state / "encoder", places.run / "encoder")))
    with sender:
        began = time.monotonic()
        for recorder in (*got.values(), *fec.values()):
            wait_until(lambda recorder=recorder: recorder.datagrams, 30, "packets and FEC at the outputs", [sender, host])  # type: ignore[misc]
        shell.run(after[0])
        while time.monotonic() - began < (options.seconds or SECONDS):
            time.sleep(0.1)
    came = {name: asdict(difference(sent.datagrams, recorder.datagrams)) for name, recorder in got.items()}
    for block in after[1:]:
        shell.run(block)
    figures: Figures = {
        "commands": sum(block.count("aws mediaconnect") for block in before + after),
        "ports": "as the guide has them" if ground.network else "others that were free",
        "outputs": came,
        "fec_packets": {f"{name} +{more}": len(recorder.datagrams) for (name, more), recorder in fec.items()},
        "longest_stall_ms": round(stalls.longest_s(0) * 1000),
    }
    audit = Audit(places.audit)
    claims = {f"no datagram of {name} {what}": not one[what] for name, one in came.items() for what in ("lost", "duplicated", "disordered")}
    claims["something was compared"] = all(one["compared"] > 500 for one in came.values())
    claims["FEC of columns and rows came"] = all(figures["fec_packets"].values())
    claims["the health loop saw both flows ACTIVE, and who sends"] = _healthy(shell.said)
    claims["no flow is left"] = shell.said[-1].strip() == "[]"
    claims["the audit log is whole"] = audit.verify().intact
    return judged(figures, claims)


def blocks(kind: str = "") -> list[str]:
    """The guide's blocks of this kind, as they stand."""
    return [found["text"] for found in _BLOCK.finditer(GUIDE.read_text()) if found["kind"] == kind]


def guide() -> tuple[list[str], list[str]]:
    """The commands before the encoder sends, and those after."""
    kinds = [found["kind"] for found in _BLOCK.finditer(GUIDE.read_text())]
    place = kinds[: kinds.index("encoder")].count("")
    return blocks()[:place], blocks()[place:]


def _healthy(said: list[str]) -> bool:
    text = re.sub(r"\s+", " ", "".join(said))
    return all(text.count(f'"{name}", "ACTIVE", "1') >= 2 for name in ("Event_Primary", "Event_Backup"))


def _settings(ground: Ground, places: Places, port: int) -> dict[str, str]:
    key = AccessKeys(places.access_keys).issue("event", "administrator")
    return {
        "AWS_ENDPOINT_URL_MEDIACONNECT": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_PAGER": "",
        "PYTHONWARNINGS": "ignore",
        "HOST": ground.host,
        "ENCODERS": ground.encoders,
        "RECEIVER": ground.receiver,
    }


def _path() -> str:
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])


def _recorder(ground: Ground, port: int, *, strip: int = 0) -> Recorder:
    return Recorder(ground.receiver, ground.port(port), strip=strip)


def _answers(port: int) -> bool:
    """Asked from where the host is: a shell there is the only one that reaches it."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_tcp() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free_row(count: int) -> int:
    """The first of so many free UDP ports."""
    while True:
        with ExitStack() as held:
            first = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                for more in range(1, count):
                    held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", port + more))
            except (OSError, OverflowError):
                continue
            return port
