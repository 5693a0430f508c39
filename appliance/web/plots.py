"""The metrics page: what was recorded of a flow, as figures in tables and as plots over time."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Blueprint, Response, abort, current_app, render_template, request

from appliance import account, words
from appliance.web.figures import LONGEST_S, RANGES, Book, Drawn, Figures, Plot, Unit, Window, last, window
from appliance.web.watch import Watch
from firmware.alarms.board import Alarm, read_alarms
from firmware.metrics.measure import TR_101_290
from firmware.wire.checks import CHECKS

DEFAULT_RANGE = "5m"
MOST_CHOSEN = 6
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SECOND = re.compile(r"[0-9]{1,11}", re.ASCII)
FIELDS = ("range", "since", "until", "output")
FAULT_WORDS = {
    name: (f"{CHECKS[checks[0]].number[:3]} {name}", "; or ".join(CHECKS[check].words for check in checks))
    for name, checks in TR_101_290.items()
}

plots = Blueprint("plots", __name__)


class Wrong(ValueError):
    """A question that cannot be answered, and the status that says whose fault that is."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Question:
    flow: str
    range: str  # empty: a window of its own
    window: Window
    chosen: tuple[str, ...]
    ends: list[tuple[str, str]]
    now_s: float
    whole: Window  # of the range, where only what is new is asked for


@plots.get("/flows/<name>/metrics")
def metrics_page(name: str) -> str:
    try:
        asked, found = _answer(name)
    except Wrong as wrong:
        abort(wrong.status, str(wrong))
    by_plot: dict[Plot, list[Drawn]] = {}
    for drawn in found.lines:
        if drawn.told:
            by_plot.setdefault(drawn.line.plot, []).append(drawn)
    return render_template(
        "metrics.html",
        asked=asked,
        found=found,
        shown=list(by_plot.items()),
        ranges=RANGES,
        box=socket.gethostname(),
        view=_watch().view(name),
        summary=summary,
        said=said,
        faults=fault_rows(found),
        colours=_colours(found),
        clock=account.clock,
        alarms=[alarm for alarm in alarms_of(name) if alarm.active],
        fault_words=FAULT_WORDS,
        period=_words(found.window.period_s),
        most_chosen=MOST_CHOSEN,
    )


@plots.get("/flows/<name>/metrics.json")
def metrics_json(name: str) -> Response:
    try:
        asked, found = _answer(name)
    except Wrong as wrong:
        return Response(msgspec.json.encode({"message": str(wrong)}), status=wrong.status, mimetype="application/json")
    return Response(msgspec.json.encode(_told(asked, found)), mimetype="application/json")


def _watch() -> Watch:
    found: Watch = current_app.extensions["watch"]
    return found


def _book() -> Book:
    found: Book = current_app.extensions["book"]
    return found


def _answer(name: str) -> tuple[Question, Figures]:
    try:
        asked = _asked(name)
        return asked, _book().figures(name, asked.window, asked.ends, asked.chosen, asked.now_s)
    except OSError as error:
        raise Wrong(f"What was recorded cannot be read: {error.strerror}.", 503) from None


def _asked(name: str) -> Question:
    if not NAME.fullmatch(name) or (_watch().view(name) is None and name not in _book().flows()):
        raise Wrong(f"flow: there is no flow {words.shortened(name)} here.", 404)
    given = request.args
    for field in given:
        if field not in FIELDS:
            raise Wrong(f"{words.shortened(field)}: unknown; allowed are {', '.join(FIELDS)}.")
        if field != "output" and len(given.getlist(field)) > 1:
            raise Wrong(f"{field}: write it once.")
    range_, now_s = given.get("range"), time.time()
    since, until = _second("since"), _second("until")
    if until is not None:
        if range_ is not None:
            raise Wrong("until: not together with range; write since and until, or range.")
        whole = asked = _window(since, until, now_s)
    else:
        range_ = DEFAULT_RANGE if range_ is None else range_
        if range_ not in RANGES:
            raise Wrong(f"range: `{words.shortened(range_)}` is unknown; allowed are {', '.join(RANGES)}.")
        whole = asked = last(RANGES[range_], now_s)
        if since is not None:
            since -= since % whole.period_s
            asked = whole._replace(since=min(max(since, whole.since), whole.until))
    ends = _book().ends(name, whole)
    return Question(name, range_ or "", asked, _chosen(name, ends), ends, now_s, whole)


