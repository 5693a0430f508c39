"""The REST API: MediaConnect's operations over the flows of this host. `aws mediaconnect --endpoint-url …` and boto3 drive it unchanged."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from appliance.api import openapi, shapes
from appliance.api.accesskeys import AccessKeys
from appliance.api.bodies import BODIES
from appliance.api.faults import BadRequest, Fault, NotImplementedHere, Unavailable
from appliance.api.inspection import Inspection
from appliance.api.operations import Quotas
from appliance.api.peering import Peering
from appliance.api.rates import Rates
from appliance.api.record import Record
from appliance.api.replays import Replays
from appliance.api.sigv4 import Denied, HttpRequest, Verifier
from appliance.api.table import BETWEEN_HOSTS, ROWS, Row
from appliance.service import Service
from firmware.audit import Audit
from firmware.places import Places
from firmware.store import StoreError

LONGEST_BODY = 256 << 10

log = logging.getLogger("pressbox.api")


@dataclass(frozen=True, slots=True)
class Backing:
    """What requests are served from."""

    service: Service
    peering: Peering
    verifier: Verifier
    audit: Audit
    quotas: Quotas
    rates: Rates


def create_api(places: Places, rates: Rates | None = None) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=LONGEST_BODY, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.url_map.merge_slashes = False
    verifier = Verifier(AccessKeys(places.access_keys), Replays(places.run / "api-signatures"))
    rates = rates or Rates(float(os.environ.get("PRESSBOX_API_RATE", "1")))
    service = Service(places, patient=True)
    peering = app.extensions["peering"] = Peering(service)
    backing = Backing(service, peering, verifier, Audit(places.audit), Quotas.from_environment(), rates)
    for row in (*ROWS, *BETWEEN_HOSTS):
        app.add_url_rule(row.path, row.operation, _view(row, backing), methods=[row.method], provide_automatic_options=False)
    app.add_url_rule(openapi.PATH, "DescribeApi", _described, methods=["GET"], provide_automatic_options=False)
    app.register_error_handler(Fault, _refused)
    app.register_error_handler(HTTPException, _unknown)
    app.register_error_handler(StoreError, lambda error: _refused(Unavailable(str(error))))
    app.register_error_handler(Exception, _failed)
    return app


def _view(row: Row, backing: Backing) -> Callable[..., Response]:
    def view(**labels: str) -> Response:
        body = request.get_data()
        record = Record(backing.audit, row, labels, request.remote_addr or "")
        try:
            caller = backing.verifier.check(_on_the_wire(body))
            record.by(caller)
            backing.rates.take(caller.key_id, row.operation, time.monotonic())
            given = _given(row, body)
            caller.authorize(row.operation, shapes.members_given(given))
            operations = Inspection(backing.service, backing.peering, backing.quotas, record, caller)
            return _answer(row, _result(row, operations, labels, given), operations.warnings)
        except Fault as fault:
            record.refused(fault)
            raise

    view.__name__ = row.operation
    return view


def _described() -> Response:
    """Unsigned: it holds nothing of this host."""
    return _response(200, openapi.encoded())


def _on_the_wire(body: bytes) -> HttpRequest:
    path, _, query = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path).partition("?")
    return HttpRequest(request.method, path, query, list(request.headers.items()), body, request.remote_addr or "")


def _given(row: Row, body: bytes) -> shapes.Shape | None:
    shape = BODIES.get(row.operation)
    if shape is not None:
        return shapes.parse(body, shape)
    if body and row.does.isdecimal():
        shapes.parse(body, shapes.Nothing)
    return None


def _result(row: Row, operations: Inspection, labels: dict[str, str], given: shapes.Shape | None) -> dict[str, Any] | None:
    if row.does == "-":
        raise NotImplementedHere(f"{row.operation} is not available on a local flow")
    kind, _, empty = row.does.partition(" ")
    if kind == "empty":
        return {empty: []}
    operation: Callable[..., dict[str, Any] | None] = getattr(operations, _snake(row.operation))
    if row.operation == "ListFlows":
        return operation(request.args.get("maxResults"), request.args.get("nextToken"))
    if row.operation == "UntagResource":
        return operation(*labels.values(), request.args.getlist("tagKeys"))
    return operation(*labels.values(), *([given] if given is not None else []))


def _answer(row: Row, result: dict[str, Any] | None, warnings: list[str]) -> Response:
    """No shape of MediaConnect's has a place for a warning."""
    status = int(row.does) if row.does.isdecimal() else 200
    more = {"x-pressbox-warning": "; ".join(warnings)} if warnings else {}
    return _response(status, b"" if result is None else msgspec.json.encode(result), **more)


def _response(status: int, body: bytes, **headers: str) -> Response:
    response = Response(body, status=status, mimetype="application/json")
    response.headers["x-amzn-RequestId"] = secrets.token_hex(16)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.update(headers)
    return response


def _refused(fault: Fault) -> Response:
    more: dict[str, str] = {}
    if isinstance(fault, Denied) and fault.retry_after_s:
        more = {"Retry-After": str(fault.retry_after_s), "x-amz-retry-after": str(fault.retry_after_s * 1000)}
    return _response(fault.status, msgspec.json.encode({"message": str(fault)}), **{"x-amzn-ErrorType": fault.kind, **more})


def _unknown(error: HTTPException) -> Response:
    if error.code == 413:
        return _refused(BadRequest(f"the body: more than {LONGEST_BODY >> 10} KiB"))
    return _refused(NotImplementedHere(f"{request.method} {request.path[:200]} is not an operation of a local flow"))


def _failed(error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.endpoint)
    body = msgspec.json.encode({"message": "an error of this server; its log says more"})
    return _response(500, body, **{"x-amzn-ErrorType": "InternalServerErrorException"})


def _snake(operation: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
