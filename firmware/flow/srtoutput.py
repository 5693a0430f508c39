"""SRT outputs. Sending is done by the loop and never waits; dialling, which does, has a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from firmware.capture.lane import Path
from firmware.flow.admission import Allowlist
from firmware.flow.batch import Batch
from firmware.flow.passphrases import BY_FORMER, Passphrases
from firmware.flow.srtsource import FORBIDDEN, HELD, encryption, redial_delay_s, was_refused
from firmware.flow.tally import Tally
from firmware.model import SrtCallerOutput, SrtListenerOutput
from firmware.net import srt
from firmware.net.srtp import Seal
from firmware.net.udp import is_ours
from firmware.status import EndStatus
from firmware.wire.ts import DATAGRAM

LONGEST_BACKLOG = 2000  # datagrams that wait for a full send buffer: about 2 s of 10 Mb/s
MAX_RECEIVERS = 64
SILENT_NS = 1_000_000_000  # libsrt itself takes 5 s to find that nobody acknowledges any more
SILENT_RTTS = 4
LONGEST_GATHER_NS = 60_000_000


class Connection:
    """One SRT connection that sends, and what it counted.

    What libsrt takes it numbers, and what is lost after that leaves a hole that a merge can see. A datagram skipped
    *before* it is numbered would shift this path against the other one: so a full buffer makes datagrams wait here,
    and one that stays full ends the connection.
    """

    def __init__(self, socket: srt.Socket, *, spread: bool = False) -> None:
        """`spread`: what is sent together was gathered since the last time, and the receiver gives it back at that pace."""
        self.socket = socket
        self.backlog: deque[bytes] = deque()
        self.passphrase = ""  # by which a receiver came in
        self._spread = spread
        self._sent_ns = 0
        self._heard = (0, 0)  # acknowledgements, and packets sent when they last grew
        self._heard_ns = 0

    def send(self, datagrams: list[bytes], now_ns: int) -> None:
        """SrtBroken when the connection is gone or cannot keep up. What is too long for SRT leaves in parts, on every path alike."""
        longest = max(map(len, datagrams), default=0)
        if longest > DATAGRAM:
            datagrams = [datagram[at : at + DATAGRAM] for datagram in datagrams for at in range(0, len(datagram), DATAGRAM)]
        send, backlog = self.socket.send, self.backlog
        if backlog:
            backlog.extend(datagrams)
            self._drain()
            return
        if self._spread and longest:
            self._send_spread(datagrams, now_ns)
            return
        for place, datagram in enumerate(datagrams):
            if not send(datagram):
                backlog.extend(datagrams[place:])
                break

    def _send_spread(self, datagrams: list[bytes], now_ns: int) -> None:
        """The time of a packet goes with it, and the receiver adds its latency to that: a burst here is none there."""
        send = self.socket.send_as_of
        since_ns = max(self._sent_ns, now_ns - LONGEST_GATHER_NS) if self._sent_ns else now_ns
        step_ns = (now_ns - since_ns) / len(datagrams)
        self._sent_ns = now_ns
        for place, datagram in enumerate(datagrams):
            if not send(datagram, int(since_ns + (place + 1) * step_ns) // 1000):
                self.backlog.extend(datagrams[place:])
                break

    def figures(self, now_ns: int) -> srt.Statistics:
        """What libsrt counted; SrtBroken when the far end takes packets no more, whatever the socket's state says."""
        figures = self.socket.statistics()
        acknowledged, sent = self._heard
        if figures.acknowledgements > acknowledged or figures.sent_packets == sent or not self._heard_ns:
            self._heard = (figures.acknowledgements, figures.sent_packets)
            self._heard_ns = now_ns
        elif now_ns - self._heard_ns > max(SILENT_NS, int(figures.rtt_ms * SILENT_RTTS * 1e6)):
            raise srt.SrtBroken(f"{self.socket.far_end} acknowledges nothing any more")
        return figures

    @property
    def confirmed(self) -> bool:
        """The far end acknowledged packets, the last ones too: `figures` ends a connection that does not."""
        return self._heard[0] > 0

    def _drain(self) -> None:
        backlog = self.backlog
        while backlog and self.socket.send(backlog[0]):
            backlog.popleft()
        if len(backlog) > LONGEST_BACKLOG:
            raise srt.SrtBroken("the path is too slow for the stream: its send buffer stayed full")


