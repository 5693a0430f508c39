"""SRT legs: libsrt waits for each in a thread of its own, and the loop takes what came from one inbox."""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Literal

from firmware.flow.admission import Allowlist
from firmware.flow.passphrases import BY_FORMER, Passphrases
from firmware.flow.sources import INCUMBENT_NS, RESTART, Arrival
from firmware.flow.tally import Tally
from firmware.model import Srt, SrtCallerSource, SrtListenerSource
from firmware.net import srt
from firmware.net.udp import is_ours
from firmware.status import EndStatus
from firmware.wire.seq import Unwrap
from firmware.wire.ts import is_transport_stream

REDIAL_S = 0.25
LONGEST_REFUSAL_S = 30.0
HELD = -5  # so many refusals are forgiven after a connection was lost, or nobody answered
DEAD_NS = 5_000_000_000  # a connection that brings no transport stream for so long is as good as none
CONFLICT, FORBIDDEN = 1409, 1403
REJ_UNKNOWN, REJ_TIMEOUT = 0, 16

Wake = Callable[[int], None]


class Dead(srt.SrtBroken):
    """Connected, and nothing comes."""


class SrtLeg(ABC):
    """One connection after another, read into the inbox. Subclasses say how a connection comes about."""

    repair_ns = 0
    protocol: ClassVar[str]
    unconnected: Literal["waiting", "connecting", "failed"]

    def __init__(self, spec: SrtListenerSource | SrtCallerSource, leg: int, passphrase: str, inbox: deque[Arrival], wake: Wake) -> None:
        self.spec = spec
        self.leg = leg
        self.tally = Tally()
        self.message = ""
        self._passphrases = Passphrases(passphrase)
        self._in_use = passphrase  # by the connection that is up
        self._inbox = inbox
        self._wake = wake
        self._socket: srt.Socket | None = None
        self._closing = threading.Event()
        self._heard_ns = 0
        self._asked = self._lost = self._repaired = 0
        self._connection_asked = self._connection_lost = self._connection_repaired = 0
        self._thread = threading.Thread(target=self._run, name=f"srt {spec.name}", daemon=True)

    def readers(self) -> dict[int, Callable[[int], None]]:
        return {}

    def close(self) -> None:
        self._closing.set()
        self._interrupt()
        connection = self._socket
        if connection is not None:
            connection.close()

    def _heard_lately(self) -> bool:
        return time.monotonic_ns() - self._heard_ns < INCUMBENT_NS

    @abstractmethod
    def _run(self) -> None:
        """Bring connections about and read them, until closed."""

    @abstractmethod
    def _interrupt(self) -> None:
        """End the wait for a connection."""

    def _read(self, connection: srt.Socket) -> None:
        """Everything of this connection, until it ends."""
        self._connection_asked = self._connection_lost = self._connection_repaired = 0
        self._socket = connection
        self.message = ""
        unwrap = Unwrap(31)
        leg, tally, inbox, wake, receive = self.leg, self.tally, self._inbox, self._wake, connection.receive
        begun_ns = now_ns = time.monotonic_ns()
        inbox.append((leg, RESTART, b"", now_ns))
        try:
            while not self._closing.is_set():
                got = receive()
                now_ns = time.monotonic_ns()
                if now_ns - max(begun_ns, self._heard_ns) > DEAD_NS:
                    raise Dead(f"{connection.far_end} is connected and has sent no transport stream for {DEAD_NS // 1_000_000_000} s")
                if got is None:
                    continue
                datagram = got[0]
                number = unwrap(got[1])
                if not is_transport_stream(datagram):
                    tally.dropped += 1
                    continue
                self._heard_ns = now_ns
                tally.packets += 1
                tally.bytes += len(datagram)
                inbox.append((leg, number, datagram, now_ns))
                wake(now_ns)
        except srt.SrtBroken as error:
            self.message = str(error)
        finally:
            if self._socket is connection:
                self._socket = None
            connection.close()

    def status(self, now_ns: int) -> EndStatus:
        tally, connection = self.tally, self._socket
        tally.look(now_ns)
        figures = None
        if connection is not None:
            try:
                figures = connection.statistics()
            except srt.SrtError:
                figures = None  # it ended between the two lines
        if figures is not None:
            self._asked += figures.received_lost_packets - self._connection_asked
            self._connection_asked = figures.received_lost_packets
            self._lost += max(0, figures.received_dropped_packets - self._connection_lost)
            self._repaired += max(0, figures.repaired_packets - self._connection_repaired)
            self._connection_lost = max(self._connection_lost, figures.received_dropped_packets)
            self._connection_repaired = max(self._connection_repaired, figures.repaired_packets)
        return EndStatus(
            name=self.spec.name,
            protocol=self.protocol,
            state="connected" if figures is not None else self.unconnected,
            message=BY_FORMER if figures is not None and self._in_use != self._passphrases.current else self.message,
            peer=str(connection.far_end) if connection is not None else "",
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            asked=self._asked,
            repaired=self._repaired,
            lost=self._lost,
            dropped=tally.dropped,
            refused=self._refused(),
            rtt_ms=figures.rtt_ms if figures else None,
            latency_ms=figures.receive_latency_ms if figures else None,
            buffer_ms=figures.receive_buffer_ms if figures else None,
            encryption=encryption(self.spec),
        )

    def rekey(self, current: str, former: str) -> bool:
        """Take these passphrases from now on. A connection by another one ends."""
        self._passphrases.become(current, former)
        connection = self._socket
        if connection is not None and not self._passphrases.takes(self._in_use):
            connection.close()
        return True

    @abstractmethod
    def network_changed(self) -> None:
        """A link or an address of this machine is not what it was."""

    def _refused(self) -> int:
        return self.tally.refused


