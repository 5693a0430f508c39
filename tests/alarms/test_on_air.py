"""A box that runs: a real flow goes wrong, a real receiver hears of it, and both alarm processes are killed meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.api.notes import notes_of
from appliance.locks import Lock, with_lock
from appliance.service import Service
from firmware.alarms.board import read_alarms
from firmware.alarms.settings import Webhook, changing
from firmware.model import parse_flow
from firmware.secrets import Secrets
from tests.alarms.receiver import Receiver
from tests.lab.feed import stream
from tests.lab.programs import Program, pressbox

RATE_BPS = 1_000_000


@contextmanager
def fed(port: int) -> Iterator[None]:
    """Somebody sends a stream there, until the end of the block."""
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for datagram in stream(RATE_BPS):
                with suppress(ConnectionRefusedError):
                    out.sendto(datagram, ("127.0.0.1", port))
                if over.wait(len(datagram) * 8 / RATE_BPS):
                    return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def child(of: Program, module: str) -> int | None:
    """Its process id."""
    tasks = Path(f"/proc/{of.process.pid}/task/{of.process.pid}/children").read_text().split()
    for pid in tasks:
        with suppress(OSError):
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return int(pid)
    return None


def test_what_goes_wrong_on_air_is_told_once_though_both_processes_are_killed(places, udp_port, wait_for):
    source, dead = udp_port(), udp_port()
    ends = {
        "sources": [{"protocol": "udp", "name": "in", "port": source, "allow": ["0.0.0.0/0"]}],
        "outputs": [{"protocol": "srt-caller", "name": "wall", "host": "127.0.0.1", "port": dead, "clear": True}],
    }
    service = Service(places)
    service.create(parse_flow({"name": "studio", **ends}), start=True)
    lock = Lock("ann", datetime.now(UTC) + timedelta(hours=4), "cup final")
    service.store.change("studio", lambda kept, _: with_lock(kept, lock))
    Secrets(places.secrets).set("sig", "a-secret-of-the-receiver")
    with Receiver().up() as receiver, fed(source), Program.pressbox(places, "run", "--no-web") as box:
        with changing(places.state, lambda before, after: None) as settings:
            settings.webhooks = [Webhook(name="ops", url=receiver.url, secret="sig")]
        wait_for(lambda: read_alarms(places).at and child(box, "appliance.alarmd"), what="both processes", timeout_s=30)
        assert pressbox(places, "unlock", "studio", "--why", "wrong camera").returncode == 0

        def told(value: str) -> dict[str, dict]:
            details = [body["detail"] for body in receiver.bodies if "alarmName" in body["detail"]]
            return {detail["alarmName"]: detail for detail in details if detail["state"]["value"] == value}

        wanted = {"studio/source-open-to-all/in", "studio/output-down/wall", "studio/lock-overridden"}
        wait_for(lambda: told("ALARM").keys() >= wanted, what="the three alarms", timeout_s=60)
        assert "ann had locked" in told("ALARM")["studio/lock-overridden"]["state"]["reason"]
        arn = notes_of(service.get("studio")).arn
        assert all(arn in body["resources"] for body in receiver.bodies if body["detail"].get("pressbox", {}).get("flow"))
        seen = read_alarms(places)
        first = {module: child(box, module) for module in ("firmware.alarms.watcher", "appliance.alarmd")}
        for pid in first.values():
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: child(box, "firmware.alarms.watcher") and read_alarms(places).at > seen.at + 2, what="a new watcher", timeout_s=30)
        assert {alarm.id for alarm in seen.of_flow("studio")} <= {alarm.id for alarm in read_alarms(places).of_flow("studio")}
        service.stop("studio")
        wait_for(lambda: told("OK").keys() >= wanted - {"studio/lock-overridden"}, what="that they are over", timeout_s=60)
        assert read_alarms(places).of_flow("studio")[0].alarm == "lock-overridden"
        assert not box.said("Traceback"), str(box)
    changes: dict[tuple[str, str], set[str]] = {}
    for body in receiver.bodies:
        if "alarmName" in body["detail"]:
            changes.setdefault((body["detail"]["alarmName"], body["detail"]["state"]["value"]), set()).add(body["id"])
    assert all(len(ids) == 1 for ids in changes.values()), changes
    assert "MediaConnect Flow Status Change" in {body["detail-type"] for body in receiver.bodies}
