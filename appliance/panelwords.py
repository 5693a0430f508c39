"""Why the lamps show what they show, in sentences."""

from __future__ import annotations

from appliance.boxstate import CONNECTED, Known, faults, path_ends, path_states, runs
from appliance.lights import TABLE

MOST_ALARMS = 4


def why(known: Known) -> list[str]:
    told = known.told
    said = [_sentence(TABLE["sys"][fault].words) for fault in faults(known)]
    said += [finding.words for finding in known.findings]
    said += [f"Alarm {alarm}." for alarm in known.alarms[:MOST_ALARMS]]
    said += [f"And {len(known.alarms) - MOST_ALARMS} more, as `pressbox alarm list` tells."] if len(known.alarms) > MOST_ALARMS else []
    if not told.name:
        return [*said, "No flow of this box has a camera."]
    if not runs(told):
        return [*said, f"Flow {told.name} stands by."]
    if told.status is None:
        return [
            *said,
            f"The worker of flow {told.name} is gone." if told.gone else f"Flow {told.name} has told nothing for {told.silent_s:.0f} s.",
        ]
    said += [_stopped(f"{told.name}: {told.status.message}")] if told.status.message else []
    said += [_stopped(f"The camera: {told.capture.message}")] if told.capture and told.capture.message else []
    for (name, end), state in zip(path_ends(told), path_states(told), strict=False):
        if end is not None and (end.message or state not in CONNECTED):
            said.append(_stopped(f"{name}: {end.message or end.state}"))
        elif end is not None and end.confirmed is None and end.state == "connected":
            said.append(f"{name}: {end.protocol} cannot tell whether it arrives.")
    return list(dict.fromkeys(said))


def _sentence(text: str) -> str:
    return _stopped(text[:1].upper() + text[1:])


def _stopped(text: str) -> str:
    """With a full stop; what begins with a name begins as that is written."""
    text = text.strip()
    return text + ("" if text.endswith((".", "!", "?")) else ".")