class SrtListenerLeg(SrtLeg):
    """Waits for a sender. One that delivers is not disturbed by others; one that fell silent is replaced by the next."""

    protocol = "srt-listener"
    unconnected = "waiting"

    def __init__(self, spec: SrtListenerSource, leg: int, passphrase: str, inbox: deque[Arrival], wake: Wake) -> None:
        super().__init__(spec, leg, passphrase, inbox, wake)
        self._allowed = Allowlist(spec.allow)
        self._stream_id = spec.stream_id
        self._listener = srt.open_listener(
            spec.address,
            spec.port,
            latency_ms=spec.latency_ms,
            sending=False,
            admit=self._admit,
            passphrase=passphrase,
            key_bits=spec.key_bits,
        )
        self._thread.start()

    def _admit(self, caller: srt.Caller) -> srt.Admission | srt.Reject:
        if caller.address not in self._allowed or (self._stream_id and caller.stream_id != self._stream_id):
            return srt.Reject(FORBIDDEN)
        if self._socket is not None and self._heard_lately():
            return srt.Reject(CONFLICT)
        return srt.Admission(self._passphrases.to_offer(caller.address, caller.port))

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                caller = self._listener.accept(timeout_ms=500)
            except srt.SrtBroken as error:
                if not self._closing.is_set():
                    self.message = str(error)
                return
            if caller is None:
                continue
            if self._socket is not None:
                self._socket.close()
            if caller.far_end is not None:
                self._in_use = self._passphrases.let_in(caller.far_end.host, caller.far_end.port)
            threading.Thread(target=self._read, args=(caller,), name=f"srt {self.spec.name} read", daemon=True).start()

    def _interrupt(self) -> None:
        self._listener.close()

    def network_changed(self) -> None:
        """It listens on an address, whatever the link does."""

    def _refused(self) -> int:
        return self._listener.refused + self._listener.dropped


class SrtCallerLeg(SrtLeg):
    """Dials a sender, again and again. It has failed while the far end says no, and goes on asking."""

    protocol = "srt-caller"
    unconnected: Literal["connecting", "failed"] = "connecting"

    def __init__(self, spec: SrtCallerSource, leg: int, passphrase: str, inbox: deque[Arrival], wake: Wake) -> None:
        super().__init__(spec, leg, passphrase, inbox, wake)
        self._host = spec.host
        self._bind_address, self._bind_device = spec.bind_address, spec.bind_device
        self._dscp = spec.dscp
        self._hurry = threading.Event()
        srt.load()  # a missing or refused library is said at once, not in a thread
        self._thread.start()

    def _run(self) -> None:
        refusals = 0
        while not self._closing.is_set():
            passphrase = self._passphrases.to_dial()
            try:
                connection = srt.open_caller(
                    self._host,
                    self.spec.port,
                    latency_ms=self.spec.latency_ms,
                    sending=False,
                    passphrase=passphrase,
                    key_bits=self.spec.key_bits,
                    stream_id=self.spec.stream_id,
                    bind_address=self._bind_address,
                    bind_device=self._bind_device,
                    dscp=self._dscp,
                )
                self._socket = connection
                connection.wait_connected()
                self.unconnected = "connecting"
                self._in_use = passphrase
                heard_ns = self._heard_ns
                self._read(connection)
                refusals = 0 if self._heard_ns > heard_ns else refusals + 1
            except (srt.SrtError, OSError) as error:
                self._socket = None
                self.message = str(error)
                if isinstance(error, srt.SrtRefused) and self._passphrases.refused(passphrase, error.code):
                    continue
                refusals = refusals + 1 if was_refused(error) else 0
                self.unconnected = "failed" if refusals else "connecting"
            self._hurry.wait(redial_delay_s(refusals))
            self._hurry.clear()

    @property
    def is_up(self) -> bool:
        return self._socket is not None and self._heard_lately()

    @property
    def outdated(self) -> bool:
        return self.is_up and self._passphrases.is_outdated(self._in_use)

    def redial(self) -> None:
        connection = self._socket
        if connection is not None:
            connection.close()

    def _interrupt(self) -> None:
        self._hurry.set()  # `close` closes the connection that it waits for

    def network_changed(self) -> None:
        """Dial at once: not when it was planned, nor from an address that is gone."""
        connection = self._socket
        if connection is None:
            self._hurry.set()
        elif not self._heard_lately() or not is_ours(connection.local_address.host):
            connection.close()


def encryption(spec: Srt) -> str:
    return f"SRT, AES-{spec.key_bits}" if spec.secret else "in the clear"


def was_refused(error: Exception) -> bool:
    """True when somebody answered and said no; False when nobody did."""
    return isinstance(error, srt.SrtRefused) and error.code not in (REJ_UNKNOWN, REJ_TIMEOUT)


def redial_delay_s(refusals: int) -> float:
    """At once after a loss, for the handshake is retried for 3 s anyway; 1, 2, 4 … 30 s while the far end refuses, ± 20 %.

    Fewer than none: the far end may still hold the connection that was just lost, for half a second and its latency.
    """
    if refusals <= 0:
        return REDIAL_S
    return min(LONGEST_REFUSAL_S, 2.0 ** min(refusals - 1, 10)) * random.uniform(0.8, 1.2)  # noqa: S311
