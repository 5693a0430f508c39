"""Where a flow's datagrams come from. Nothing that a peer sends raises past this file and `srtsource`: it is counted and dropped."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from firmware.flow.admission import Allowlist
from firmware.flow.rtpstream import RtpStream
from firmware.flow.tally import Tally
from firmware.model import RtpFecSource, RtpSource, UdpSource
from firmware.net.portfilter import Door
from firmware.net.udp import open_receiver
from firmware.secrets import parse_srtp_key
from firmware.status import EndStatus
from firmware.wire import rtp
from firmware.wire.fec import COLUMN, ROW
from firmware.wire.ts import is_transport_stream

CHUNK = 256  # media taken in a row before their FEC: half of what its decoder remembers
BURST = 64  # datagrams read before the loop looks elsewhere
FLOOD = 4096  # datagrams: 50 ms of 860 Mb/s
LONE_NS = 200_000  # after so long a pause one datagram has come, not several: no second look, which costs as much as the first
SILENT_NS = 1_000_000_000
WAIT_S = 0.1
LARGEST = 2048
INCUMBENT_NS = 500_000_000  # a sender that was heard this lately is not replaced by another

RESTART = -2  # in place of a number: the leg's numbers begin afresh

Arrival = tuple[int, int, bytes, int]
"""Leg, number on the leg (-1: none, RESTART), datagram, monotonic ns."""


class Deliver(Protocol):
    def __call__(self, leg: int, number: int, datagram: bytes, now_ns: int, rebuilt: bool = False) -> None: ...


class FlowSource(Protocol):
    @property
    def repair_ns(self) -> int:
        """How long after its own time a datagram may still be repaired by FEC; 0 without FEC."""
        ...

    def readers(self) -> dict[int, Callable[[int], None]]:
        """File descriptors to watch, and what to call with `now_ns` when they can be read."""
        ...

    def network_changed(self) -> None:
        """A link or an address of this machine is not what it was."""

    def rekey(self, current: str, former: str) -> bool:
        """Take what comes by another value of its secret, and by the former one. False: it has to be opened anew for that."""
        ...

    def status(self, now_ns: int) -> EndStatus: ...

    def close(self) -> None: ...


class DatagramSource:
    """MPEG-TS in UDP: bare, in RTP, in SRTP, with FEC."""

    def __init__(
        self, spec: UdpSource | RtpSource, leg: int, deliver: Deliver, restart: Callable[[int], None], key: bytes | None = None
    ) -> None:
        self.spec = spec
        self.leg = leg
        self.tally = Tally()
        self._deliver = deliver
        self._restart = restart
        self._allowed = Allowlist(spec.allow)
        fec = isinstance(spec, RtpFecSource)
        self._stream = RtpStream(key, fec=fec) if isinstance(spec, RtpSource) else None
        self._encrypted = key is not None
        self._sockets: list[socket.socket] = []
        for beyond in (0, COLUMN, ROW) if fec else (0,):
            self._sockets.append(self._open(spec.port + beyond))
        self._door = Door(self._sockets, spec.allow)
        self._fec_packets = 0
        self._heard_ns = 0
        self._read_ns = 0
        self._peer: tuple[str, int] | None = None

    def _open(self, port: int) -> socket.socket:
        try:
            opened = open_receiver(self.spec.address, port, self.spec.interface)
        except OSError:
            self.close()
            raise
        opened.settimeout(None)  # `_read` says MSG_DONTWAIT, `wait` waits for as long as the kernel is told here
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(WAIT_S * 1e6)))
        return opened

    def readers(self) -> dict[int, Callable[[int], None]]:
        media, *fec = self._sockets
        readers: dict[int, Callable[[int], None]] = {media.fileno(): self._read}
        readers |= {opened.fileno(): partial(self._read_fec, port) for port, opened in enumerate(fec, 1)}
        return readers

    def rekey(self, current: str, former: str) -> bool:
        if self._stream is not None:
            self._stream.rekey([parse_srtp_key(secret) for secret in (current, former) if secret])
        return True

    def tick(self, now_ns: int) -> None:
        """Ten times a second: often enough to notice that a sender is gone, and to hear others again."""
        if self._door.sender is not None and now_ns - self._heard_ns >= INCUMBENT_NS:
            self._door.open()

    @property
    def lone(self) -> bool:
        """True when all that it brings comes by one socket."""
        return len(self._sockets) == 1

    @property
    def repair_ns(self) -> int:
        return self._stream.repair_ns if self._stream is not None else 0

    def wait(self) -> int:
        """Take the next datagram, or nothing within WAIT_S. For a loop with nothing else to wait for: one system call, not two.

        The time at which that ended."""
        try:
            datagram, peer = self._sockets[0].recvfrom(LARGEST)
        except BlockingIOError:
            return time.monotonic_ns()
        except OSError:
            self.tally.dropped += 1  # an ICMP error of an earlier datagram
            return time.monotonic_ns()
        now_ns = time.monotonic_ns()
        self._take(datagram, peer, now_ns)
        return now_ns

    def drain(self, now_ns: int) -> None:
        """Take what lies in the sockets; under a flood not all of it, for the loop has more to do."""
        for _ in range(FLOOD // CHUNK):
            empty = self._read_some(CHUNK, now_ns)
            matrix = self._stream.decoder.matrix if self._stream and self._stream.decoder else None
            for port in range(1, len(self._sockets)):  # FEC of so many media and no more: it is of use only beside them
                self._read_fec(port, now_ns, CHUNK // matrix[-port] if matrix else BURST)
            if empty:
                return

    def _read(self, now_ns: int) -> None:
        burst = BURST if now_ns - self._read_ns < LONE_NS else 1
        self._read_ns = now_ns
        self._read_some(burst, now_ns)

    def _read_some(self, most: int, now_ns: int) -> bool:
        """True when nothing is left."""
        receive, take = self._sockets[0].recvfrom, self._take
        for _ in range(most):
            try:
                datagram, peer = receive(LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except OSError:
                self.tally.dropped += 1
                continue
            take(datagram, peer, now_ns)
        return False

    def _read_fec(self, port: int, now_ns: int, most: int = BURST) -> None:
        receive = self._sockets[port].recvfrom
        for _ in range(most):  # after a stall it is needed before the media that it repairs are due
            try:
                datagram, peer = receive(LARGEST, socket.MSG_DONTWAIT)
            except OSError:
                return
            self._take_fec(port, datagram, peer, now_ns)

    def _take(self, datagram: bytes, peer: tuple[str, int], now_ns: int) -> None:
        tally = self.tally
        if peer != self._peer and not self._may_take_over(peer, now_ns):
            tally.refused += 1
            return
        if self._stream is not None:
            self._take_rtp(self._stream, datagram, peer, now_ns)
        elif is_transport_stream(datagram):
            self._heard(peer, datagram, now_ns)
            self._deliver(self.leg, -1, datagram, now_ns)
        else:
            tally.dropped += 1

    def _may_take_over(self, peer: tuple[str, int], now_ns: int) -> bool:
        return peer[0] in self._allowed and (self._peer is None or now_ns - self._heard_ns >= INCUMBENT_NS)

    def _take_rtp(self, stream: RtpStream, datagram: bytes, peer: tuple[str, int], now_ns: int) -> None:
        clear = stream.open(datagram, 0, now_ns)
        if clear is None:
            self.tally.refused += 1
            return
        try:
            packet = rtp.parse(clear)
        except rtp.RtpError:
            self.tally.dropped += 1
            return
        if not is_transport_stream(packet.payload):
            self.tally.dropped += 1
            return
        self._heard(peer, packet.payload, now_ns)
        if stream.begins(packet):
            self._restart(self.leg)
        number = stream.number(packet, now_ns)
        self._deliver(self.leg, number, packet.payload, now_ns)
        for repaired in stream.beside(number, clear, now_ns):
            self._deliver(self.leg, repaired.number, repaired.payload, repaired.at_ns, True)

    def _heard(self, peer: tuple[str, int], datagram: bytes, now_ns: int) -> None:
        if peer != self._door.sender:
            self._door.hold(peer)
        self._peer = peer
        self._heard_ns = now_ns
        self.tally.packets += 1
        self.tally.bytes += len(datagram)

    def _take_fec(self, port: int, datagram: bytes, peer: tuple[str, int], now_ns: int) -> None:
        """FEC counts only beside media, and from the same machine."""
        stream = self._stream
        if stream is None or self._peer is None or peer[0] != self._peer[0] or peer[0] not in self._allowed:
            self.tally.refused += 1
            return
        clear = stream.open(datagram, port, now_ns)
        if clear is None:
            self.tally.refused += 1
            return
        self._fec_packets += 1
        for repaired in stream.fec(clear, now_ns):
            self._deliver(self.leg, repaired.number, repaired.payload, repaired.at_ns, True)

    def network_changed(self) -> None:
        """It listens on an address, whatever the link does."""

    def status(self, now_ns: int) -> EndStatus:
        tally, stream = self.tally, self._stream
        tally.look(now_ns)
        status = EndStatus(
            name=self.spec.name,
            protocol=str(self.spec.__struct_config__.tag),
            state="connected" if self._heard_ns and now_ns - self._heard_ns < SILENT_NS else "waiting",
            peer=f"{self._peer[0]}:{self._peer[1]}" if self._peer else "",
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=tally.dropped,
            refused=tally.refused + self._door.dropped,
            encryption="SRTP, AES-256-GCM" if self._encrypted else "in the clear",
        )
        if stream is not None:
            status.lost = stream.lost
            if stream.decoder is not None:
                status.fec_packets = self._fec_packets
                status.fec_repaired = stream.repaired - stream.decoder.needless
                status.dropped += stream.decoder.malformed
                if stream.decoder.matrix:
                    status.fec_matrix = "x".join(map(str, stream.decoder.matrix))
        return status

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()
