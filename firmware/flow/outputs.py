"""Where a flow's stream goes. Each output loses only its own datagrams, counts them, and never makes the others wait."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Protocol

from firmware.flow.tally import Tally
from firmware.model import RtpOutput, UdpOutput
from firmware.net.udp import open_sender
from firmware.status import EndStatus

UNHEARD_NS = 2_000_000_000
RETRY_S = 2.0


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
    """MPEG-TS in UDP, bare or in RTP.

    Looking up a name waits for a name server, and the loop must not: `in_background` looks it up in a thread, until it is found.
    """

    def __init__(self, spec: UdpOutput | RtpOutput, *, in_background: bool = False) -> None:
        self.spec = spec
        self.wants_rtp = isinstance(spec, RtpOutput)
        self.tally = Tally()
        self._unheard_ns = 0  # when the far end's machine last said that nobody listens
        self._cut_until_ns = 0
        self._socket: socket.socket | None = None
        self._message = ""
        self._closing = threading.Event()
        if in_background and not _is_address(spec.host):
            threading.Thread(target=self._open_when_found, name=f"name of {spec.name}", daemon=True).start()
        else:
            self._socket = self._open()

    def _open(self) -> socket.socket:
        spec = self.spec
        return open_sender(spec.host, spec.port, bind_address=spec.bind_address, bind_device=spec.bind_device, ttl=spec.ttl)

    def _open_when_found(self) -> None:
        while not self._closing.is_set():
            try:
                self._socket = self._open()
                self._message = ""
                return
            except OSError as error:
                self._message = str(error)
            self._closing.wait(RETRY_S)

    def send(self, datagrams: list[bytes], now_ns: int) -> None:
        if now_ns < self._cut_until_ns or self._socket is None:
            self.tally.dropped += len(datagrams)
            return
        send, tally = self._socket.send, self.tally
        for datagram in datagrams:
            try:
                tally.bytes += send(datagram)
                tally.packets += 1
            except ConnectionRefusedError:  # about an earlier one; this one was not sent
                self._unheard_ns = now_ns
                self._again(self._socket, datagram)
            except OSError:
                tally.dropped += 1

    def _again(self, way: socket.socket, datagram: bytes) -> None:
        try:
            self.tally.bytes += way.send(datagram)
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
        message = self._message
        if now_ns < self._cut_until_ns:
            message = "cut on purpose"
        elif self._unheard_ns and now_ns - self._unheard_ns < UNHEARD_NS:
            message = "nobody listens there"
        return EndStatus(
            name=self.spec.name,
            protocol="rtp" if self.wants_rtp else "udp",
            state="off" if now_ns < self._cut_until_ns else "connected" if self._socket else "failed" if message else "connecting",
            message=message,
            peer=f"{self.spec.host}:{self.spec.port}",
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=tally.dropped,
        )

    def close(self) -> None:
        self._closing.set()
        if self._socket is not None:
            self._socket.close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
