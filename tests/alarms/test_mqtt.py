"""MQTT, with mosquitto itself: retained states, a last will, passwords and certificates."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from appliance.alarms.courier import Courier, Patience
from appliance.alarms.mqtt import MqttSender
from appliance.alarms.shapes import Names
from firmware.alarms.board import Board, read_alarms
from firmware.alarms.journal import ALARMS, EVENTS, Journal, Notice
from firmware.alarms.settings import FOLDER, AlarmError, Mqtt, parse
from firmware.secrets import Secrets
from tests.alarms.test_webhook import alarm, certificate, told
from tests.lab.programs import Program

__all__ = ["certificate"]

MOSQUITTO = which("mosquitto") or which("mosquitto", path="/usr/sbin")
PASSWORD = "a-password-of-ours"

pytestmark = pytest.mark.skipif(not MOSQUITTO, reason="there is no MQTT broker; apt install mosquitto")


class Broker:
    """What it holds and hears, as another client sees it."""

    def __init__(self, port: int, **connect: Any) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: dict[str, bytes] = {}
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _client, _data, message: self.heard.update({message.topic: message.payload})
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        if connect.get("ca"):
            self.client.tls_set(ca_certs=connect["ca"])
        if connect.get("user"):
            self.client.username_pw_set(connect["user"], connect["password"])
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def tcp_port(udp_port) -> int:
    return udp_port()


@contextmanager
def mosquitto(folder: Path, port: int, *lines: str) -> Iterator[Program]:
    settings = folder / "mosquitto.conf"
    settings.write_text("\n".join([f"listener {port} 127.0.0.1", *(lines or ["allow_anonymous true"]), "user root", ""]))
    with Program([str(MOSQUITTO), "-c", str(settings)]) as broker:
        yield broker


@pytest.fixture
def listening(wait_for):
    """`listening(port)`: a client, once the broker takes him."""
    clients: list[Broker] = []

    def connect(port: int, **how: Any) -> Broker:
        def tried() -> Broker | None:
            try:
                return Broker(port, **how)
            except OSError:
                return None

        clients.append(wait_for(tried, what="the broker"))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def begin(places):
    """`begin(port, …)`: a courier to the broker there."""
    couriers: list[Courier] = []
    Secrets(places.secrets).set("broker", PASSWORD)

    def start(port: int, board: Board | None = None, **more: Any) -> Courier:
        mqtt = parse(Mqtt, {"host": "127.0.0.1", "port": port, "clear": True, "topic": "pressbox/truck-3"} | more)
        sender = MqttSender(mqtt, Secrets(places.secrets), Names(places), lambda: board or read_alarms(places), timeout_s=3.0)
        courier = Courier("mqtt", sender, places.state / FOLDER, mqtt.since, events=mqtt.events, patience=Patience(0.05))
        courier.start()
        couriers.append(courier)
        return courier

    yield start
    for courier in couriers:
        courier.stop()
        courier.join()


def test_states_are_retained_and_events_are_not(places, tmp_path, tcp_port, listening, begin, wait_for):
    alarms, events = Journal(places.state / FOLDER, ALARMS), Journal(places.state / FOLDER, EVENTS)
    with mosquitto(tmp_path, tcp_port):
        watching = listening(tcp_port)
        courier = begin(tcp_port)
        alarms.add(told())
        events.add(Notice(what="flow-status", at=time.time(), flow="studio", detail={"currentStatus": "ACTIVE"}))
        wait_for(lambda: len(watching.heard) == 3, what="status, alarm and event")
        late = listening(tcp_port)
        wait_for(lambda: len(late.heard) == 2, what="what is retained")
        topic = "pressbox/truck-3/alarms/studio/output-down/output/wall"
        assert set(late.heard) == {"pressbox/truck-3/status", topic}
        assert json.loads(late.heard[topic])["state"] == "ALARM"
        assert json.loads(watching.heard["pressbox/truck-3/events/studio"])["detail-type"] == "MediaConnect Flow Status Change"
        alarms.add(Notice(what="alarm", at=time.time(), flow="studio", end="wall", alarm=alarm(state="OK"), before="ALARM"))
        wait_for(lambda: json.loads(late.heard[topic])["state"] == "OK", what="that it is over")
        courier.stop()
        wait_for(lambda: late.heard["pressbox/truck-3/status"] == b"offline", what="that we are gone")
    alarms.close()
    events.close()


def test_a_broker_that_comes_back_with_nothing_is_told_how_things_stand(places, tmp_path, tcp_port, listening, begin, wait_for):
    journal = Journal(places.state / FOLDER, ALARMS)
    raised = Board(alarms=[alarm()])
    with mosquitto(tmp_path, tcp_port):
        listening(tcp_port)
        courier = begin(tcp_port, raised)
        journal.add(told("failover"))
        wait_for(lambda: courier.place.delivered == 1, what="the first")
    journal.add(told("failover"))
    wait_for(lambda: courier.place.error, what="that it is away")
    with mosquitto(tmp_path, tcp_port):
        late = listening(tcp_port)
        wait_for(lambda: courier.place.delivered == 2, what="the second", timeout_s=30)
        wait_for(lambda: "pressbox/truck-3/alarms/studio/output-down/output/wall" in late.heard, what="what is raised")
    journal.close()


@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")  # paho leaves one open when TLS fails
def test_a_password_from_a_secret_over_tls(places, tmp_path, tcp_port, listening, begin, wait_for, certificate):
    made, key = certificate
    words = tmp_path / "passwords"
    passwords = Path(str(MOSQUITTO)).with_name("mosquitto_passwd")
    if not passwords.exists():
        passwords = Path("/usr/bin/mosquitto_passwd")
    subprocess.run([passwords, "-b", "-c", words, "truck", PASSWORD], check=True, capture_output=True)
    journal = Journal(places.state / FOLDER, ALARMS)
    secured = ["allow_anonymous false", f"password_file {words}", f"certfile {made}", f"keyfile {key}"]
    with mosquitto(tmp_path, tcp_port, *secured):
        listening(tcp_port, ca=str(made), user="truck", password=PASSWORD)
        journal.add(told())
        doubts = begin(tcp_port, clear=False, user="truck", secret="broker")
        wait_for(lambda: "certificate is not believed" in doubts.place.error, what="the doubt")
        doubts.stop()
        doubts.join()
        stranger = begin(tcp_port, clear=False, ca=str(made))
        wait_for(lambda: "refuses" in stranger.place.error, what="the refusal")
        stranger.stop()
        stranger.join()
        known = begin(tcp_port, clear=False, ca=str(made), user="truck", secret="broker")
        wait_for(lambda: known.place.delivered, what="the notice")
        assert PASSWORD not in repr(known.place)
    journal.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"topic": "a/#"}, "no #"),
        ({"topic": "/a"}, "begins with /"),
        ({"secret": "broker"}, "a password needs a user"),
        ({"port": 0}, "port"),
        ({"clear": True, "ca": "x.pem"}, "no certificate to check"),
    ],
)
def test_a_broker_that_cannot_be_is_refused_by_its_field(fields, words):
    with pytest.raises(AlarmError, match=words):
        parse(Mqtt, {"host": "broker.example.org"} | fields)
