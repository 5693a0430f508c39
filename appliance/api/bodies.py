"""Which operations take a body, and its shape."""

from __future__ import annotations

from appliance.api import shapes

BODIES: dict[str, type[shapes.Shape]] = {
    "CreateFlow": shapes.CreateFlow,
    "UpdateFlow": shapes.UpdateFlow,
    "AddFlowSources": shapes.AddSources,
    "UpdateFlowSource": shapes.UpdateSource,
    "AddFlowOutputs": shapes.AddOutputs,
    "UpdateFlowOutput": shapes.UpdateOutput,
    "GrantFlowEntitlements": shapes.Grant,
    "UpdateFlowEntitlement": shapes.UpdateEntitlement,
    "TagResource": shapes.Tagging,
}
