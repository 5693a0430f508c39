"""`pressbox alarm`: what is wrong now, which rules say so, and who is told."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.exits import FAILED, OK, USAGE, Failure
from appliance.whoami import console_user
from firmware.places import Places

if TYPE_CHECKING:
    from firmware.alarms.board import Alarm
    from firmware.alarms.rules import Rule
    from firmware.alarms.settings import Settings

EXAMPLES = """\
  pressbox alarm list
  pressbox alarm set source-bitrate-low --threshold 4M --flows 'studio*'
  pressbox alarm off output-disconnected
  pressbox alarm add slow-path --metric SourceRoundTripTime --comparison '>' --threshold 150 --period 10 --periods 3
  pressbox alarm ack all
  pressbox secret generate ops-signs
  echo 'https://alarms.example.org/pressbox?token=…' | pressbox alarm webhook add ops - --secret ops-signs
  pressbox alarm webhook test ops
  pressbox alarm mqtt set broker.example.org --user truck --secret truck-broker"""
MORE = """\
An alarm compares a statistic of a metric over a period with a threshold; it is raised when enough periods breach it, and cleared when all
has been well for a while, longer each time that it comes back soon. The recommended set is on from the start; whatever is changed here
holds from the next second on. docs/alarms.md has the whole, and how a receiver checks who sent a notice."""
STATISTICS = ("Average", "Minimum", "Maximum", "Sum")
COMPARISONS = ("<", "<=", ">", ">=")
MISSING = ("breaching", "ignored", "not breaching")
_FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9}


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    from appliance.commands import alarmdestinations

    alarm = command("alarm", run, "show what is wrong, set which alarms there are and who is told", EXAMPLES, MORE)
    actions = alarm.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    listed = actions.add_parser("list", help="what is raised now")
    listed.add_argument("--all", action="store_true", help="and what was cleared within the last hour")
    listed.add_argument("--json", action="store_true", help="as JSON, one line an alarm")
    rules = actions.add_parser("rules", help="every alarm that there is, the recommended ones and your own")
    rules.add_argument("--json", action="store_true", help="as JSON, one line a rule")
    actions.add_parser("metrics", help="what an alarm can look at")
    change = actions.add_parser("set", help="change an alarm")
    change.add_argument("name", help="name of the alarm")
    _add_fields(change)
    new = actions.add_parser("add", help="make an alarm of your own")
    new.add_argument("name", help="its name: 1 to 63 of a-z, 0-9 and -")
    _add_fields(new)
    for name, text in (
        ("remove", "forget an alarm of your own; a recommended one is again as it was"),
        ("off", "keep an alarm, and have it raised no more"),
        ("on", "have it raised again"),
    ):
        actions.add_parser(name, help=text).add_argument("name", help="name of the alarm")
    ack = actions.add_parser("ack", help="say that you have seen it; it stays raised")
    ack.add_argument("id", help="its id, as `pressbox alarm list` shows it, or the first letters; or `all`")
    alarmdestinations.add(actions)


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--metric", metavar="NAME", help="what is looked at; `pressbox alarm metrics` lists them")
    parser.add_argument("--statistic", choices=STATISTICS, help="of the points of a period (default: Average)")
    parser.add_argument("--comparison", choices=COMPARISONS, help="how it compares when it is wrong")
    parser.add_argument("--threshold", type=_number, metavar="NUMBER", help="with what: 1, 2.5, 300k, 4M")
    parser.add_argument("--period", dest="period_s", type=int, metavar="S", help="seconds that become one figure, 1 to 3600 (default: 10)")
    parser.add_argument("--periods", type=int, metavar="M", help="how many of them must be wrong (default: 1)")
    parser.add_argument("--of", type=int, metavar="N", help="of the last so many (default: as many as --periods)")
    parser.add_argument("--missing", choices=MISSING, help="what a period without points is")
    parser.add_argument("--severity", choices=["critical", "warning"])
    parser.add_argument(
        "--hold", dest="hold_s", type=int, metavar="S", help="how long all must be well (default: three periods, 10 s at least)"
    )
    parser.add_argument("--flows", metavar="NAME", help="of which flows: a name, or a pattern like 'truck-*' (default: all)")
    parser.add_argument("--end", metavar="NAME", help="of which source or output: a name or a pattern (default: all)")
    parser.add_argument("--text", help="what is wrong then, in a few words")
    parser.add_argument("--advice", help="what to do about it, a sentence")


def run(options: argparse.Namespace) -> int:
    from appliance.commands import alarmdestinations

    places = Places.from_environment()
    action: str = options.action
    if action == "list":
        return _list(places, options)
    if action == "rules":
        return _rules(places, as_json=options.json)
    if action == "metrics":
        return _metrics()
    if action == "ack":
        return _acknowledge(places, options.id)
    if action in ("webhook", "mqtt", "events"):
        return alarmdestinations.run(places, options)
    from appliance.alarms.change import change_settings

    change_settings(
        places, f"alarm.{action}", options.name, lambda settings: _change(settings, action, options), lambda kept: _told(kept, options.name)
    )
    print(_sentence(places, options.name))
    return OK


def _change(settings: Settings, action: str, options: argparse.Namespace) -> None:
    from firmware.alarms import recommended
    from firmware.alarms.rules import Rule
    from firmware.alarms.settings import changed, parse_rule

    name: str = options.name
    own = {rule.name: rule for rule in settings.own}
    if action != "add" and name not in own and name not in recommended.NAMES:
        raise Failure(FAILED, f"there is no alarm `{name}`; `pressbox alarm rules` lists those there are")
    if action == "off":
        settings.off = sorted({*settings.off, name})
    elif action == "on":
        settings.off = [other for other in settings.off if other != name]
    elif action == "remove":
        settings.changed.pop(name, None)
        settings.own = [rule for rule in settings.own if rule.name != name]
        settings.off = [other for other in settings.off if other != name]
    else:
        names = [field for field in Rule.__struct_fields__ if field != "name"]
        given = {field: value for field in names if (value := getattr(options, field)) is not None}
        if action == "add":
            _need(given)
            settings.own = [*settings.own, parse_rule({"name": name, **given})]
        elif not given:
            raise Failure(USAGE, "say what shall be different, as --threshold 4M; `pressbox alarm set --help` has all there is")
        elif name in own:
            settings.own = [changed(rule, given) if rule.name == name else rule for rule in settings.own]
        else:
            settings.changed[name] = settings.changed.get(name, {}) | given


def _need(given: dict[str, Any]) -> None:
    missing = [f"--{field}" for field in ("metric", "comparison", "threshold") if field not in given]
    if missing:
        raise Failure(USAGE, f"an alarm needs {', '.join(missing)} too")


def _told(settings: Settings, name: str) -> dict[str, Any] | None:
    rule = next((rule for rule in settings.every() if rule.name == name), None)
    return None if rule is None else {"on": name not in settings.off, **msgspec.to_builtins(rule)}


def _sentence(places: Places, name: str) -> str:
    from firmware.alarms.settings import read_settings

    settings = read_settings(places.state)
    rule = next((rule for rule in settings.every() if rule.name == name), None)
    if rule is None:
        return f"{name} is forgotten"
    return f"{name} is {'off' if name in settings.off else 'on'}, {rule.severity}: {rule.condition}"


def _list(places: Places, options: argparse.Namespace) -> int:
    from firmware.alarms.board import read_alarms

    board = read_alarms(places)
    alarms = board.alarms if options.all else board.active
    if options.json:
        print("".join(msgspec.json.encode(alarm).decode() + "\n" for alarm in alarms), end="")
        return OK
    if board.stale:
        print("nobody watches now; `pressbox run` does." + (f" The last look was at {_time(board.at)}." if board.at else ""))
    for alarm in alarms:
        print("\n".join(_lines(alarm)))
    if not alarms and not board.stale:
        print("nothing is wrong")
    return OK


def _lines(alarm: Alarm) -> Iterable[str]:
    seen = f"   seen by {alarm.acknowledged.by}, {_time(alarm.acknowledged.at)}" if alarm.acknowledged else ""
    word = alarm.severity if alarm.active else "cleared"
    yield f"{word:8}  {alarm.id[:8]}  {_time(alarm.since)}  {alarm.alarm}, {alarm.place}{seen}"
    yield f"          {alarm.reason}"
    if alarm.active:
        yield f"          {alarm.advice}"


def _rules(places: Places, *, as_json: bool) -> int:
    from firmware.alarms.settings import read_settings

    settings = read_settings(places.state)
    for rule in settings.every():
        on = rule.name not in settings.off
        if as_json:
            print(msgspec.json.encode({"on": on, **msgspec.to_builtins(rule)}).decode())
        else:
            origin = "changed" if rule.name in settings.changed else "own" if rule in settings.own else ""
            print(f"{'on ' if on else 'off'}  {rule.severity:8}  {rule.name:22}  {origin:7}  {rule.condition}{_where(rule)}")
    return OK


def _where(rule: Rule) -> str:
    told = [f"{word} {value}" for word, value in (("flows", rule.flows), ("end", rule.end)) if value != "*"]
    return f"; {', '.join(told)}" if told else ""


def _metrics() -> int:
    from firmware.alarms.rules import EVERY, kind_of

    for name, metric in EVERY.items():
        print(f"{name:28}  {kind_of(name):6}  {metric.unit:12}  {metric.text}")
    return OK


def _acknowledge(places: Places, alarm_id: str) -> int:
    from firmware.alarms.board import acknowledge, read_alarms
    from firmware.audit import Audit

    active = read_alarms(places).active
    fits = [alarm for alarm in active if alarm_id == "all" or (alarm_id and alarm.id.startswith(alarm_id))]
    if not fits:
        raise Failure(
            FAILED, f"no raised alarm has the id `{alarm_id}`; `pressbox alarm list` shows them" if active else "nothing is raised"
        )
    if alarm_id != "all" and len(fits) > 1:
        raise Failure(USAGE, f"{len(fits)} alarms have an id that begins with `{alarm_id}`; write more of it")
    for alarm in fits:
        Audit(places.audit).record(
            console_user(), "alarm.ack", alarm.flow or "host", role="administrator", after={"alarm": alarm.alarm, "id": alarm.id}
        )
        acknowledge(places, alarm.id, console_user())
        print(f"{alarm.alarm}, {alarm.place}: seen by {console_user()}")
    return OK


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _number(text: str) -> float:
    try:
        return float(text[:-1]) * _FACTORS[text[-1]] if text[-1:] in _FACTORS else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number; write 1, 2.5, 300k or 4M") from None
