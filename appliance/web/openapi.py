"""What the pages answer to programs, in OpenAPI's words. Pages for people are not in it."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from flask import Blueprint, Response

from appliance.metricstext import CONTENT_TYPE
from appliance.web.figures import RANGES
from appliance.web.plots import MOST_CHOSEN, NAME
from firmware.alarms.board import Alarm
from firmware.status import CaptureStatus, FlowStatus

PATH = "/openapi.json"
ABOUT = "What this box tells programs of its flows. It answers to localhost and 127.0.0.1 alone; flows are changed over the API, not here."
WINDOW = "Unix time; `since` and `until` go together. With `range`, `since` asks for what came after it."

described = Blueprint("described", __name__)


@described.get(PATH)
def openapi() -> Response:
    return Response(_encoded(), mimetype="application/json")


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components([FlowStatus, CaptureStatus, Alarm], ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pressbox: pages", "version": "1", "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [],
        "paths": {
            "/status.json": {"get": _reads("Status", "What every flow does, in a word and in figures.", _json(_status()))},
            "/metrics": {"get": _reads("Metrics", "For Prometheus.", {CONTENT_TYPE.partition(";")[0]: {"schema": {"type": "string"}}})},
            "/flows/{name}/metrics.json": {"get": _figures()},
            "/flows/{name}/preview.jpg": {"get": _preview()},
            "/flows/{name}/outputs/{output}/cut": {"post": _cut()},
            PATH: {"get": _reads("Description", "This description.", _json({"type": "object"}))},
        },
        "components": {"schemas": schemas},
    }


def _reads(name: str, about: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "responses": {"200": {"description": about, "content": content}, **_refusals("400")}}


def _status() -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "number"}
    alarms = {"type": "array", "items": {"$ref": "#/components/schemas/Alarm"}}
    flow = _object(
        name=text,
        word=text | {"description": "LIVE and the like, as the page shows it"},
        tone=text,
        reasons={"type": "array", "items": text},
        desired={"enum": ["ACTIVE", "STANDBY", ""], "description": "empty: of a flow that is not a stored one"},
        stale={"type": "boolean", "description": "its worker no longer says anything"},
        age_s=number,
        status=_or_null("FlowStatus"),
        capture=_or_null("CaptureStatus"),
        alarms=alarms,
    )
    watched = {"type": "boolean", "description": "whether anything looks for alarms now"}
    return _object(at=number, problem=text, flows={"type": "array", "items": flow}, alarms=alarms, alarms_watched=watched)


def _figures() -> dict[str, Any]:
    text, whole, numbers = {"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": ["number", "null"]}}
    line = _object(plot=text, key=text, label=text, metric=text, statistic={"enum": ["Sum", "Average"]}, values=numbers)
    line["properties"] |= {"least": numbers, "most": numbers}
    counts = {"type": "array", "items": whole}
    fault = _object(key=text, metric=text, at=counts, counts=counts)
    alarm = _object(id=text, severity=text, words=text, since={"type": "number"}, until={"type": ["number", "null"]})
    alarm["properties"]["acknowledged"] = {"type": "boolean"}
    told = _object(
        flow=text,
        range=text,
        since=whole,
        until=whole,
        period_s=whole,
        word=text,
        tone=text,
        lines={"type": "array", "items": line},
        faults={"type": "array", "items": fault},
        alarms={"type": "array", "items": alarm},
    )
    outputs = {"type": "array", "items": text, "maxItems": MOST_CHOSEN}
    query = [
        {"name": "range", "in": "query", "schema": {"enum": list(RANGES)}},
        {"name": "since", "in": "query", "schema": whole, "description": WINDOW},
        {"name": "until", "in": "query", "schema": whole, "description": WINDOW},
        {"name": "output", "in": "query", "style": "form", "explode": True, "schema": outputs},
    ]
    answers = {"200": {"description": "What was recorded of the flow.", "content": _json(told)}}
    said = {"description": "The message says what is wrong.", "content": _json(_object(message=text))}
    wrong = {status: said for status in ("404", "503")} | _refusals("400")
    return {"operationId": "FlowMetrics", "parameters": [_label("name"), *query], "responses": answers | wrong}


def _preview() -> dict[str, Any]:
    picture = {"description": "The newest picture.", "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
    return {"operationId": "Preview", "parameters": [_label("name")], "responses": {"200": picture, **_refusals("400", "404")}}


def _cut() -> dict[str, Any]:
    form = _object(token={"type": "string", "description": "of the page that holds the form"})
    form["properties"]["seconds"] = {"type": "integer", "minimum": 1, "maximum": 30, "default": 5}
    return {
        "operationId": "Cut",
        "description": "Rehearse the loss of a path. For the form of the page: it takes a token that only the page has.",
        "parameters": [_label("name"), _label("output")],
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {"303": {"description": "It is cut; back to the page."}, **_refusals("400", "403", "404", "409", "502", "503")},
    }


def _label(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{NAME.pattern}$"}}


def _refusals(*statuses: str) -> dict[str, Any]:
    """As pages for people."""
    return {status: {"description": "Refused; the page says why."} for status in statuses}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _or_null(name: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": f"#/components/schemas/{name}"}, {"type": "null"}]}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
