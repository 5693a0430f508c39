"""Where a flow's stream goes. Each output loses only its own datagrams, counts them, and never makes the others wait."""

from __future__ import annotations

import errno
import ipaddress
import os
import struct
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol

from firmware.capture.lane import Path
from firmware.flow.batch import Batch
from firmware.flow.tally import Tally
from firmware.model import Output, RtpFecOutput, RtpOutput, Source, UdpOutput
from firmware.net.srtp import Seal
from firmware.net.udp import Sender, is_ours, open_sender
from firmware.secrets import parse_srtp_key
from firmware.status import EndStatus
from firmware.wire.fec import COLUMN, ROW
from firmware.wire.fecencoder import FecEncoder

UNHEARD_NS = 2_000_000_000
RETRY_S = 2.0
CANNOT_CUT_UP = (errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP)  # else: the path, not the kernel
FEW = 4  # datagrams that are not worth a send with segmentation offload
CLEAR = "in the clear"


class FlowOutput(Protocol):
    wants_rtp: bool
    """True: `send` is given RTP packets, numbered once for all such outputs (ST 2022-7), else bare MPEG-TS."""
    seal: Seal | None
    """What makes SRTP of RTP packets."""

    @property
    def spec(self) -> Source | Output: ...

    @property
    def far_address(self) -> str:
        """The IP address that it sends to; "" while there is none."""
        ...

    def send(self, batch: Batch, now_ns: int) -> None: ...

    def tick(self, now_ns: int) -> None:
        """Ten times a second: whatever is not sending."""

    def network_changed(self) -> None:
        """A link or an address of this machine is not what it was."""

    def rekey(self, current: str, former: str) -> bool:
        """Go on with another value of its secret; the former one is good for a while yet. False: it has to be opened anew for that."""
        ...

    def path(self, now_ns: int) -> Path | None:
        """What it tells of its way, for the video's bitrate; None where it has no vote."""
        ...

    def cut(self, until_ns: int) -> None:
        """Behave until then as if the path were cut."""

    def status(self, now_ns: int) -> EndStatus: ...

    def close(self) -> None: ...


class DatagramOutput:
    """MPEG-TS in UDP, bare, in RTP or in SRTP.

    Looking up a name waits for a name server, and the loop must not: `in_background` looks it up in a thread, until it is found.
    """

    beyond: tuple[int, ...] = (0,)
    """What is added to the port, for each of its sockets."""

    def __init__(self, spec: UdpOutput | RtpOutput, seal: Seal | None = None, *, in_background: bool = False) -> None:
        self.spec: UdpOutput | RtpOutput = spec
        self.wants_rtp = isinstance(spec, RtpOutput)
        self.seal = seal
        self.reseal: Callable[[bytes], Seal] | None = None
        """Makes the seal of another key; without it there is no other key to take."""
        self.tally = Tally()
        self._unheard_ns = 0  # when the far end's machine last said that nobody listens
        self._cut_until_ns = 0
        self._sockets: list[Sender] = []
        self._message = ""
        self._cuts_up = True  # until the kernel, or the interface, says no
        self._closing = threading.Event()
        if in_background and not is_address(spec.host):
            self._look_up()
        else:
            self._sockets = self._open()

    def _open(self) -> list[Sender]:
        spec = self.spec
        opened: list[Sender] = []
        try:
            for beyond in self.beyond:
                way = open_sender(
                    spec.host,
                    spec.port + beyond,
                    bind_address=spec.bind_address,
                    bind_device=spec.bind_device,
                    ttl=spec.ttl,
                    dscp=spec.dscp,
                    private=spec.clear or self.seal is not None,
                )
                opened.append(way)
        except OSError:
            _close(opened)
            raise
        return opened

    def _look_up(self) -> None:
        threading.Thread(target=self._open_when_found, name=f"name of {self.spec.name}", daemon=True).start()

    def _open_when_found(self) -> None:
        while not self._closing.is_set():
            try:
                self._sockets = self._open()
                self._message = ""
                self._cuts_up = True  # it may be another interface
                return
            except OSError as error:
                self._message = str(error)
            self._closing.wait(RETRY_S)

    def send(self, batch: Batch, now_ns: int) -> None:
        if now_ns < self._cut_until_ns or not self._sockets:
            self.tally.dropped += len(batch)
            return
        if self.seal is not None:
            given, batch = len(batch), batch.sealed(self.seal)
            self.tally.dropped += given - len(batch)
        self._put(self._sockets[0], batch, now_ns)

    def _put(self, way: Sender, batch: Batch, now_ns: int) -> None:
        if self._cuts_up and len(batch) >= FEW:
            self._put_runs(way, batch, now_ns)
            return
        send, tally = way.send_one if way.cut_bytes else way.send, self.tally
        for datagram in batch:
            try:
                tally.bytes += send(datagram)
                tally.packets += 1
            except ConnectionRefusedError:  # about an earlier one; this one was not sent
                self._unheard_ns = now_ns
                self._again(send, datagram, 1)
            except OSError:
                tally.dropped += 1

    def _put_runs(self, way: Sender, batch: Batch, now_ns: int) -> None:
        send, tally = way.send_cut_up, self.tally
        for run in batch.runs():
            try:
                tally.bytes += send(run.data, run.size)
                tally.packets += run.count
            except ConnectionRefusedError:
                self._unheard_ns = now_ns
                self._again(partial(send, size=run.size), run.data, run.count)
            except BlockingIOError:
                tally.dropped += run.count
            except OSError as error:
                self._cuts_up = error.errno not in CANNOT_CUT_UP
                for begin in range(0, len(run.data), run.size):
                    self._again(way.send_one, run.data[begin : begin + run.size], 1)

    def _again(self, send: Callable[[bytes], int], data: bytes, count: int) -> None:
        try:
            self.tally.bytes += send(data)
            self.tally.packets += count
        except OSError:
            self.tally.dropped += count

    def tick(self, now_ns: int) -> None:
        pass

    def path(self, now_ns: int) -> Path | None:
        return None

    def network_changed(self) -> None:
        """Where the address that it sends from is gone, open anew, from the one that is there now."""
        if not self._sockets or is_ours(self._sockets[0].getsockname()[0]):
            return
        _close(self._sockets)
        self._sockets = []
        self._look_up()

    def rekey(self, current: str, former: str) -> bool:
        """In place, for from another port it would be another sender. The receiver takes both keys by then."""
        if self.reseal is None:
            return False
        self.seal = self.reseal(parse_srtp_key(current))
        return True

    @property
    def far_address(self) -> str:
        return str(self._sockets[0].getpeername()[0]) if self._sockets else ""

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
            protocol=str(self.spec.__struct_config__.tag),
            state="off" if now_ns < self._cut_until_ns else "connected" if self._sockets else "failed" if message else "connecting",
            message=message,
            peer=f"{self.spec.host}:{self.spec.port}",
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=tally.dropped,
            encryption=CLEAR if self.seal is None else "SRTP, AES-256-GCM",
        )

    def close(self) -> None:
        self._closing.set()
        _close(self._sockets)


