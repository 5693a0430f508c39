"""From what an end should be to one that runs. One that cannot be opened stands there as `Unopened` and is tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from firmware.flow.outputs import DatagramOutput, FlowOutput
from firmware.flow.recover import Recover
from firmware.flow.sources import Arrival, DatagramSource, FlowSource
from firmware.model import (
    Output,
    RtpOutput,
    RtpSource,
    Source,
    SrtCallerSource,
    SrtListenerOutput,
    SrtListenerSource,
    UdpOutput,
    UdpSource,
)
from firmware.status import EndStatus

CANNOT_OPEN = (OSError, ValueError)  # UdpError and SrtError are OSErrors


class Unopened:
    """An end that could not be opened, and why. It takes what it is given and does nothing with it."""

    wants_rtp = False

    def __init__(self, spec: Source | Output, error: Exception) -> None:
        self.spec = spec
        self.error = error

    def readers(self) -> dict[int, Callable[[int], None]]:
        return {}

    def send(self, datagrams: list[bytes], now_ns: int) -> None:
        return

    def tick(self, now_ns: int) -> None:
        return

    def cut(self, until_ns: int) -> None:
        return

    def status(self, now_ns: int) -> EndStatus:
        return EndStatus(name=self.spec.name, protocol=str(self.spec.__struct_config__.tag), state="failed", message=str(self.error))

    def close(self) -> None:
        return


def open_source(
    spec: SrtListenerSource | SrtCallerSource | UdpSource | RtpSource,
    leg: int,
    passphrase: str,
    recover: Recover,
    inbox: deque[Arrival],
    wake: Callable[[int], None],
) -> FlowSource:
    """libsrt is loaded by the first end that needs it."""
    if isinstance(spec, UdpSource | RtpSource):
        return DatagramSource(spec, leg, recover.push, recover.restart)
    from firmware.flow.srtsource import SrtCallerLeg, SrtListenerLeg

    if isinstance(spec, SrtListenerSource):
        return SrtListenerLeg(spec, leg, passphrase, inbox, wake)
    return SrtCallerLeg(spec, leg, passphrase, inbox, wake)


def open_output(spec: Output, passphrase: str, *, in_background: bool) -> FlowOutput:
    if isinstance(spec, UdpOutput | RtpOutput):
        return DatagramOutput(spec, in_background=in_background)
    from firmware.flow.srtoutput import SrtCaller, SrtListener

    return SrtListener(spec, passphrase) if isinstance(spec, SrtListenerOutput) else SrtCaller(spec, passphrase)