class SrtCaller:
    """Dials the far end and keeps it connected."""

    wants_rtp = False
    seal: Seal | None = None

    def __init__(self, spec: SrtCallerOutput, passphrase: str) -> None:
        srt.load()  # a missing or refused library is said at once, not in a thread
        self.spec = spec
        self.tally = Tally()
        self.message = ""
        self.unconnected: Literal["connecting", "failed"] = "connecting"  # failed while the far end says no
        self._passphrases = Passphrases(passphrase)
        self._in_use = passphrase  # by the connection that is up
        self._connection: Connection | None = None
        self._dialling: srt.Socket | None = None
        self._figures: srt.Statistics | None = None
        self._asked = self._resent = self._lost = 0  # of connections that ended
        self._was_connected = False  # what was not sent before the first connection is not missed
        self._changed = threading.Event()  # the loop found the connection broken, or a cut, or the end
        self._closing = False
        self._cut_until_ns = 0
        threading.Thread(target=self._keep_connected, name=f"srt {spec.name}", daemon=True).start()

    def send(self, datagrams: Batch, now_ns: int) -> None:
        connection = self._connection
        if connection is None:
            if self._was_connected:
                self.tally.dropped += len(datagrams)
            return
        try:
            connection.send(datagrams, now_ns)
            self.tally.packets += len(datagrams)
            self.tally.bytes += sum(map(len, datagrams))
        except srt.SrtBroken as error:
            self._drop(str(error))

    def tick(self, now_ns: int) -> None:
        connection = self._connection
        if self._cut_until_ns and now_ns >= self._cut_until_ns:
            self._cut_until_ns = 0
            self._changed.set()
        if connection is not None:
            try:
                self._figures = connection.figures(now_ns)
            except srt.SrtError as error:
                self._drop(str(error))

    def path(self, now_ns: int) -> Path:
        """What it tells of its way, for the video's bitrate."""
        connection, figures = self._connection, self._figures
        if connection is None or figures is None:
            return Path(self.spec.name, up=False)
        return Path(
            self.spec.name,
            latency_ms=figures.send_latency_ms,
            rtt_ms=figures.rtt_ms,
            buffer_ms=figures.send_buffer_ms,
            buffer_bytes=figures.send_buffer_bytes,
            sent_bytes=figures.sent_bytes,
            sent_packets=figures.sent_packets,
            asked_packets=figures.sent_lost_packets,
        )

    @property
    def far_address(self) -> str:
        connection = self._connection
        return connection.socket.far_end.host if connection is not None and connection.socket.far_end else ""

    def network_changed(self) -> None:
        """Dial at once: not when it was planned, nor from an address that is gone."""
        connection, dialling = self._connection, self._dialling
        if connection is not None:
            if not is_ours(connection.socket.local_address.host):
                self._drop("its address is gone from this machine")
        elif dialling is not None:
            dialling.close()
        else:
            self._changed.set()

    def rekey(self, current: str, former: str) -> bool:
        """Dial with these passphrases from now on. A connection by another one ends."""
        self._passphrases.become(current, former)
        if self._connection is not None and not self._passphrases.takes(self._in_use):
            self.redial()
        return True

    @property
    def is_up(self) -> bool:
        return self._connection is not None

    @property
    def outdated(self) -> bool:
        return self.is_up and self._passphrases.is_outdated(self._in_use)

    def redial(self) -> None:
        self._drop("its passphrase is another one now")

    def cut(self, until_ns: int) -> None:
        self._cut_until_ns = until_ns
        self._drop("cut on purpose")

    def _drop(self, why: str) -> None:
        figures, self._figures = self._figures, None
        if figures is not None:
            self._asked += figures.sent_lost_packets
            self._resent += figures.resent_packets
            self._lost += figures.sent_dropped_packets
        self._connection = None
        self.message = why
        self._changed.set()

    def _keep_connected(self) -> None:
        refusals = 0
        spec = self.spec
        while not self._closing:
            self._changed.clear()
            if self._cut_until_ns:
                self._changed.wait()
                continue
            passphrase = self._passphrases.to_dial()
            try:
                with srt.open_caller(
                    spec.host,
                    spec.port,
                    latency_ms=spec.latency_ms,
                    sending=True,
                    passphrase=passphrase,
                    key_bits=spec.key_bits,
                    stream_id=spec.stream_id,
                    bind_address=spec.bind_address,
                    bind_device=spec.bind_device,
                    dscp=spec.dscp,
                ) as socket:
                    self._dialling = socket
                    socket.wait_connected()
                    self._dialling = None
                    refusals = HELD
                    self.message = ""
                    self.unconnected = "connecting"
                    self._in_use = passphrase
                    self._connection = Connection(socket, spread=spec.gather_ms > 0)
                    self._was_connected = True
                    self._changed.wait()
                    self._connection = None
            except (srt.SrtError, OSError) as error:
                self._dialling = None
                self.message = str(error)
                if isinstance(error, srt.SrtRefused) and self._passphrases.refused(passphrase, error.code):
                    continue
                refusals = refusals + 1 if was_refused(error) else HELD if self._was_connected else 0
                self.unconnected = "failed" if refusals > 0 else "connecting"
            if not self._closing and not self._cut_until_ns:
                self._changed.clear()
                self._changed.wait(redial_delay_s(refusals))

    def status(self, now_ns: int) -> EndStatus:
        tally, figures, connection = self.tally, self._figures, self._connection
        tally.look(now_ns)
        state: Literal["off", "connected", "connecting", "failed"] = self.unconnected
        if self._cut_until_ns:
            state = "off"
        elif connection is not None:
            state = "connected"
        return EndStatus(
            name=self.spec.name,
            protocol="srt-caller",
            state=state,
            message=BY_FORMER if state == "connected" and self._in_use != self._passphrases.current else self.message,
            peer=f"{self.spec.host}:{self.spec.port}",
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=tally.dropped,
            asked=self._asked + (figures.sent_lost_packets if figures else 0),
            repaired=self._resent + (figures.resent_packets if figures else 0),
            lost=self._lost + (figures.sent_dropped_packets if figures else 0),
            confirmed=connection is not None and connection.confirmed and tally.rate_bps > 0,
            rtt_ms=figures.rtt_ms if figures else None,
            latency_ms=figures.send_latency_ms if figures else None,
            buffer_ms=figures.send_buffer_ms if figures else None,
            encryption=encryption(self.spec),
        )

    def close(self) -> None:
        """The dialling thread ends by itself, in 3 s at most: the loop does not wait for it."""
        self._closing = True
        self._connection = None
        self._changed.set()


