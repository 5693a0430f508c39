"""The process that tells webhooks and an MQTT broker: a courier for each, that waits for no other.

python -m appliance.alarmd --with-parent
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import sys
import time
from typing import TYPE_CHECKING

from firmware.alarms.board import read_alarms
from firmware.alarms.settings import FOLDER, AlarmError, Mqtt, Settings, Webhook, read_settings, settings_path
from firmware.alarms.world import Stamp, stamp
from firmware.places import Places
from firmware.private import make_folder

if TYPE_CHECKING:
    from appliance.alarms.courier import Courier

LOOK_S = 1.0
NICENESS = 10
MQTT = "mqtt"  # the broker's name, which no webhook can have
STOP_S = 2.0

_log = logging.getLogger("pressbox.alarms")


class Couriers:
    """`look` makes those that the settings name, and ends those that they do not name any more."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._folder = places.state / FOLDER
        make_folder(self._folder)
        self._seen: Stamp | str | None = "not read"
        self._running: dict[str, tuple[Webhook | Mqtt, Courier]] = {}

    def look(self) -> None:
        for name, (what, courier) in self._running.items():
            if not courier.is_alive():  # of a fault of ours
                self._running[name] = (what, self._begin(name, what))
        now = stamp(settings_path(self.places.state))
        if now == self._seen:
            return
        self._seen = now
        try:
            wanted = destinations(read_settings(self.places.state))
        except AlarmError as error:
            _log.warning("%s", error)
            return
        for name in [name for name, (what, _) in self._running.items() if wanted.get(name) != what]:
            self._end([self._running.pop(name)[1]])
        for name, what in wanted.items():
            if name not in self._running:
                self._running[name] = (what, self._begin(name, what))

    def close(self) -> None:
        self._end([courier for _, courier in self._running.values()])

    def _begin(self, name: str, what: Webhook | Mqtt) -> Courier:
        """What it takes is loaded now: most boxes tell nobody."""
        from appliance.alarms.courier import Courier
        from appliance.alarms.mqtt import MqttSender
        from appliance.alarms.shapes import Names
        from appliance.alarms.webhook import WebhookSender
        from firmware.secrets import Secrets

        secrets, names = Secrets(self.places.secrets), Names(self.places)
        sender = (
            MqttSender(what, secrets, names, lambda: read_alarms(self.places))
            if isinstance(what, Mqtt)
            else WebhookSender(what, secrets, names)
        )
        courier = Courier(name, sender, self._folder, what.since, events=what.events)
        courier.start()
        return courier

    def _end(self, couriers: list[Courier]) -> None:
        for courier in couriers:
            courier.stop()
        until = time.monotonic() + STOP_S
        for courier in couriers:
            courier.join(max(0.0, until - time.monotonic()))
            courier.disowned = True


def destinations(settings: Settings) -> dict[str, Webhook | Mqtt]:
    found: dict[str, Webhook | Mqtt] = {webhook.name: webhook for webhook in settings.webhooks}
    return found | ({MQTT: settings.mqtt} if settings.mqtt else {})


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m appliance.alarmd", description="Tell webhooks and an MQTT broker of alarms and events."
    )
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends, however it ends")
    options = parser.parse_args()
    logging.basicConfig(format="alarms: %(message)s", level=logging.INFO)
    os.nice(NICENESS)
    couriers = Couriers(Places.from_environment())
    while True:
        couriers.look()
        readable, _, _ = select.select([sys.stdin] if options.with_parent else [], [], [], LOOK_S)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            couriers.close()
            return 0


if __name__ == "__main__":
    sys.exit(main())
