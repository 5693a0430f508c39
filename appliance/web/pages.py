"""The live page: what every flow does, in words first, then in figures."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import msgspec
from flask import Blueprint, Response, abort, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from appliance import account, rehearsal, words
from appliance.ask import Refused
from appliance.capturewords import about
from appliance.locks import Locked
from appliance.metricstext import CONTENT_TYPE, exposition
from appliance.show import statuses
from appliance.verdict import worst
from appliance.web.guard import check_form
from appliance.web.watch import View, Watch
from firmware.alarms.board import read_alarms
from firmware.audit import AuditError
from firmware.model import RtpOutput, SrtListenerOutput, UdpOutput
from firmware.places import Places
from firmware.players import player_lines
from firmware.secrets import Secrets

LONGEST_CUT_S = 30
OLD_PICTURE_S = 5.0

pages = Blueprint("pages", __name__)
for written in (about, words.count, words.rate, words.milliseconds, words.duration, words.protocol, words.exposed, words.sparkline):
    pages.add_app_template_filter(written)


def watch() -> Watch:
    found: Watch = current_app.extensions["watch"]
    return found


def places() -> Places:
    return watch().places


@pages.get("/")
def live_page() -> str:
    return render_template("page.html", **_shown())


@pages.get("/live")
def live_fragment() -> str:
    return render_template("live.html", **_shown())


@pages.get("/metrics")
def metrics() -> Response:
    """For Prometheus."""
    return Response(exposition(statuses(places()), read_alarms(places()).alarms), content_type=CONTENT_TYPE)


@pages.get("/status.json")
def status_json() -> Response:
    board = read_alarms(places())
    flows = [
        {
            "name": view.name,
            "word": view.verdict.word,
            "tone": view.verdict.tone,
            "reasons": view.verdict.reasons,
            "desired": view.desired,
            "stale": view.stale,
            "age_s": round(view.age_s, 1),
            "status": view.status,
            "capture": view.capture,
            "alarms": board.of_flow(view.name),
        }
        for view in watch().views()
    ]
    told = {
        "at": time.time(),
        "problem": watch().problem,
        "flows": flows,
        "alarms": board.of_flow(""),  # of the box itself
        "alarms_watched": not board.stale,
    }
    return Response(msgspec.json.encode(told), mimetype="application/json")


@pages.get("/flows/<name>/preview.jpg")
def preview(name: str) -> Response:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        abort(404)
    try:
        return Response(places().preview(name).read_bytes(), mimetype="image/jpeg")
    except OSError:
        abort(404, "There is no picture of this flow yet.")


@pages.post("/flows/<name>/outputs/<output>/cut")
def cut(name: str, output: str) -> AnyResponse:
    """Rehearse the loss of a path."""
    check_form()
    seconds = request.form.get("seconds", "5")
    if not re.fullmatch(r"[0-9]{1,3}", seconds, re.ASCII) or not 1 <= int(seconds) <= LONGEST_CUT_S:
        abort(400, f"A cut lasts 1 to {LONGEST_CUT_S} seconds.")
    view = watch().view(name)
    if view is None or view.status is None or all(end.name != output for end in view.status.outputs):
        abort(404, f"There is no output {output} of a flow {name} here.")
    if view.lock is None and not view.may_cut(output):
        abort(409, f"No other output of {name} carries the picture now; a cut of {output} would take it off air.")
    try:
        rehearsal.cut(places(), name, output, int(seconds), who="page", origin=request.remote_addr or "")
    except Locked as locked:
        abort(409, f"{locked}. Nothing is cut while it is.")
    except Refused as refused:
        abort(502, str(refused))
    except AuditError as error:
        abort(503, f"Nothing was cut, because it cannot be recorded: {error}")
    watch().note_cut(name, output, int(seconds))
    return redirect(url_for("pages.live_page", _anchor=f"flow-{name}"), 303)


def _shown() -> dict[str, Any]:
    views = watch().views()
    tone = worst(view.verdict.tone for view in views)
    loudest = next((view.verdict.word for view in views if view.verdict.tone == tone), "NO FLOWS")
    return {
        "views": views,
        "problem": watch().problem,
        "box": socket.gethostname(),
        "loudest": loudest,
        "tone": tone,
        "now": time.time(),
        "picture_age_s": _picture_age_s,
        "played_with": _played_with,
        "old_picture_s": OLD_PICTURE_S,
        "account": account,
        "board": read_alarms(places()),
        "clock": account.clock,
    }


def _picture_age_s(flow: str) -> float | None:
    try:
        return max(0.0, time.time() - places().preview(flow).stat().st_mtime)
    except OSError:
        return None


def _played_with(view: View, output: str) -> dict[str, str]:
    """The lines that play this output, where a player can simply be pointed at it."""
    found = next((end for end in view.flow.outputs if end.name == output), None) if view.flow else None
    if not isinstance(found, SrtListenerOutput | RtpOutput | UdpOutput):
        return {}
    secret = getattr(found, "secret", "")
    return player_lines(found, Secrets(places().secrets).path(secret) if secret else None)
