"""What the lamps are told, from what the workers tell: snapshots and findings in, a `BoxState` out. No file and no clock here.

A snapshot that is old says nothing: its flow's lamps then wink, and SYS says why. ON AIR never goes further than the far end's own word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from appliance.lights import Air, BoxState, Doing, Fault, In, Path
from firmware.model import Camera, Flow
from firmware.status import CaptureStatus, EndStatus, FlowStatus
from hw.network import Network
from hw.strain import Finding

JUST_NOW_S = 10.0  # how long a loss keeps a path at "repairing"
PATIENCE_S = 10.0  # a camera may take so long to give its first picture, and a flow to say its first word
CONNECTED: tuple[Path, ...] = ("clean", "repairing")
_OF_FINDING: dict[str, Fault] = {
    "under-voltage": "power",
    "hot": "hot",
    "slowed": "hot",
    "disk": "storage",
    "disk-read-only": "storage",
    "wear": "storage",
}


@dataclass(frozen=True)
class Told:
    """What is known of the flow that the lamps show."""

    name: str = ""
    flow: Flow | None = None  # its definition
    wanted: bool = False  # it should run
    status: FlowStatus | None = None  # None where it tells nothing, or nothing new
    silent_s: float = 0.0  # how long it should have told something
    gone: bool = False  # the worker that told it last
    capture: CaptureStatus | None = None  # the same
    was_live: bool = False  # the camera's picture was out since the flow started
    strained: frozenset[str] = frozenset()  # ends that lost or repaired something within `JUST_NOW_S`


@dataclass(frozen=True)
class Known:
    """All that the state is made of."""

    told: Told = field(default_factory=Told)
    doing: Doing = "running"
    engine_silent_s: float = 0.0
    network: Network = field(default_factory=Network)
    login: bool = False  # the network wants one
    findings: tuple[Finding, ...] = ()
    alarms: tuple[str, ...] = ()  # raised now, in words
    seen: frozenset[Fault] = frozenset()  # faults that somebody acknowledged


def box_state(known: Known, *, identify: bool = False, dark: bool = False, dark_keeps_on_air: bool = True) -> BoxState:
    every = faults(known)
    return BoxState(
        doing=known.doing,
        faults=tuple(fault for fault in every if fault not in known.seen),
        notices=bool(known.alarms or known.seen.intersection(every) or _other(known.findings)),
        camera=camera_state(known.told),
        paths=path_states(known.told),
        air=air_state(known.told),
        identify=identify,
        dark=dark,
        dark_keeps_on_air=dark_keeps_on_air,
    )


def runs(told: Told) -> bool:
    return told.wanted or (told.status is not None and told.status.state not in ("STANDBY", "STOPPING"))


def camera_state(told: Told) -> In:
    if not runs(told):
        return "unused"
    status, capture = told.status, told.capture
    if status is None:
        return "unknown"
    if status.picture != "live":
        return "lost" if told.was_live and status.state == "ACTIVE" else "looking"
    if capture is None:
        return "unknown"
    if capture.picture in ("black", "frozen") or capture.sound == "silent" or (capture.sound == "none" and _wants_sound(told.flow)):
        return "part"
    return "good"


def _wants_sound(flow: Flow | None) -> bool:
    sources: Sequence[object] = flow.sources if flow else ()
    return any(isinstance(source, Camera) and source.sound.startswith("alsa:") for source in sources)


def path_states(told: Told) -> tuple[Path, Path]:
    ends = path_ends(told)
    first, second = (path_state(told, name, end) for name, end in (*ends, ("", None), ("", None))[:2])
    return first, second


def path_ends(told: Told) -> list[tuple[str, EndStatus | None]]:
    """The two first outputs, in the order of the definition, so that A stays A when it is switched off."""
    known = {end.name: end for end in told.status.outputs} if told.status else {}
    names = [(output.name, output.enabled) for output in told.flow.outputs] if told.flow else [(name, True) for name in known]
    return [(name if enabled else "", known.get(name) if enabled else None) for name, enabled in names[:2]]


def path_state(told: Told, name: str, end: EndStatus | None) -> Path:
    if not name or not runs(told):
        return "unused"
    if told.status is None:
        return "unknown"
    if end is None or told.status.state != "ACTIVE":
        return "down" if told.status.state == "ERROR" else "connecting"
    carried = end.packets > 0
    if end.state == "connected" and end.confirmed is not False:
        return "repairing" if name in told.strained else "clean"
    if end.state == "failed" or carried:
        return "down"
    return "connecting"


def air_state(told: Told) -> Air:
    if not runs(told):
        return "off"
    status = told.status
    if status is None:
        return "unknown"
    if status.state == "ERROR":
        return "lost"
    if status.state != "ACTIVE":
        return "sent"
    ends = [end for _, end in path_ends(told) if end is not None]
    paths = [path for path in path_states(told) if path != "unused"]
    if any(end.state == "connected" and end.confirmed for end in ends):
        whole = status.picture == "live" and all(path in CONNECTED for path in paths)
        return "confirmed" if whole else "at-risk"
    if any(path in CONNECTED for path in paths):
        return "sent"
    return "lost" if "down" in paths else "sent"


def faults(known: Known) -> list[Fault]:
    told, network = known.told, known.network
    carried = any(path in CONNECTED for path in path_states(told))
    found: list[Fault] = [_OF_FINDING[one.kind] for one in known.findings if one.kind in _OF_FINDING]
    if not carried:  # a network that carries the picture is no fault
        found += ["link"] if not network.link else ["login"] if known.login else ["way-out"] if not network.way_out else []
    if any(end.state == "failed" and end.protocol.startswith("srt") for _, end in path_ends(told) if end is not None) and runs(told):
        found.append("refused")
    if no_camera(told):
        found.append("camera")
    silent = known.engine_silent_s > PATIENCE_S or (told.wanted and told.silent_s > PATIENCE_S)
    if silent or (told.status is not None and told.status.state == "ERROR"):
        found.append("box")
    return list(dict.fromkeys(found))


def no_camera(told: Told) -> bool:
    status = told.status
    if status is None or status.state != "ACTIVE" or status.picture in ("live", None):
        return False
    patient = status.at - status.started_at < PATIENCE_S
    return told.was_live or not patient or (told.capture is not None and not told.capture.present)


def _other(findings: Iterable[Finding]) -> bool:
    """Of what has no number of its own."""
    return any(one.kind not in _OF_FINDING and one.severity != "note" for one in findings)
