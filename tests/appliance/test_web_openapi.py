"""What the pages tell programs is described, and as described."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import schemathesis
from flask.testing import FlaskClient

from appliance.web import create_app
from appliance.web.openapi import document
from firmware.places import Places

from .boxes import on_air, received

FOR_PEOPLE = {
    *("/", "/live", "/flows/{name}/metrics", "/static/{filename}"),
    *("/lights", "/lights/live", "/lights.css", "/lights/identify"),
}
DOCUMENT = document()


def schema_of(path: str, status: int = 200) -> dict[str, Any]:
    content = DOCUMENT["paths"][path]["get"]["responses"][str(status)]["content"]
    return {**content["application/json"]["schema"], "components": DOCUMENT["components"]}


def test_every_route_for_programs_is_described_and_nothing_else(places: Places) -> None:
    rules = create_app(places).url_map.iter_rules()
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower()) for rule in rules for method in rule.methods & {"GET", "POST"}
    }
    described = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}
    assert {route for route in routes if route[0] not in FOR_PEOPLE} == described


def test_it_is_openapi_and_served(client: FlaskClient) -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    assert client.get("/openapi.json").get_json() == DOCUMENT


def test_status_and_figures_are_as_described(client: FlaskClient, places: Places) -> None:
    on_air(places)
    received(places)
    status = client.get("/status.json").get_json()
    assert len(status["flows"]) == 2
    jsonschema_rs.validate(schema_of("/status.json"), status)
    figures = client.get(f"/flows/{status['flows'][0]['name']}/metrics.json")
    jsonschema_rs.validate(schema_of("/flows/{name}/metrics.json"), figures.get_json())
    jsonschema_rs.validate(schema_of("/flows/{name}/metrics.json", 404), client.get("/flows/nowhere/metrics.json").get_json())
    assert client.get("/metrics").content_type.partition(";")[0] in DOCUMENT["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
