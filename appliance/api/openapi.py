"""The API in OpenAPI's words, made of what the server itself goes by: the table of operations, the shapes of requests and of answers.

`GET /openapi.json` serves it unsigned: it holds nothing of this host. Members that MediaConnect has and a local flow has not are not among
the properties (no object takes others) and are listed by name in `x-not-available`, with why.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from appliance.api.answers import ANSWERS
from appliance.api.bodies import BODIES
from appliance.api.ends import ANY_PROTOCOL, NEEDED, OUTPUT_MEMBERS, SOURCE_MEMBERS
from appliance.api.roles import least_role
from appliance.api.shapes import NOT_HERE, PROTOCOLS, Shape
from appliance.api.table import BETWEEN_HOSTS, ROWS, Row

PATH = "/openapi.json"
QUOTAS = {"CreateFlow", "AddFlowOutputs", "GrantFlowEntitlements"}
KINDS = {"FlowArn": "flow", "SourceArn": "source", "OutputArn": "output", "EntitlementArn": "entitlement"}
REFUSALS = {
    "400": ("Refused", "BadRequestException: a member is wrong; the message begins with its name and says what is allowed."),
    "403": (
        "NotAllowed",
        "Not signed right (MissingAuthenticationToken…, IncompleteSignature…, InvalidSignature…, UnrecognizedClientException), not allowed "
        "to the key's role (AccessDeniedException), or the flow is locked (ForbiddenException).",
    ),
    "404": ("Unknown", "NotFoundException: there is no such flow, source, output, entitlement or tagged resource."),
    "420": ("OverQuota", "CreateFlow420Exception, AddFlowOutputs420Exception, GrantFlowEntitlements420Exception: as many as may be."),
    "429": ("TooMany", "TooManyRequestsException: asked too often, or the very same signed change again; ask a moment later."),
    "501": ("NotHere", "NotImplementedException: no operation of a local flow."),
    "503": ("Busy", "ServiceUnavailableException: for a moment; nothing was changed."),
}
SIGNED = {
    "type": "apiKey",
    "name": "Authorization",
    "in": "header",
    "x-amazon-apigateway-authtype": "awsSigv4",
    "description": "AWS Signature Version 4, service `mediaconnect`, any region, in the Authorization header; the keys are this box's own.",
}
ABOUT = (
    "The flows of a host, by the API of AWS Elemental MediaConnect as of 2018-11-14: the AWS CLI and SDKs drive it with `--endpoint-url`. "
    "null is as if the member were not there."
)


@cache
def encoded() -> bytes:
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for row in (*ROWS, *BETWEEN_HOSTS):
        paths.setdefault(re.sub(r"<(\w+)>", r"{\1}", row.path), {})[row.method.lower()] = _operation(row)
    paths[PATH] = {"get": _itself()}
    refusals = {name: _refusal(text) for name, text in REFUSALS.values()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pressbox: flows", "version": _version(), "description": ABOUT, "x-not-available": NOT_HERE},
        "servers": [{"url": "/"}],
        "security": [{"sigv4": []}],
        "paths": paths,
        "components": {"securitySchemes": {"sigv4": SIGNED}, "responses": refusals, "schemas": _schemas()},
    }


def _operation(row: Row) -> dict[str, Any]:
    labels = re.findall(r"<(\w+)>", row.path)
    told: dict[str, Any] = {
        "operationId": row.operation,
        "description": _about(row),
        "parameters": [_label(label) for label in labels] + _query(row.operation),
        "responses": _responses(row, bool(labels)),
    }
    if row.operation in BODIES:
        told["requestBody"] = {"required": not row.operation.startswith("Update"), "content": _json(_reference(BODIES[row.operation]))}
    return {name: value for name, value in told.items() if value != []}


def _about(row: Row) -> str:
    role = f"Least role: {least_role(row.operation)}."
    if row.does == "-":
        return f"Not available on a local flow: answers 501. {role}"
    if row.operation == "UpdateFlowEntitlement":
        return f"{role} Subscribers and encryption are the administrator's."
    return f"Always empty on a local flow. {role}" if row.does.startswith("empty") else role


def _label(label: str) -> dict[str, Any]:
    kind = KINDS.get(label, "(flow|source|output|entitlement)" if label == "ResourceArn" else "")
    pattern = rf"^arn:[^:/]+:mediaconnect[^:/]*:[^:/]*:[^:/]*:{kind}:[^:/]+:[^:/]+$" if kind else r"^[^/]+$"
    return {"name": label, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query(operation: str) -> list[dict[str, Any]]:
    if operation == "ListFlows":
        page = {"type": "integer", "minimum": 1, "maximum": 1000}
        return [
            {"name": "maxResults", "in": "query", "schema": page},
            {"name": "nextToken", "in": "query", "schema": {"type": "string", "description": "that of the page before"}},
        ]
    if operation == "UntagResource":
        keys = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        return [{"name": "tagKeys", "in": "query", "required": True, "style": "form", "explode": True, "schema": keys}]
    return []


def _responses(row: Row, names_something: bool) -> dict[str, Any]:
    here = row.does != "-"
    told: dict[str, Any] = {}
    if here:
        status = row.does if row.does.isdecimal() else "200"
        told[status] = {"description": "Done.", "headers": _headers()} | _content(row)
    refusals = ["400", "403", "429", "501"]
    if here:
        refusals += ["503"] + ["404"] * names_something + ["420"] * (row.operation in QUOTAS)
    return told | {status: {"$ref": f"#/components/responses/{REFUSALS[status][0]}"} for status in sorted(refusals)}


def _content(row: Row) -> dict[str, Any]:
    if row.operation in ANSWERS:
        return {"content": _json(_reference(ANSWERS[row.operation]))}
    kind, _, empty = row.does.partition(" ")
    if kind != "empty":
        return {}
    nothing = {"type": "array", "maxItems": 0}
    return {"content": _json({"type": "object", "properties": {empty: nothing}, "required": [empty], "additionalProperties": False})}


def _refusal(text: str) -> dict[str, Any]:
    error = {"description": "the error's type", "required": True, "schema": {"type": "string", "pattern": "Exception$"}}
    return {
        "description": text,
        "headers": _headers() | {"x-amzn-ErrorType": error},
        "content": _json({"$ref": "#/components/schemas/Error"}),
    }


def _headers() -> dict[str, Any]:
    return {"x-amzn-RequestId": {"required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}}


def _itself() -> dict[str, Any]:
    answer = {"description": "This description.", "content": _json({"type": "object"})}
    return {"operationId": "DescribeApi", "security": [], "responses": {"200": answer}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reference(shape: type[Shape]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _schemas() -> dict[str, Any]:
    shapes = [*BODIES.values(), *ANSWERS.values()]
    _, schemas = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    for name, members in (("SetSource", SOURCE_MEMBERS), ("UpdateSource", SOURCE_MEMBERS)):
        _only_ours(schemas[name], members)
    for name, members in (("AddOutput", OUTPUT_MEMBERS), ("UpdateOutput", OUTPUT_MEMBERS)):
        _only_ours(schemas[name], members)
    error = {"type": "object", "properties": {"message": {"type": "string", "minLength": 1}}, "required": ["message"]}
    return schemas | {"Error": error | {"additionalProperties": False}}


def _only_ours(schema: dict[str, Any], members: dict[str, set[str]]) -> None:
    """The protocols of a local flow, the values that it can honour, and which members each protocol takes."""
    properties = schema["properties"]
    properties["protocol"] = {"anyOf": [{"enum": list(PROTOCOLS)}, {"type": "null"}], "default": None}
    properties["routerIntegrationState"] = {"enum": ["DISABLED", None], "default": None}
    for protocol, own in members.items():
        needed, more = sorted(own & NEEDED), sorted(own - NEEDED)
        lines = schema.setdefault("description", "Which members a protocol takes, beside those of all:")
        schema["description"] = f"{lines}\n- {protocol}: {', '.join(needed)}" + (f"; may have {', '.join(more)}" if more else "")
    unheard = properties.keys() - ANY_PROTOCOL.union(*members.values())
    for member in unheard - {"entitlementArn"}:
        del properties[member]


def _version() -> str:
    try:
        return version("pressbox")
    except PackageNotFoundError:  # a checkout
        return "0"
