"""A path that is cut on purpose: recorded first, then asked of the engine."""

from __future__ import annotations

from appliance.ask import Refused, ask
from firmware.audit import Audit
from firmware.places import Places

WHAT = "CutOutput"


def cut(places: Places, flow: str, output: str, seconds: float, *, who: str, origin: str = "console", role: str = "") -> None:
    """AuditError: nothing was recorded, and so nothing was cut. Refused: the engine did not do it, which is recorded, too."""
    audit, asked = Audit(places.audit), {"output": output, "seconds": seconds}
    audit.record(who, WHAT, flow, role=role, origin=origin, after=asked)
    try:
        ask(places.control, {"op": "cut", "flow": flow, "output": output, "seconds": seconds})
    except Refused as refused:
        audit.record(who, WHAT, flow, role=role, origin=origin, after=asked, outcome="refused", why=str(refused))
        raise
