"""Where a flow's datagrams come from. Nothing that a peer sends raises past this file and `srtsource`: it is counted and dropped."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol

from firmware.flow.admission import Allowlist
from firmware.flow.tally import Tally
from firmware.model import RtpSource, UdpSource
from firmware.net.udp import open_receiver
from firmware.status import EndStatus
from firmware.wire import rtp
from firmware.wire.seq import Unwrap
from firmware.wire.ts import is_transport_stream

BURST = 64  # datagrams read before the loop looks elsewhere
LONE_NS = 200_000  # after so long a pause one datagram has come, not several: no second look, which costs as much as the first
SILENT_NS = 1_000_000_000
WAIT_S = 0.1
LARGEST = 2048
INCUMBENT_NS = 500_000_000  # a sender that was heard this lately is not replaced by another

RESTART = -2  # in place of a number: the leg's numbers begin afresh

Arrival = tuple[int, int, bytes, int]
"""Leg, number on the leg (-1: none, RESTART), datagram, monotonic ns."""

Deliver = Callable[[int, int, bytes, int], None]


class FlowSource(Protocol):
    def readers(self) -> dict[int, Callable[[int], None]]:
        """File descriptors to watch, and what to call with `now_ns` when they can be read."""
        ...

    def status(self, now_ns: int) -> EndStatus: ...

    def close(self) -> None: ...


class DatagramSource:
    """MPEG-TS in UDP, bare or in RTP."""

    def __init__(self, spec: UdpSource | RtpSource, leg: int, deliver: Deliver, restart: Callable[[int], None]) -> None:
        self.spec = spec
        self.leg = leg
        self.tally = Tally()
        self._deliver = deliver
        self._restart = restart
        self._allowed = Allowlist(spec.allow)
        self._socket: socket.socket = open_receiver(spec.address, spec.port, spec.interface)
        self._socket.settimeout(None)  # `_read` says MSG_DONTWAIT, `wait` waits for as long as the kernel is told here
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(WAIT_S * 1e6)))
        self._is_rtp = isinstance(spec, RtpSource)
        self._ssrc: int | None = None
        self._unwrap = Unwrap(16)
        self._lowest = self._highest = 0
        self._taken = 0  # RTP packets since the numbers began
        self._lost_before = 0
        self._heard_ns = 0
        self._read_ns = 0
        self._peer: tuple[str, int] | None = None

    def readers(self) -> dict[int, Callable[[int], None]]:
        return {self._socket.fileno(): self._read}

    def wait(self) -> None:
        """Take the next datagram, or nothing within WAIT_S. For a loop with nothing else to wait for: one system call, not two."""
        try:
            datagram, peer = self._socket.recvfrom(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            self.tally.dropped += 1  # an ICMP error of an earlier datagram
            return
        self._take(datagram, peer, time.monotonic_ns())

    def _read(self, now_ns: int) -> None:
        receive, take = self._socket.recvfrom, self._take
        burst = BURST if now_ns - self._read_ns < LONE_NS else 1
        self._read_ns = now_ns
        for _ in range(burst):
            try:
                datagram, peer = receive(LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                self.tally.dropped += 1
                continue
            take(datagram, peer, now_ns)

    def _take(self, datagram: bytes, peer: tuple[str, int], now_ns: int) -> None:
        tally = self.tally
        if peer[0] not in self._allowed:
            tally.refused += 1
            return
        number = -1
        packet = None
        if self._is_rtp:
            try:
                packet = rtp.parse(datagram)
            except rtp.RtpError:
                tally.dropped += 1
                return
            datagram = packet.payload
        if not is_transport_stream(datagram):
            tally.dropped += 1
            return
        if peer != self._peer:
            if self._peer is not None and now_ns - self._heard_ns < INCUMBENT_NS:
                tally.refused += 1
                return
            self._peer = peer
        if packet is not None:
            number = self._number(packet)
        self._heard_ns = now_ns
        tally.packets += 1
        tally.bytes += len(datagram)
        self._deliver(self.leg, number, datagram, now_ns)

    def _number(self, packet: rtp.RtpPacket) -> int:
        if packet.ssrc != self._ssrc:
            self._new_sender(packet.ssrc)
        number = self._unwrap(packet.sequence)
        self._count(number)
        return number

    def _new_sender(self, ssrc: int) -> None:
        self._lost_before = self._lost()
        self._ssrc = ssrc
        self._unwrap = Unwrap(16)
        self._taken = 0
        self._restart(self.leg)

    def _count(self, number: int) -> None:
        if not self._taken:
            self._lowest = self._highest = number
        self._taken += 1
        if number > self._highest:
            self._highest = number

    def _lost(self) -> int:
        """As RFC 3550 counts in A.3: expected less received."""
        return self._lost_before + (max(0, self._highest - self._lowest + 1 - self._taken) if self._taken else 0)

    def status(self, now_ns: int) -> EndStatus:
        tally = self.tally
        tally.look(now_ns)
        return EndStatus(
            name=self.spec.name,
            protocol="rtp" if self._is_rtp else "udp",
            state="connected" if self._heard_ns and now_ns - self._heard_ns < SILENT_NS else "waiting",
            peer=f"{self._peer[0]}:{self._peer[1]}" if self._peer else "",
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            lost=self._lost(),
            dropped=tally.dropped,
            refused=tally.refused,
        )

    def close(self) -> None:
        self._socket.close()
