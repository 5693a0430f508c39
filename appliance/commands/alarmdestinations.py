"""`pressbox alarm webhook`, `mqtt` and `events`: who is told, how that goes, and what was told."""

from __future__ import annotations

import argparse
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.exits import FAILED, NETWORK, OK, USAGE, Failure
from firmware.places import Places

if TYPE_CHECKING:
    from firmware.alarms.settings import Mqtt, Settings, Webhook

SHOWN = 20


def add(actions: Any) -> None:
    """Beside the other actions of `pressbox alarm`."""
    events = actions.add_parser("events", help="what was told last: alarms, and what happened to flows")
    events.add_argument("--last", type=int, default=SHOWN, metavar="N", help=f"how many (default: {SHOWN})")
    events.add_argument("--json", action="store_true", help="as webhooks get them, one line each")
    webhook = actions.add_parser("webhook", help="tell a web server").add_subparsers(metavar="WHAT", required=True, dest="what")
    new = webhook.add_parser("add", help="tell it from now on")
    new.add_argument("name", help="a name for it")
    new.add_argument("url", help="its https address; - reads it from standard input, for one that holds a password or a token")
    new.add_argument("--secret", required=True, help="name of the secret that signs what is sent")
    new.add_argument("--clear", action="store_true", help="http to another machine, on purpose")
    new.add_argument("--ca", default="", metavar="FILE", help="certificates that are believed, PEM (default: the system's)")
    new.add_argument("--alarms-only", action="store_true", help="no events of flows, sources and outputs")
    webhook.add_parser("list", help="all, and how they fare").add_argument("--json", action="store_true", help="one line each")
    for name, text in (("remove", "tell it no more"), ("test", "send it one notice now, and say how that went")):
        webhook.add_parser(name, help=text).add_argument("name", help="name of the webhook")
    mqtt = actions.add_parser("mqtt", help="tell an MQTT broker").add_subparsers(metavar="WHAT", required=True, dest="what")
    broker = mqtt.add_parser("set", help="tell it from now on")
    broker.add_argument("host", help="name or address of the broker")
    broker.add_argument("--port", type=int, help="default: 8883, without TLS 1883")
    broker.add_argument("--topic", default="pressbox", help="before all topics (default: pressbox); of several boxes, each its own")
    broker.add_argument("--user", default="", help="who we are to it")
    broker.add_argument("--secret", default="", help="name of the secret that is the password")
    broker.add_argument("--clear", action="store_true", help="without TLS, on purpose; on this machine it needs none")
    broker.add_argument("--ca", default="", metavar="FILE", help="certificates that are believed, PEM (default: the system's)")
    broker.add_argument("--alarms-only", action="store_true", help="no events of flows, sources and outputs")
    mqtt.add_parser("show", help="the broker, and how it fares")
    mqtt.add_parser("off", help="tell it no more")


def run(places: Places, options: argparse.Namespace) -> int:
    if options.action == "events":
        return _events(places, options)
    if options.action == "mqtt":
        return _mqtt(places, options)
    if options.what == "list":
        return _list(places, as_json=options.json)
    if options.what == "test":
        return _test(places, options.name)
    return _webhook(places, options)


def _webhook(places: Places, options: argparse.Namespace) -> int:
    from appliance.alarms.change import change_settings
    from firmware.alarms.settings import Webhook, parse
    from firmware.secrets import Secrets

    name: str = options.name

    def change(settings: Settings) -> None:
        names = [webhook.name for webhook in settings.webhooks]
        if options.what == "remove":
            if name not in names:
                raise Failure(FAILED, f"there is no webhook `{name}`; there are {', '.join(names) or 'none'}")
            settings.webhooks = [webhook for webhook in settings.webhooks if webhook.name != name]
            return
        if name in names:
            raise Failure(FAILED, f"there is a webhook `{name}` already; remove it first, or choose another name")
        fields = {"name": name, "url": _url(options.url), "since": _now(places), "events": not options.alarms_only}
        fields |= {"secret": options.secret, "clear": options.clear, "ca": options.ca}
        Secrets(places.secrets).get(options.secret)
        settings.webhooks = [*settings.webhooks, parse(Webhook, fields)]

    def told(settings: Settings) -> dict[str, Any] | None:
        return next((_shown(webhook) for webhook in settings.webhooks if webhook.name == name), None)

    change_settings(places, f"alarm.webhook.{options.what}", name, change, told)
    print(f"{name} is told from now on" if options.what == "add" else f"{name} is told no more")
    return OK


def _url(given: str) -> str:
    if given == "-":
        return sys.stdin.readline().strip()
    if "@" in given or "?" in given:
        raise Failure(
            USAGE, "url: on a command line every user of this machine can read it; write - and give the address on standard input"
        )
    return given


def _now(places: Places) -> tuple[int, int]:
    """How far the journal is: what was told before is no news."""
    from firmware.alarms.journal import ALARMS, EVENTS, last_number
    from firmware.alarms.settings import FOLDER

    folder = places.state / FOLDER
    return last_number(folder, ALARMS), last_number(folder, EVENTS)


def _shown(what: Webhook | Mqtt) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(what)
    del fields["since"]
    if "url" in fields:
        fields["url"] = what.shown  # type: ignore[union-attr]
    return fields


