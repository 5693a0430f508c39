"""An MQTT broker: the state of each alarm as a retained message, events as they come, and a last will.

TOPIC/status                              online, or offline once this box is gone       retained
TOPIC/alarms/FLOW/ALARM                   a flow's                                       retained
TOPIC/alarms/FLOW/ALARM/source/NAME       a source's, an output's                        retained
TOPIC/alarms/host/ALARM                   this box's                                     retained
TOPIC/events/FLOW                         as MediaConnect tells them
"""

from __future__ import annotations

import secrets as chance
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.alarms.shapes import Names, envelope
from appliance.alarms.undelivered import Undelivered, in_words
from firmware.alarms.board import Alarm, Board
from firmware.alarms.journal import Notice
from firmware.alarms.settings import Mqtt
from firmware.secrets import SecretError, Secrets

if TYPE_CHECKING:
    from paho.mqtt.client import Client

TIMEOUT_S = 10.0
KEEPALIVE_S = 30
QOS = 1


class MqttSender:
    def __init__(self, mqtt: Mqtt, secrets: Secrets, names: Names, board: Callable[[], Board], timeout_s: float = TIMEOUT_S) -> None:
        self._mqtt = mqtt
        self._secrets = secrets
        self._names = names
        self._board = board
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._up = threading.Event()
        self._refused = ""

    def keep(self) -> None:
        """Stay connected, so that the last will says when this box is gone."""
        if self._client is None or not self._up.is_set():
            self.close()
            self._connect()

    def send(self, notice: Notice) -> None:
        """Undelivered says why the broker did not take it."""
        self.keep()
        assert self._client is not None  # noqa: S101
        if notice.alarm:
            topic, payload = alarm_topic(self._mqtt.topic, notice.alarm), msgspec.json.encode(notice.alarm)
        else:
            topic, payload = f"{self._mqtt.topic}/events/{notice.flow}", msgspec.json.encode(envelope(notice, self._names))
        told = self._client.publish(topic, payload, qos=QOS, retain=notice.alarm is not None)
        try:
            told.wait_for_publish(self._timeout_s)
        except (RuntimeError, ValueError):  # it went away meanwhile
            self.close()
        if not told.is_published():
            self.close()
            raise Undelivered("the broker did not confirm it in time")

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            if self._up.is_set():
                client.publish(f"{self._mqtt.topic}/status", "offline", qos=QOS, retain=True)
            client.disconnect()
            client.loop_stop()
            if (left := client.socket()) is not None:  # where the broker refused us
                left.close()
        self._up.clear()

    def _connect(self) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        mqtt = self._mqtt
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"pressbox-{chance.token_hex(6)}", reconnect_on_failure=False)
        client.connect_timeout = self._timeout_s
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.will_set(f"{mqtt.topic}/status", "offline", qos=QOS, retain=True)
        self._refused = ""
        try:
            if mqtt.user:
                client.username_pw_set(mqtt.user, self._secrets.get(mqtt.secret) if mqtt.secret else None)
            if not mqtt.clear:
                client.tls_set_context(ssl.create_default_context(cafile=mqtt.ca or None))
            client.connect(mqtt.host, mqtt.port, KEEPALIVE_S)
        except SecretError as error:
            raise Undelivered(str(error)) from None
        except OSError as error:
            raise Undelivered(in_words(error)) from None
        client.loop_start()
        self._client = client
        if not self._up.wait(self._timeout_s):
            refused = self._refused or "the broker does not answer"
            self.close()
            raise Undelivered(refused)
        for alarm in self._board().alarms:  # a broker that is new, or lost what it had retained
            client.publish(alarm_topic(mqtt.topic, alarm), msgspec.json.encode(alarm), qos=QOS, retain=True)

    def _connected(self, client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._refused = f"the broker refuses: {code}"
        else:
            client.publish(f"{self._mqtt.topic}/status", "online", qos=QOS, retain=True)
            self._up.set()

    def _disconnected(self, *_: Any) -> None:
        self._up.clear()


def alarm_topic(topic: str, alarm: Alarm) -> str:
    end = f"/{alarm.kind}/{alarm.end}" if alarm.kind in ("source", "output") else f"/{alarm.end}" if alarm.end else ""
    return f"{topic}/alarms/{alarm.flow or 'host'}/{alarm.alarm}{end}"