def _second(field: str) -> int | None:
    text = request.args.get(field)
    if text is None:
        return None
    if not SECOND.fullmatch(text):
        raise Wrong(f"{field}: `{words.shortened(text)}` is no time; write whole seconds of Unix time.")
    return int(text)


def _window(since: int | None, until: int, now_s: float) -> Window:
    if since is None:
        raise Wrong("since: missing; until needs it.")
    if not 1 <= until - since <= LONGEST_S:
        raise Wrong(f"until: write 1 to {LONGEST_S} seconds more than since.")
    return window(since, until, now_s)


def _chosen(flow: str, ends: list[tuple[str, str]]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(request.args.getlist("output")))
    outputs = [name for kind, name in ends if kind == "output"]
    for name in chosen:
        if name not in outputs:
            known = ", ".join(outputs) or "none in that time"
            raise Wrong(f"output: `{words.shortened(name)}` is no output of {flow}; allowed are {known}.")
    if len(chosen) > MOST_CHOSEN:
        raise Wrong(f"output: {len(chosen)} are chosen; allowed are {MOST_CHOSEN} at once.")
    return chosen


def _told(asked: Question, found: Figures) -> dict[str, Any]:
    view = _watch().view(asked.flow)
    return {
        "flow": asked.flow,
        "range": asked.range,
        "since": found.window.since,
        "until": found.window.until,
        "period_s": found.window.period_s,
        "word": view.verdict.word if view else "",
        "tone": view.verdict.tone if view else "idle",
        "lines": [
            {
                "plot": drawn.line.plot.name,
                "key": drawn.line.key,
                "label": drawn.line.label,
                "metric": drawn.line.metric,
                "statistic": "Sum" if drawn.line.counts else "Average",
                "values": drawn.values,
                **({"least": drawn.least, "most": drawn.most} if drawn.least else {}),
            }
            for drawn in found.lines
        ],
        "faults": [
            {"key": fault.key, "metric": fault.metric, "at": list(counts), "counts": list(counts.values())}
            for fault, counts in found.faults
        ],
        "alarms": [
            {
                "id": alarm.id,
                "severity": alarm.severity,
                "words": f"{alarm.place}: {alarm.reason}",
                "since": alarm.raised_at,
                "until": None if alarm.active else alarm.since,
                "acknowledged": alarm.acknowledged is not None,
            }
            for alarm in alarms_of(asked.flow)
            if alarm.flow
        ],
    }


def alarms_of(flow: str) -> list[Alarm]:
    """Of this flow, its ends and this box: raised ones and those that were cleared lately."""
    return [alarm for alarm in read_alarms(_watch().places).alarms if alarm.flow in (flow, "") and alarm.raised_at]


def summary(drawn: Drawn) -> dict[str, float | None]:
    """Last, least, most, average of the points; the total of counts."""
    told = [value for value in drawn.values if value is not None]
    if not told:
        return {"last": None, "min": None, "max": None, "average": None, "total": None}
    return {
        "last": drawn.values[-1],
        "min": min(value for value in drawn.least or told if value is not None),
        "max": max(value for value in drawn.most or told if value is not None),
        "average": sum(told) / len(told),
        "total": sum(told) if drawn.line.counts else None,
    }


def said(value: float | None, unit: Unit) -> str:
    if value is None:
        return "–"
    if unit == "b/s":
        return words.rate(value)
    if unit == "ms":
        return words.milliseconds(value)
    return words.percent(value) if unit == "%" else words.number(value)


def fault_rows(found: Figures) -> tuple[list[str], list[tuple[str, list[int | None]]]]:
    """Who was watched, and how often each fault was seen there."""
    keys = list(dict.fromkeys(fault.key for fault, _ in found.faults))
    counts = {(fault.key, fault.metric.removeprefix("Source")): sum(times.values()) for fault, times in found.faults}
    return keys, [(name, [counts.get((key, name)) for key in keys]) for name in TR_101_290] if keys else []


def _colours(found: Figures) -> dict[str, str]:
    """A colour and a stroke for each end, the same in all plots of its side."""
    keys = list(dict.fromkeys(drawn.line.key for drawn in found.lines))
    sources, outputs = ([key for key in keys if key.startswith(side)] for side in ("sources/", "outputs/"))
    return {"flow": "flow", "outputs": "all"} | {key: str(place) for side in (sources, outputs) for place, key in enumerate(side)}


def _words(period_s: int) -> str:
    return f"{period_s // 60} min" if period_s >= 60 else f"{period_s} s"