class SrtListener:
    """Waits for receivers and serves each; a slow one loses its own connection."""

    wants_rtp = False
    seal: Seal | None = None
    far_address = ""

    def __init__(self, spec: SrtListenerOutput, passphrase: str) -> None:
        self.spec = spec
        self.tally = Tally()
        self.message = ""
        self._allowed = Allowlist(spec.allow)
        self._passphrases = Passphrases(passphrase)
        self._receivers: list[Connection] = []
        self._figures: dict[Connection, srt.Statistics] = {}
        self._asked = self._resent = self._lost = 0  # of receivers that left
        self._cut_until_ns = 0
        self._listener = srt.open_listener(
            spec.address,
            spec.port,
            latency_ms=spec.latency_ms,
            sending=True,
            admit=self._admit,
            passphrase=passphrase,
            key_bits=spec.key_bits,
        )

    def _admit(self, caller: srt.Caller) -> srt.Admission | srt.Reject:
        wrong_stream = self.spec.stream_id and caller.stream_id != self.spec.stream_id
        if caller.address not in self._allowed or wrong_stream or len(self._receivers) >= MAX_RECEIVERS:
            return srt.Reject(FORBIDDEN)
        return srt.Admission(self._passphrases.to_offer(caller.address, caller.port))

    def send(self, datagrams: Batch, now_ns: int) -> None:
        if now_ns < self._cut_until_ns:
            return
        for receiver in tuple(self._receivers):
            try:
                receiver.send(datagrams, now_ns)
                self.tally.packets += len(datagrams)
                self.tally.bytes += sum(map(len, datagrams))
            except srt.SrtBroken as error:
                self._hang_up(receiver, str(error))

    def tick(self, now_ns: int) -> None:
        try:
            while (socket := self._listener.accept()) is not None:
                receiver = Connection(socket, spread=self.spec.gather_ms > 0)
                self._receivers.append(receiver)
                if socket.far_end is not None:
                    receiver.passphrase = self._passphrases.let_in(socket.far_end.host, socket.far_end.port)
                self.message = ""
        except srt.SrtBroken as error:
            self.message = str(error)
        for receiver in tuple(self._receivers):
            try:
                self._figures[receiver] = receiver.figures(now_ns)
            except srt.SrtError as error:
                self._hang_up(receiver, str(error))

    def path(self, now_ns: int) -> Path | None:
        return None

    def network_changed(self) -> None:
        """It listens on an address, whatever the link does."""

    def rekey(self, current: str, former: str) -> bool:
        """Let in with these passphrases from now on. A receiver that came in with another one must come again."""
        self._passphrases.become(current, former)
        for receiver in tuple(self._receivers):
            if not self._passphrases.takes(receiver.passphrase):
                self._hang_up(receiver, "its passphrase is no longer good")
        return True

    def _hang_up(self, receiver: Connection, why: str) -> None:
        self.message = why
        figures = self._figures.pop(receiver, None)
        if figures is not None:
            self._asked += figures.sent_lost_packets
            self._resent += figures.resent_packets
            self._lost += figures.sent_dropped_packets
        self._receivers.remove(receiver)
        receiver.socket.close()

    def cut(self, until_ns: int) -> None:
        self._cut_until_ns = until_ns

    def status(self, now_ns: int) -> EndStatus:
        tally = self.tally
        tally.look(now_ns)
        figures = self._figures.values()
        return EndStatus(
            name=self.spec.name,
            protocol="srt-listener",
            state="connected" if self._receivers else "waiting",
            message=self.message,
            peer=", ".join(str(receiver.socket.far_end) for receiver in self._receivers[:4]),
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=tally.dropped,
            refused=self._listener.refused + self._listener.dropped,
            asked=self._asked + sum(f.sent_lost_packets for f in figures),
            repaired=self._resent + sum(f.resent_packets for f in figures),
            lost=self._lost + sum(f.sent_dropped_packets for f in figures),
            confirmed=any(receiver.confirmed for receiver in self._receivers) and tally.rate_bps > 0,
            rtt_ms=max((f.rtt_ms for f in figures), default=None),
            latency_ms=max((f.send_latency_ms for f in figures), default=None),
            buffer_ms=max((f.send_buffer_ms for f in figures), default=None),
            receivers=len(self._receivers),
            encryption=encryption(self.spec),
        )

    def close(self) -> None:
        self._listener.close()
        for receiver in self._receivers:
            receiver.socket.close()
