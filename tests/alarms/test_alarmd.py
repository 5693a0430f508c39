"""The process with the couriers: it takes its settings as they change, and may be killed at any notice."""

from __future__ import annotations

import os
import signal
import sys
from shutil import which

import msgspec
import pytest

from firmware.alarms.journal import ALARMS, Journal
from firmware.alarms.settings import FOLDER, Mqtt, Webhook, changing
from firmware.secrets import Secrets
from tests.alarms.receiver import Receiver
from tests.alarms.test_mqtt import MOSQUITTO, Broker, mosquitto
from tests.alarms.test_webhook import told
from tests.lab.programs import Program, environment


@pytest.fixture
def journal(places):
    made = Journal(places.state / FOLDER, ALARMS)
    yield made
    made.close()


def alarmd(places) -> Program:
    return Program([sys.executable, "-m", "appliance.alarmd"], environment(places))


def change(places, **fields) -> None:
    Secrets(places.secrets).set("sig", "a-secret-of-the-receiver")
    with changing(places.state, lambda before, after: None) as settings:
        for name, value in fields.items():
            setattr(settings, name, value)


def hook(receiver: Receiver, journal: Journal) -> Webhook:
    return Webhook(name="ops", url=receiver.url, secret="sig", since=(journal.number, 0))


def test_a_webhook_is_told_from_when_it_was_added_until_it_is_removed(places, journal, wait_for):
    journal.add(told("before-its-time"))
    with Receiver().up() as receiver, Receiver().up() as other, alarmd(places):
        change(places, webhooks=[hook(receiver, journal)])
        sent = journal.add(told())
        wait_for(lambda: receiver.ids == [sent.id], what="the notice")
        change(places, webhooks=[msgspec.structs.replace(hook(other, journal), name="other")])
        journal.add(told())
        wait_for(lambda: other.ids, what="the notice at the other one")
        many, last = len(receiver.ids), journal.add(told())
        wait_for(lambda: other.ids[-1] == last.id, what="the next one there")
    assert len(receiver.ids) == many


def test_killed_at_any_notice_it_leaves_none_out_and_repeats_have_the_same_id(places, journal, wait_for):
    with Receiver().up() as receiver:
        change(places, webhooks=[hook(receiver, journal)])
        sent: list[str] = []
        for _ in range(2):
            with alarmd(places) as process:
                sent += [journal.add(told()).id for _ in range(15)]
                many = len(receiver.ids) + 5
                wait_for(lambda many=many: len(receiver.ids) >= many, what="some of them", timeout_s=30)
                os.kill(process.process.pid, signal.SIGKILL)
                process.wait()
        with alarmd(places):
            wait_for(lambda: receiver.ids and receiver.ids[-1] == sent[-1], what="the last", timeout_s=30)
    assert list(dict.fromkeys(receiver.ids)) == sent
    assert len(receiver.ids) <= len(sent) + 2


@pytest.mark.skipif(not (which("mosquitto") or MOSQUITTO), reason="there is no MQTT broker; apt install mosquitto")
def test_a_box_that_is_gone_is_offline_by_its_last_will(places, tmp_path, udp_port, wait_for):
    port = udp_port()
    with mosquitto(tmp_path, port):

        def connected() -> Broker | None:
            try:
                return Broker(port)
            except OSError:
                return None

        watching = wait_for(connected, what="the broker")
        with alarmd(places) as process:
            change(places, mqtt=Mqtt(host="127.0.0.1", port=port, clear=True))
            wait_for(lambda: watching.heard.get("pressbox/status") == b"online", what="that it is there")
            os.kill(process.process.pid, signal.SIGKILL)
            wait_for(lambda: watching.heard["pressbox/status"] == b"offline", what="its last will")
        watching.close()


def test_what_it_takes_is_loaded_only_when_somebody_is_to_be_told(places):
    code = (
        "import sys; from appliance.alarmd import Couriers; from firmware.places import Places;"
        "Couriers(Places.from_environment()).look(); print(*{'flask', 'paho.mqtt', 'ssl', 'http.client'} & set(sys.modules))"
    )
    with Program([sys.executable, "-c", code], environment(places)) as process:
        process.wait()
        assert process.out == [""]