class FecOutput(DatagramOutput):
    """RTP with ST 2022-1 FEC; as SRTP with a key, FEC and all."""

    beyond = (0, COLUMN, ROW)

    def __init__(self, spec: RtpFecOutput, seal: Seal | None = None, fec_key: bytes | None = None, *, in_background: bool = False) -> None:
        self._matrix = f"{spec.columns}x{spec.rows}"
        # Two streams of numbers under one key need an SSRC each (RFC 3711, 9.1)
        self._ssrc = int.from_bytes(os.urandom(4), "big") & ~1
        self._encoder = FecEncoder(spec.columns, spec.rows, self._ssrc, row_fec=spec.row_fec, aligned=spec.aligned)
        self._row_ssrc = struct.pack("!I", self._ssrc | 1)
        self._fec_seal = Seal(fec_key, self._ssrc, 0) if fec_key else None
        super().__init__(spec, seal, in_background=in_background)

    def send(self, batch: Batch, now_ns: int) -> None:
        push = self._encoder.push
        made = [fec for packet in batch for fec in push(packet)]
        super().send(batch, now_ns)
        if made and self._sockets and now_ns >= self._cut_until_ns:
            _, columns, rows = self._sockets
            self._put_fec(columns, [packet for stream, packet in made if stream == COLUMN], now_ns)
            self._put_fec(rows, [packet[:8] + self._row_ssrc + packet[12:] for stream, packet in made if stream == ROW], now_ns)

    def rekey(self, current: str, former: str) -> bool:
        if self._fec_seal is not None:
            self._fec_seal = Seal(parse_srtp_key(current), self._ssrc, 0)
        return super().rekey(current, former)

    def _put_fec(self, way: Sender, packets: list[bytes], now_ns: int) -> None:
        if packets:
            batch = Batch(packets)
            self._put(way, batch if self._fec_seal is None else batch.sealed(self._fec_seal), now_ns)

    def status(self, now_ns: int) -> EndStatus:
        status = super().status(now_ns)
        status.fec_matrix = self._matrix
        return status


def _close(sockets: list[Sender]) -> None:
    for opened in sockets:
        opened.close()


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
