"""Where a flow's stream goes. Each output loses only its own datagrams, counts them, and never makes the others wait."""

from __future__ import annotations

import socket
from typing import Protocol

from firmware.flow.tally import Tally
from firmware.model import RtpOutput, UdpOutput
from firmware.net.udp import open_sender
from firmware.status import EndStatus

UNHEARD_NS = 2_000_000_000


class FlowOutput(Protocol):
    wants_rtp: bool
    """True: `send` is given RTP packets, numbered once for all such outputs (ST 2022-7), else bare MPEG-TS."""

    def send(self, datagrams: list[bytes], now_ns: int) -> None: ...

    def tick(self, now_ns: int) -> None:
        """Ten times a second: whatever is not sending."""

    def cut(self, until_ns: int) -> None:
        """Behave until then as if the path were cut."""

    def status(self, now_ns: int) -> EndStatus: ...

    def close(self) -> None: ...


class DatagramOutput:
    """MPEG-TS in UDP, bare or in RTP."""

    def __init__(self, spec: UdpOutput | RtpOutput) -> None:
        self.spec = spec
        self.wants_rtp = isinstance(spec, RtpOutput)
        self.tally = Tally()
        self._unheard_ns = 0  # when the far end's machine last said that nobody listens
        self._cut_until_ns = 0
        self._socket: socket.socket = open_sender(
            spec.host, spec.port, bind_address=spec.bind_address, bind_device=spec.bind_device, ttl=spec.ttl
        )
        self._send = self._socket.send

    def send(self, datagrams: list[bytes], now_ns: int) -> None:
        if now_ns < self._cut_until_ns:
            self.tally.dropped += len(datagrams)
            return
        send, tally = self._send, self.tally
        for datagram in datagrams:
            try:
                tally.bytes += send(datagram)
                tally.packets += 1
            except ConnectionRefusedError:  # about an earlier one; this one was not sent
                self._unheard_ns = now_ns
                self._again(datagram)
            except OSError:
                tally.dropped += 1

    def _again(self, datagram: bytes) -> None:
        try:
            self.tally.bytes += self._send(datagram)
            self.tally.packets += 1
        except OSError:
            self.tally.dropped += 1

    def tick(self, now_ns: int) -> None:
        pass

    def cut(self, until_ns: int) -> None:
        self._cut_until_ns = until_ns

    def status(self, now_ns: int) -> EndStatus:
        tally = self.tally
        tally.look(now_ns)
        message = ""
        if now_ns < self._cut_until_ns:
            message = "cut on purpose"
        elif self._unheard_ns and now_ns - self._unheard_ns < UNHEARD_NS:
            message = "nobody listens there"
        return EndStatus(
            name=self.spec.name,
            protocol="rtp" if self.wants_rtp else "udp",
            state="off" if now_ns < self._cut_until_ns else "connected",
            message=message,
            peer=f"{self.spec.host}:{self.spec.port}",
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=tally.dropped,
        )

    def close(self) -> None:
        self._socket.close()
