"""From what an end should be to one that runs. One that cannot be opened stands there as `Unopened` and is tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from firmware.capture.lane import Path
from firmware.flow.batch import Batch
from firmware.flow.fan import Fan
from firmware.flow.outputs import DatagramOutput, FecOutput, FlowOutput
from firmware.flow.sources import Arrival, DatagramSource, Deliver, FlowSource
from firmware.model import (
    Camera,
    Output,
    RistOutput,
    RistSource,
    RtpFecOutput,
    RtpOutput,
    RtpSource,
    Source,
    SrtListenerOutput,
    SrtListenerSource,
    UdpOutput,
    UdpSource,
)
from firmware.net.srtp import Seal
from firmware.secrets import parse_srtp_key
from firmware.status import EndStatus

CANNOT_OPEN = (OSError, ValueError)  # UdpError and SrtError are OSErrors


class Unopened:
    """An end that could not be opened, and why. It takes what it is given and does nothing with it."""

    wants_rtp = False
    seal: Seal | None = None
    far_address = ""
    repair_ns = 0

    def __init__(self, spec: Source | Output, error: Exception) -> None:
        self.spec = spec
        self.error = error

    def readers(self) -> dict[int, Callable[[int], None]]:
        return {}

    def send(self, batch: Batch, now_ns: int) -> None:
        return

    def path(self, now_ns: int) -> Path | None:
        return None

    def network_changed(self) -> None:
        return

    def tick(self, now_ns: int) -> None:
        return

    def rekey(self, current: str, former: str) -> bool:
        return False

    def cut(self, until_ns: int) -> None:
        return

    def status(self, now_ns: int) -> EndStatus:
        return EndStatus(name=self.spec.name, protocol=str(self.spec.__struct_config__.tag), state="failed", message=str(self.error))

    def close(self) -> None:
        return


def open_source(
    spec: Source,
    leg: int,
    secret: str,
    deliver: Deliver,
    restart: Callable[[int], None],
    inbox: deque[Arrival],
    wake: Callable[[int], None],
) -> FlowSource:
    """Of anything but a camera. Datagrams are delivered by the loop; SRT and RIST bring theirs to the inbox, and load their library."""
    if isinstance(spec, UdpSource | RtpSource):
        return DatagramSource(spec, leg, deliver, restart, parse_srtp_key(secret) if getattr(spec, "secret", "") else None)
    if isinstance(spec, RistSource):
        from firmware.flow.rist import RistLeg

        return RistLeg(spec, leg, secret, inbox, wake)
    from firmware.flow.srtsource import SrtCallerLeg, SrtListenerLeg

    assert not isinstance(spec, Camera)  # noqa: S101 - for the type checker
    if isinstance(spec, SrtListenerSource):
        return SrtListenerLeg(spec, leg, secret, inbox, wake)
    return SrtCallerLeg(spec, leg, secret, inbox, wake)


def open_output(spec: Output, secret: str, fan: Fan, *, in_background: bool) -> FlowOutput:
    if isinstance(spec, UdpOutput):
        return DatagramOutput(spec, in_background=in_background)
    if isinstance(spec, RtpOutput):
        key = parse_srtp_key(secret) if spec.secret else None
        seal = fan.seal(key) if key else None
        if isinstance(spec, RtpFecOutput):
            output: DatagramOutput = FecOutput(spec, seal, key, in_background=in_background)
        else:
            output = DatagramOutput(spec, seal, in_background=in_background)
        output.reseal = fan.seal
        return output
    if isinstance(spec, RistOutput):
        from firmware.flow.rist import RistSend

        return RistSend(spec, secret)
    from firmware.flow.srtoutput import SrtCaller, SrtListener

    return SrtListener(spec, secret) if isinstance(spec, SrtListenerOutput) else SrtCaller(spec, secret)
