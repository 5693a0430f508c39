"""What a flow's source carries: its programmes and streams, and a picture. Both from the newest key picture that left the flow."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.api import describe
from appliance.api.operations import Known
from appliance.api.tags import TagOperations
from firmware.wire import psi, ts

HEAD_BYTES = 64 * ts.PACKET  # in which the tables are


class Inspection(TagOperations):
    def describe_flow_source_metadata(self, flow_arn: str) -> dict[str, Any]:
        known = self.find(flow_arn)
        head, at = _read(self.service.places.key_picture(known.flow.name), HEAD_BYTES)
        programmes = programmes_in(head)
        document: dict[str, Any] = {"flowArn": flow_arn, "messages": [], "transportMediaInfo": {"programs": programmes}}
        if not programmes:
            document["messages"] = [self._nothing(known)]
        return document | ({"timestamp": at} if at else {})

    def describe_flow_source_thumbnail(self, flow_arn: str) -> dict[str, Any]:
        known = self.find(flow_arn)
        details: dict[str, Any] = {"flowArn": flow_arn, "thumbnailMessages": []}
        if not known.notes.thumbnails:
            message = "thumbnails are disabled for this flow: sourceMonitoringConfig.thumbnailState"
            details["thumbnailMessages"] = [_message("THUMBNAILS_DISABLED", message, known)]
        else:
            picture, at = _read(self.service.places.preview(known.flow.name), 1 << 20)
            if picture:
                details |= {"thumbnail": base64.b64encode(picture).decode(), "timestamp": at}
            else:
                details["thumbnailMessages"] = [self._nothing(known)]
        return {"thumbnailDetails": details}

    def _nothing(self, known: Known) -> dict[str, Any]:
        state = describe.state_of(known.kept(), self.status(known))
        why = "no key picture has come yet" if state == "ACTIVE" else f"the flow is in {state}"
        return _message("NO_PICTURE", f"there is no picture: {why}", known)


def programmes_in(packets: bytes) -> list[dict[str, Any]]:
    """TransportStreamProgram of each programme whose map is in `packets`."""
    sections = {psi.PAT_PID: psi.Sections()}
    maps: dict[int, int] = {}  # programme number by PID of its map
    found = []
    for at in range(0, len(packets) - ts.PACKET + 1, ts.PACKET):
        pid = ts.pid_of(packets, at)
        for section in sections[pid].push(packets, at) if pid in sections else ():
            if not psi.crc_is_right(section):
                continue
            if pid == psi.PAT_PID and section[0] == psi.PAT:
                maps = {map_pid: number for number, map_pid in psi.programmes(section).items()}
                sections |= {map_pid: psi.Sections() for map_pid in maps if map_pid not in sections}
            elif pid in maps and section[0] == psi.PMT:
                found.append(_programme(maps.pop(pid), pid, section))
    return found


def _programme(number: int, map_pid: int, section: bytes) -> dict[str, Any]:
    pcr_pid, streams = psi.streams(section)
    listed = [{"pid": pid, "streamType": f"0x{kind:02x}", "codec": psi.KINDS.get(kind, "unknown")} for pid, kind in sorted(streams.items())]
    return {"programNumber": number, "programName": "", "programPid": map_pid, "pcrPid": pcr_pid, "streams": listed}


def _read(path: Path, most: int) -> tuple[bytes, str]:
    """Its content, and when it was written, as ISO 8601; both empty where there is none."""
    try:
        with path.open("rb") as file:
            at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            return file.read(most), f"{at:%Y-%m-%dT%H:%M:%SZ}"
    except OSError:
        return b"", ""


def _message(code: str, message: str, known: Known) -> dict[str, Any]:
    return {"code": code, "message": message, "resourceName": known.notes.name}