def _list(places: Places, *, as_json: bool) -> int:
    from firmware.alarms.settings import read_settings

    webhooks = read_settings(places.state).webhooks
    if not webhooks and not as_json:
        print("no webhooks; `pressbox alarm webhook add NAME URL --secret SECRET` makes one")
    for webhook in webhooks:
        print(_line(places, webhook.name, webhook, as_json=as_json))
    return OK


def _line(places: Places, name: str, what: Webhook | Mqtt, *, as_json: bool) -> str:
    from appliance.alarms.courier import read_place
    from firmware.alarms.settings import FOLDER

    place = read_place(places.state / FOLDER, name)
    if as_json:
        return msgspec.json.encode(_shown(what) | {"delivery": place}).decode()
    where = _shown(what).get("url") or f"{_shown(what)['host']}:{_shown(what)['port']}"
    gone = f", {place.missed} gone before they could be told" if place.missed else ""
    gone += f", {place.unwanted} not taken" if place.unwanted else ""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(place.failing_since))
    how = f"fails since {since}: {place.error}" if place.error else "well" if place.delivered else "nothing to tell so far"
    return f"{name:16}  {where:40}  {place.delivered} told{gone}; {how}"


def _test(places: Places, name: str) -> int:
    from appliance.alarms.shapes import Names
    from appliance.alarms.undelivered import Undelivered
    from appliance.alarms.webhook import WebhookSender
    from firmware.alarms.journal import Notice
    from firmware.alarms.settings import read_settings
    from firmware.secrets import Secrets

    webhooks = {webhook.name: webhook for webhook in read_settings(places.state).webhooks}
    if name not in webhooks:
        raise Failure(FAILED, f"there is no webhook `{name}`; there are {', '.join(webhooks) or 'none'}")
    words = {"errored": False, "error-code": "Test", "error-message": "a test of this webhook; nothing is wrong"}
    notice = Notice(what="alert", at=time.time(), id=str(uuid.uuid4()), detail=words)
    try:
        WebhookSender(webhooks[name], Secrets(places.secrets), Names(places)).send(notice)
    except Undelivered as error:
        raise Failure(NETWORK, f"{name} did not take it: {error}") from None
    print(f"{name} took it; its id is {notice.id}")
    return OK


def _mqtt(places: Places, options: argparse.Namespace) -> int:
    from appliance.alarms.change import change_settings
    from firmware.alarms.settings import Mqtt, is_loopback, parse, read_settings
    from firmware.secrets import Secrets

    if options.what == "show":
        mqtt = read_settings(places.state).mqtt
        print(_line(places, "mqtt", mqtt, as_json=False) if mqtt else "no broker; `pressbox alarm mqtt set HOST` names one")
        return OK

    def change(settings: Settings) -> None:
        if options.what == "off":
            settings.mqtt = None
            return
        clear = options.clear or (is_loopback(options.host) and not options.ca)
        fields = {"host": options.host, "port": options.port or (1883 if clear else 8883), "topic": options.topic, "ca": options.ca}
        fields |= {"user": options.user, "secret": options.secret, "clear": clear, "since": _now(places), "events": not options.alarms_only}
        if options.secret:
            Secrets(places.secrets).get(options.secret)
        settings.mqtt = parse(Mqtt, fields)

    change_settings(places, f"alarm.mqtt.{options.what}", "mqtt", change, lambda kept: _shown(kept.mqtt) if kept.mqtt else None)
    print("the broker is told from now on" if options.what == "set" else "no broker is told")
    return OK


def _events(places: Places, options: argparse.Namespace) -> int:
    from appliance.alarms.shapes import Names, envelope
    from firmware.alarms.journal import ALARMS, EVENTS, read
    from firmware.alarms.settings import FOLDER

    if options.last < 1:
        raise Failure(USAGE, f"--last: {options.last} is not 1 or more")
    folder, names = places.state / FOLDER, Names(places)
    notices = sorted([*read(folder, ALARMS), *read(folder, EVENTS)], key=lambda notice: notice.at)[-options.last :]
    for notice in notices:
        told = envelope(notice, names)
        if options.json:
            print(msgspec.json.encode(told).decode())
        else:
            where = f"{notice.flow or 'host'} {notice.end}".strip()
            print(f"{told['time'][:19].replace('T', ' ')}  {where:24}  {told['detail-type']}: {_short(told['detail'])}")
    return OK


def _short(detail: dict[str, Any]) -> str:
    if "alarmName" in detail:
        return (
            f"{detail['pressbox']['alarm']}: {detail['previousState']['value']} → {detail['state']['value']}: {detail['state']['reason']}"
        )
    if "currentStatus" in detail:
        return f"{detail['previousStatus']} → {detail['currentStatus']}"
    if "current" not in detail:
        return str(detail.get("error-message") or "over")
    now, before = detail["current"], detail["previous"]
    state = f"{before.get('state', before.get('source_state'))} → {now.get('state', now.get('source_state'))}"
    faults = [name for name, there in now.get("tr101", {}).items() if there] + (["failover_switch"] if now.get("failover_switch") else [])
    return state + (f", {', '.join(faults)}" if faults else "")
