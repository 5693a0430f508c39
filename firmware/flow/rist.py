"""RIST ends of a flow. librist repairs and, in main profile, merges its two paths; a flow sees one leg, one output."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from firmware.capture.lane import Path
from firmware.flow.admission import Allowlist
from firmware.flow.outputs import is_address
from firmware.flow.sources import INCUMBENT_NS, RESTART, SILENT_NS, Arrival
from firmware.flow.tally import Tally
from firmware.model import Rist, RistOutput, RistSource
from firmware.net import rist
from firmware.net.srtp import Seal
from firmware.net.udp import is_ours
from firmware.status import EndStatus
from firmware.wire.seq import Unwrap
from firmware.wire.ts import is_transport_stream

WAIT_MS = 20  # for the first datagram: as long as `close` may have to wait
GATHER_S = 0.003  # then for more, which come with it at a third less of CPU; about three datagrams of 10 Mb/s
TOLD_NS = 3_000_000_000  # how long a line of librist's log counts
UNHEARD_NS = 2_500_000_000  # librist's reports come twice a second, and a far end speaks ten times a second
REOPEN_NS = 10_000_000_000  # nobody answers for so long: a name may lead elsewhere by now
RETRY_S = 2.0
WATCH_S = 0.5
RENEW_NS = 1_500_000_000  # the silence after which librist starts afresh, with nobody let in
LOOK_NS = 500_000_000

_SAID = (  # a part of a line of librist's log, and what it means for whoever reads the status
    ("Malformed packet", "somebody sends with another passphrase, or no RIST"),
    ("Disabling packet processing", "somebody sends with another passphrase"),
    ("sent clear communication", "what comes is not encrypted; give the sender the passphrase"),
    ("configured without keysize", "what comes is encrypted, and this source has no passphrase"),
    ("wrong profile", "what comes is of another RIST profile, or no RIST"),
    ("Non conformant main profile", "what comes is of another RIST profile, or no RIST"),
    ("handshake is still pending", "RTP comes without RTCP; open the port above it too"),
)


class RistLeg:
    """Listens at one or two ports. A sender that delivers is not disturbed by others; one that fell silent is replaced by the next."""

    repair_ns = 0

    def __init__(self, spec: RistSource, leg: int, passphrase: str, inbox: deque[Arrival], wake: Callable[[int], None]) -> None:
        if spec.profile == "simple" and spec.second_port:
            raise ValueError("second_port: librist joins two paths in main profile alone; make two sources, and let the flow merge them")
        self.spec = spec
        self.leg = leg
        self.tally = Tally()
        self._inbox = inbox
        self._wake = wake
        self._allowed = Allowlist(spec.allow)
        self._passphrase = passphrase
        self._heard_ns = 0
        self._asked = self._lost = self._repaired = self._refused = 0  # of receivers that are closed
        self._receiver = self._open()
        self._opened_ns = time.monotonic_ns()
        self._renewing = threading.Lock()
        self._closing = threading.Event()
        self.message = ""
        self._flow_id = -1
        self._unwrap = Unwrap(16)
        self._filtered = 0  # at the last datagram that was taken
        threading.Thread(target=self._run, name=f"rist {spec.name}", daemon=True).start()

    def readers(self) -> dict[int, Callable[[int], None]]:
        return {}

    def _open(self) -> rist.RistReceiver:
        spec = self.spec
        return rist.RistReceiver(
            [rist.Address(spec.address, port) for port in (spec.port, spec.second_port) if port],
            latency_ms=spec.latency_ms,
            admit=self._admit,
            passphrase=self._passphrase,
            key_bits=spec.key_bits,
            profile=spec.profile,
            allow=spec.allow,
            exclusive=True,
        )

    def _admit(self, address: str, port: int) -> bool:
        if address not in self._allowed:
            return False
        # In simple profile librist would mix the packets of all senders: one address at a time, and one sender of RTP
        if self.spec.profile == "main" or time.monotonic_ns() - self._heard_ns > INCUMBENT_NS:
            return True
        return port != self.spec.port and address in self._receiver.peers.values()

    def _run(self) -> None:
        take, wait, pair, looked_ns = self._take, self._closing.wait, bool(self.spec.second_port), 0
        while not self._closing.is_set():
            try:
                datagrams = self._receiver.receive(WAIT_MS)
            except rist.RistError:
                datagrams = []  # closed: for good, or because its port could not be had again
            if datagrams:
                now_ns = time.monotonic_ns()
                for datagram in datagrams:
                    take(datagram, now_ns)
                self._wake(now_ns)
                if pair and now_ns - looked_ns > LOOK_NS:
                    looked_ns = now_ns
                    self._receiver.look_at_ports()
                wait(GATHER_S)
            elif self._is_stale(time.monotonic_ns()):
                self._renew()

    def _is_stale(self, now_ns: int) -> bool:
        """Nothing comes any more from whom librist let in, or never did: it listens to no other one until it begins anew."""
        latency_ns = self.spec.latency_ms * 1_000_000
        since_ns = max(self._opened_ns, self._heard_ns, self._receiver.admitted_ns + latency_ns)
        return now_ns - since_ns > RENEW_NS

    def _renew(self) -> None:
        self._opened_ns = time.monotonic_ns()
        with self._renewing:
            if self._closing.is_set() or (self._receiver.open and not self._receiver.admitted_ns):
                return
            figures = self._receiver.statistics()
            self._asked += figures.missing
            self._lost += figures.lost
            self._repaired += figures.repaired
            self._refused += self._receiver.refused + self._receiver.filtered
            self._filtered = 0
            self._receiver.close()
            try:
                self._receiver = self._open()
                self.message = ""
            except rist.RistError as error:
                self.message = str(error)

    def _take(self, datagram: rist.Datagram, now_ns: int) -> None:
        tally = self.tally
        data, number, flow_id, afresh = datagram
        if not is_transport_stream(data):
            tally.dropped += 1
            return
        if flow_id != self._flow_id and now_ns - self._heard_ns < INCUMBENT_NS:
            tally.refused += 1
            return
        if flow_id != self._flow_id or afresh:
            self._flow_id = flow_id
            self._unwrap = Unwrap(16)
            self._inbox.append((self.leg, RESTART, b"", now_ns))
        self._heard_ns = now_ns
        tally.packets += 1
        tally.bytes += len(data)
        self._inbox.append((self.leg, self._unwrap(number), data, now_ns))

    def rekey(self, current: str, former: str) -> bool:
        return False

    def network_changed(self) -> None:
        """It listens on an address, whatever the link does."""

    def status(self, now_ns: int) -> EndStatus:
        tally, receiver = self.tally, self._receiver
        tally.look(now_ns)
        figures, filtered = receiver.statistics(), receiver.filtered
        delivers = bool(self._heard_ns) and now_ns - self._heard_ns < SILENT_NS
        rtts = [path.rtt_ms for path in figures.paths.values() if path.rtt_ms is not None]
        status = EndStatus(
            name=self.spec.name,
            protocol="rist",
            state="connected" if delivers else "waiting",
            message="" if delivers else self._why(now_ns, filtered),
            peer=", ".join(sorted(set(receiver.peers.copy().values()))),
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            asked=self._asked + figures.missing,
            repaired=self._repaired + figures.repaired,
            lost=self._lost + figures.lost,
            dropped=tally.dropped,
            refused=tally.refused + self._refused + receiver.refused + filtered,
            rtt_ms=max(rtts, default=None) if delivers else None,
            latency_ms=self.spec.latency_ms,
            encryption=encryption(self.spec),
        )
        if delivers:
            self._filtered = filtered
        return status

    def _why(self, now_ns: int, filtered: int) -> str:
        """Why nothing comes, as far as somebody knows."""
        if message := self.message or said(self._receiver.log, now_ns):
            return message
        if filtered > self._filtered:
            return f"{'what comes is not encrypted, or ' if self._passphrase else ''}who sends is not on the allowlist"
        return ""

    def close(self) -> None:
        self._closing.set()
        with self._renewing:
            self._receiver.close()


class RistSend:
    """Sends to one or two places. Opening waits for name servers, so it has a thread of its own.

    librist goes on calling a far end that is silent and sends again once it answers; where nobody answers for ten seconds
    everything is opened anew, with the name looked up again.
    """

    wants_rtp = False
    seal: Seal | None = None

    def __init__(self, spec: RistOutput, passphrase: str) -> None:
        rist.load()  # a missing library and a passphrase that cannot be one are said at once, not in a thread
        rist.check_passphrase(passphrase, spec.profile)
        self.spec = spec
        self.tally = Tally()
        self.message = ""
        self._passphrase = passphrase
        self._paths = [rist.Path(spec.host, spec.port, spec.bind_address, spec.bind_device, spec.dscp)]
        if spec.second_port:
            host = spec.second_host or spec.host
            self._paths.append(rist.Path(host, spec.second_port, spec.second_bind_address, spec.second_bind_device, spec.dscp))
        self._sender: rist.RistSender | None = None
        self._figures: rist.SenderStatistics | None = None
        self._repeated = self._not_repeated = 0  # of senders that are closed
        self._was_open = False  # what came before is not missed
        self._changed = threading.Event()
        self._closing = False
        self._cut_until_ns = 0
        threading.Thread(target=self._keep_open, name=f"rist {spec.name}", daemon=True).start()

    def send(self, datagrams: list[bytes], now_ns: int) -> None:
        sender, tally = self._sender, self.tally
        streams = [datagram for datagram in datagrams if is_transport_stream(datagram)]
        tally.dropped += len(datagrams) - len(streams)
        taken = sender.send(streams) if sender is not None else 0
        if taken == len(streams):
            tally.packets += taken
            tally.bytes += sum(map(len, streams))
        elif self._was_open:
            tally.packets += taken
            tally.bytes += sum(map(len, streams[:taken]))
            tally.dropped += len(streams) - taken

    @property
    def far_address(self) -> str:
        """Of the first path, where it is written as an address: librist tells none."""
        return self._paths[0].host if is_address(self._paths[0].host) else ""

    def rekey(self, current: str, former: str) -> bool:
        return False

    def path(self, now_ns: int) -> Path:
        """Of its places the better one: librist joins them."""
        figures = self._figures
        answering = [path for path in figures.paths if path.heard_ns and now_ns - path.heard_ns < UNHEARD_NS] if figures else []
        rtt_ms = min((path.rtt_ms for path in answering if path.rtt_ms is not None), default=None)
        asked = sum(path.repeated + path.not_repeated for path in answering)
        return Path(
            self.spec.name,
            up=bool(answering),
            latency_ms=self.spec.latency_ms,
            rtt_ms=rtt_ms,
            sent_bytes=self.tally.bytes,
            sent_packets=self.tally.packets,
            asked_packets=asked,
        )

    def network_changed(self) -> None:
        """Where no path answers, or the address that one was bound to is gone, open anew at once."""
        if any(path.bind_address and not is_ours(path.bind_address) for path in self._paths) or not self._answered_lately():
            self._changed.set()

    def _answered_lately(self) -> bool:
        figures = self._figures
        return figures is not None and time.monotonic_ns() - figures.heard_ns < UNHEARD_NS

    def tick(self, now_ns: int) -> None:
        if self._cut_until_ns and now_ns >= self._cut_until_ns:
            self._cut_until_ns = 0
            self._changed.set()

    def cut(self, until_ns: int) -> None:
        """The sender is closed, not held up: a datagram skipped before it is numbered would shift this path against another."""
        self._cut_until_ns = until_ns
        self._sender = None
        self._changed.set()

    def _keep_open(self) -> None:
        while not self._closing:
            self._changed.clear()
            if self._cut_until_ns:
                self.message = "cut on purpose"
                self._changed.wait()
                continue
            try:
                sender = rist.RistSender(
                    self._paths,
                    latency_ms=self.spec.latency_ms,
                    passphrase=self._passphrase,
                    key_bits=self.spec.key_bits,
                    profile=self.spec.profile,
                )
            except OSError as error:
                self.message = str(error)
                self._changed.wait(RETRY_S)
                continue
            self._attend(sender)

    def _attend(self, sender: rist.RistSender) -> None:
        """Until it is to be closed, or nobody answers for too long."""
        began_ns = time.monotonic_ns()
        self.message = ""
        if not (self._closing or self._cut_until_ns):
            self._sender = sender
            self._was_open = True
        while not self._changed.wait(WATCH_S):
            self._figures = figures = sender.statistics()
            if time.monotonic_ns() - max(began_ns, figures.heard_ns) > REOPEN_NS:
                break
        self._sender = self._figures = None
        sender.close()
        for path in sender.statistics().paths:
            self._repeated += path.repeated
            self._not_repeated += path.not_repeated

    def status(self, now_ns: int) -> EndStatus:
        tally, figures, cut = self.tally, self._figures, bool(self._cut_until_ns)
        tally.look(now_ns)
        paths = figures.paths if figures else []
        answering = [path for path in paths if path.heard_ns and now_ns - path.heard_ns < UNHEARD_NS]
        state: Literal["off", "connected", "connecting", "failed"] = "connecting"
        if cut:
            state = "off"
        elif answering:
            state = "connected"
        elif self._sender is None and self.message:
            state = "failed"
        return EndStatus(
            name=self.spec.name,
            protocol="rist",
            state=state,
            message=self.message or ("" if cut else self._silent(paths, now_ns)),
            peer=", ".join(f"{path.host}:{path.port}" for path in self._paths),
            packets=tally.packets,
            bytes=tally.bytes,
            rate_bps=tally.rate_bps,
            dropped=tally.dropped,
            asked=self._repeated + self._not_repeated + sum(path.repeated + path.not_repeated for path in paths),
            repaired=self._repeated + sum(path.repeated for path in paths),
            lost=self._not_repeated + sum(path.not_repeated for path in paths),
            confirmed=state == "connected" and bool(answering) and tally.rate_bps > 0,
            rtt_ms=max((path.rtt_ms for path in answering if path.rtt_ms is not None), default=None),
            latency_ms=self.spec.latency_ms,
            encryption=encryption(self.spec),
        )

    def _silent(self, figures: list[rist.PathStatistics], now_ns: int) -> str:
        """Which places do not answer."""
        pairs = zip(self._paths, figures, strict=False)
        silent = [f"{path.host}:{path.port}" for path, one in pairs if not one.heard_ns or now_ns - one.heard_ns >= UNHEARD_NS]
        if not silent:
            return ""
        return f"nobody answers at {' and '.join(silent)}; is the receiver there, with the same passphrase and profile?"

    def close(self) -> None:
        """The thread closes librist's sender: the loop does not wait for it."""
        self._closing = True
        self._sender = None
        self._changed.set()


def encryption(spec: Rist) -> str:
    return f"RIST, AES-{spec.key_bits}" if spec.secret else "in the clear"


def said(log: rist.Log, now_ns: int) -> str:
    """The last thing that librist complained about, in words for a person."""
    for line in reversed(tuple(log.lines)):
        if now_ns - line.at_ns > TOLD_NS:
            break
        for part, words in _SAID:
            if part in line.message:
                return words
    return ""
