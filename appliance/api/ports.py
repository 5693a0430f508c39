"""Which ports a flow takes on this machine, and which destinations its outputs have: no two may have the same."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.api.faults import BadRequest
from firmware import model
from firmware.model import Flow, Output, Source

AROUND = {"rtp-fec": (0, 2, 4), "rist": (0, 1)}  # FEC of columns and rows; RTCP


def ports_of(end: Source | Output) -> list[int]:
    if isinstance(end, model.Camera):
        return []
    return [end.port + more for more in AROUND.get(str(end.__struct_config__.tag), (0,))]


def listening(flow: Flow) -> list[tuple[str, int]]:
    """Who takes which UDP port of this machine."""
    ends: list[Source | Output] = [one for one in flow.sources if not isinstance(one, model.SrtCaller)]
    ends += [one for one in flow.outputs if isinstance(one, model.SrtListener)]
    return [(end.name, port) for end in ends for port in ports_of(end)]


def check_ports(flow: Flow, others: Iterable[Flow]) -> None:
    """BadRequest names the port and who has it."""
    taken: dict[int, str] = {port: f"{name} of flow {other.name}" for other in others for name, port in listening(other)}
    for name, port in listening(flow):
        if port in taken:
            around = "; rtp-fec takes the ports 2 and 4 above its own too, rist the one above"
            raise BadRequest(f"ingestPort: {port}, of {name}, is taken by {taken[port]}{around}")
        taken[port] = name
    sent: dict[tuple[str, int], str] = {}
    for output in flow.outputs:
        if not isinstance(output, model.SrtListener):
            for port in ports_of(output):
                if (output.host, port) in sent:
                    raise BadRequest(f"destination: {output.host}:{port}, of {output.name}, is that of {sent[output.host, port]} already")
                sent[output.host, port] = output.name
