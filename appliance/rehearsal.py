"""A path that is cut on purpose: recorded first, then asked of the engine."""

from __future__ import annotations

from appliance.ask import Refused, ask
from appliance.locks import Lock, Locked, lock_of
from firmware.audit import Audit
from firmware.places import Places
from firmware.store import Store, UnknownFlow

WHAT = "CutOutput"


def cut(places: Places, flow: str, output: str, seconds: float, *, who: str, origin: str = "console", role: str = "") -> None:
    """AuditError: nothing was recorded, and so nothing was cut. Locked or Refused: it was not done, which is recorded, too."""
    audit, asked = Audit(places.audit), {"output": output, "seconds": seconds}
    lock = _lock_of(places, flow)
    if lock is not None:
        audit.record(who, WHAT, flow, role=role, origin=origin, after=asked, outcome="refused", why=str(lock))
        raise Locked(flow, lock)
    audit.record(who, WHAT, flow, role=role, origin=origin, after=asked)
    try:
        ask(places.control, {"op": "cut", "flow": flow, "output": output, "seconds": seconds})
    except Refused as refused:
        audit.record(who, WHAT, flow, role=role, origin=origin, after=asked, outcome="refused", why=str(refused))
        raise


def _lock_of(places: Places, flow: str) -> Lock | None:
    try:
        return lock_of(Store(places.store).get(flow))
    except UnknownFlow:  # the engine says so
        return None
