"""Answers held to the API's own description of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema_rs

from appliance.api import openapi

DOCUMENT = openapi.document()
OPERATIONS = {told["operationId"]: told for path in DOCUMENT["paths"].values() for told in path.values()}


def check(operation: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """AssertionError where the description does not know such an answer."""
    responses = OPERATIONS[operation]["responses"]
    assert str(status) in responses, f"{operation} answers {status}, which is not described: {body[:500]!r}"
    response = _resolved(responses[str(status)])
    for name, header in response.get("headers", {}).items():
        assert name in headers, f"{operation} answers {status} without {name}"
        validator = jsonschema_rs.validator_for(header["schema"])
        assert validator.is_valid(headers[name]), f"{name}: {headers[name]}"
    content = response.get("content")
    if content is None:
        assert not body, f"{operation} answers {status} with a body: {body[:500]!r}"
        return
    wrong = [f"{error.instance_path}: {error.message}" for error in _validator(operation, status).iter_errors(json.loads(body))]
    assert not wrong, f"{operation} answers {status} with what is not described: {wrong}"


@cache
def _validator(operation: str, status: int) -> Any:
    schema = _resolved(OPERATIONS[operation]["responses"][str(status)])["content"]["application/json"]["schema"]
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    return DOCUMENT["components"]["responses"][reference.rpartition("/")[2]] if reference else part
