"""RIST senders and receivers for live streams, encrypted unless said otherwise.

A sender dials one or two places and sends every datagram to each (weight 0); a receiver listens at one or two ports and gives each
datagram once. Main profile (TR-06-2) encrypts with a passphrase; simple profile (TR-06-1) cannot, and takes two ports: P for RTP,
which is even, and P + 1 for RTCP.
"""

from __future__ import annotations

import ctypes
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_void_p
from dataclasses import dataclass
from typing import Literal, NamedTuple

from firmware.net.librist import (
    CONNECT_CALLBACK,
    DISCONNECT_CALLBACK,
    FLOW_BUFFER_START,
    MAIN,
    SIMPLE,
    STATS_CALLBACK,
    DataBlock,
    Log,
    PeerConfig,
    RistError,
    RistUnavailable,
    SentBlock,
    Stats,
    load,
)
from firmware.net.portfilter import Peer, plain
from firmware.net.ristfilter import program
from firmware.net.ristsocket import Taken, check_free, source_port
from firmware.net.riststatistics import (
    PathStatistics,
    ReceiverStatistics,
    Reports,
    SenderStatistics,
    add_to_receiver,
    add_to_sender,
)
from firmware.net.sockaddr import Address, address_of, resolve

__all__ = [
    "Address",
    "Datagram",
    "Log",
    "Path",
    "PathStatistics",
    "Profile",
    "RistError",
    "RistReceiver",
    "RistSender",
    "RistUnavailable",
    "SenderStatistics",
    "check_passphrase",
    "load",
]

Profile = Literal["main", "simple"]

MAX_PASSPHRASE_BYTES = 127
MAX_DATAGRAM = 1456
SESSION_TIMEOUT_MS = 2000  # librist's own default for a config that is filled by hand is 250: any outage would end the session
REPORT_MS = 500
GONE_S, BACK_S = 1.5, 0.2
FIFO_PACKETS = 8192  # between librist and `receive`; a power of two
REORDER_MS, SHORTEST_RTT_MS, RETRIES = 15, 5, 40
CNAME = b"pressbox"  # in RTCP; librist's own is made of this machine's name, which is nobody's business
_SOCKET_LINE = re.compile(r"Starting in URL (?:connect mode \(|listening mode \(socket# )(\d+)\)")


@dataclass(frozen=True, slots=True)
class Path:
    """Where a sender sends, and from where."""

    host: str
    port: int
    bind_address: str = ""
    bind_device: str = ""
    dscp: int = 0


class Datagram(NamedTuple):
    data: bytes
    number: int  # 16 bits, up by one from datagram to datagram as they were sent: jumps over lost ones
    flow_id: int  # chosen by the sender, anew for each session
    afresh: bool  # the receiver's buffer begins anew: numbers before and after may not belong together


class _End:
    """What a sender and a receiver share: the context, its log and its reports."""

    def __init__(self, profile: Profile, latency_ms: int, passphrase: str, key_bits: int) -> None:
        check_passphrase(passphrase, profile)
        self.library = load()
        self._lib = self.library.cdll
        self.profile = profile
        self.latency_ms = latency_ms
        self.log = Log()
        self._reports = Reports()
        self._encrypted = bool(passphrase)
        self._key_bits = key_bits
        self._sockets: list[Taken] = []
        self._context: c_void_p | None = c_void_p()
        self._lock = threading.Lock()  # held while librist is called with the context, so that it outlives the call
        self._stats_callback = STATS_CALLBACK(self._on_report)  # librist may call it until rist_destroy is through

    def _begin(self, created: int) -> c_void_p:
        if created != 0 or self._context is None:
            self._context = None
            raise RistError("librist gave no context: out of memory")
        self._lib.rist_stats_callback_set(self._context, REPORT_MS, self._stats_callback, None)
        return self._context

    def _add_peer(self, url: str, passphrase: str) -> list[Taken]:
        """A peer, and its sockets in hand."""
        config = PeerConfig()
        self._lib.rist_peer_config_defaults_set(byref(config))
        config.address = url.encode()
        config.cname = CNAME
        config.recovery_length_min = config.recovery_length_max = self.latency_ms
        config.recovery_reorder_buffer = min(REORDER_MS, self.latency_ms // 4)
        config.recovery_rtt_min = max(SHORTEST_RTT_MS, self.latency_ms // RETRIES)
        config.max_retries = RETRIES
        config.session_timeout = SESSION_TIMEOUT_MS
        if passphrase:
            config.secret = passphrase.encode()
            config.key_size = self._key_bits
        self.log.lines.clear()
        peer = c_void_p()
        try:
            failed = self._lib.rist_peer_create(self._context, byref(peer), byref(config)) != 0
        finally:
            ctypes.memset(byref(config), 0, ctypes.sizeof(config))  # the passphrase
        if failed:
            raise RistError(f"{url} cannot be used: {self._last_error()}")
        # librist has no function for it in 0.2.7; it names each socket in its log
        found = [int(line[1]) for line in (_SOCKET_LINE.search(entry.message) for entry in self.log.lines) if line]
        if len(found) != (2 if self.profile == "simple" else 1):
            raise RistError(f"{self.library} does not name its sockets, which must be guarded; install Debian's librist4")
        taken = [Taken(descriptor) for descriptor in found]
        self._sockets += taken
        return taken

    def _last_error(self) -> str:
        return next((line.message for line in reversed(self.log.lines) if line.level <= 3), "librist says no more")

    def _start(self) -> None:
        self.log.quieten()
        self.library.alive.add(self)
        if self._lib.rist_start(self._context) != 0:
            raise RistError(f"librist does not start: {self._last_error()}")

    def _on_report(self, _opaque: int | None, stats: ctypes._Pointer[Stats]) -> int:
        # On librist's thread under its locks: look at nothing, call nothing of librist but the one that frees
        try:
            self._reports.add(ctypes.string_at(stats.contents.stats_json, stats.contents.json_size), time.monotonic_ns())
        finally:
            self._lib.rist_stats_free(stats)
        return 0

    @property
    def open(self) -> bool:
        return self._context is not None

    @property
    def filtered(self) -> int:
        """Datagrams that the kernel did not hand over: from elsewhere, not encrypted as they must be, or not read in time."""
        return sum(taken.dropped for taken in self._sockets)

    def close(self) -> None:
        """End librist's threads and close its ports. Closing twice is fine."""
        with self._lock:
            context, self._context = self._context, None
            if context:
                for taken in self._sockets:
                    taken.close()
                self._lib.rist_destroy(context)
        self.library.alive.discard(self)


class RistSender(_End):
    """Looks names up, which waits. `send` never does."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        latency_ms: int,
        passphrase: str = "",
        key_bits: int = 256,
        profile: Profile = "main",
    ) -> None:
        super().__init__(profile, latency_ms, passphrase, key_bits)
        self.far_ends: list[Address] = []
        self._statistics = SenderStatistics(paths=[PathStatistics() for _ in paths])
        self._block = SentBlock()
        created = self._lib.rist_sender_create(byref(self._context), _number(profile), 0, byref(self.log.settings))  # type: ignore[arg-type]
        self._begin(created)
        try:
            for path in paths:
                self._add_path(path, passphrase)
            self._start()
        except Exception:
            self.close()
            raise

    def _add_path(self, path: Path, passphrase: str) -> None:
        family = socket.AF_UNSPEC if not path.bind_address else socket.AF_INET6 if ":" in path.bind_address else socket.AF_INET
        far_end = address_of(resolve(path.host, path.port, family))
        self.far_ends.append(far_end)
        taken = self._add_peer(f"rist://{far_end}", passphrase)
        far_port = far_end.port if self.profile == "main" else 0
        peers = None if plain(far_end.host).is_multicast else [Peer(far_end.host, far_port)]
        for one in taken:
            if path.bind_address or path.bind_device:
                one.bind(path.bind_address, path.bind_device)
            one.mark(path.dscp)
            one.hear_only(program(encrypted=self._encrypted, peers=peers))

    def send(self, datagrams: Sequence[bytes]) -> int:
        """How many were taken: 0 once it is closed."""
        taken = 0
        block, write = self._block, self._lib.rist_sender_data_write
        with self._lock:
            context = self._context
            if context is None:
                return 0
            for datagram in datagrams:
                block.payload, block.payload_len = datagram, len(datagram)
                taken += write(context, byref(block)) > 0
        return taken

    def statistics(self) -> SenderStatistics:
        peers_per_path = 2 if self.profile == "simple" else 1
        for now_ns, report in self._reports:
            add_to_sender(self._statistics, report, now_ns, peers_per_path)
        return self._statistics


class RistReceiver(_End):
    """`admit` is asked about an address, and the port of ours it came to, before anything of it is taken. It is asked on librist's
    thread, and all else of the receiver stands still while it thinks: so it looks things up in memory and does nothing else. When it
    fails, the sender is refused.

    Of who is not among `allow` the kernel lets nothing through to librist. With `exclusive`, once somebody is let in at a port, it
    lets through only what comes from there, from that very port, until this receiver is closed or a second port shows that the
    first one's sender is gone.
    """

    def __init__(
        self,
        places: Sequence[Address],
        *,
        latency_ms: int,
        admit: Callable[[str, int], bool],
        passphrase: str = "",
        key_bits: int = 256,
        profile: Profile = "main",
        allow: Sequence[str] | None = None,
        exclusive: bool = False,
    ) -> None:
        super().__init__(profile, latency_ms, passphrase, key_bits)
        self.refused = 0  # times that somebody was turned away
        self.peers: dict[int, str] = {}  # address of each peer that is let in
        self.admitted_ns = 0  # the last one
        self._exclusive = exclusive
        self._everybody = program(encrypted=self._encrypted, allowed=allow)
        self._held: dict[int, bytes] = {}  # by port of ours: the program that lets its sender through alone
        self._admit = admit
        self._statistics = ReceiverStatistics()
        self._connected = CONNECT_CALLBACK(self._on_connect)
        self._disconnected = DISCONNECT_CALLBACK(self._on_disconnect)
        self._block = POINTER(DataBlock)()
        _check_places(places, profile)
        created = self._lib.rist_receiver_create(byref(self._context), _number(profile), byref(self.log.settings))  # type: ignore[arg-type]
        context = self._begin(created)
        try:
            self._lib.rist_auth_handler_set(context, self._connected, self._disconnected, None)
            self._lib.rist_receiver_set_output_fifo_size(context, FIFO_PACKETS)
            for place in places:
                for taken in self._add_peer(f"rist://@{place}", passphrase):
                    taken.hear_only(self._everybody)
            self._start()
        except Exception:
            self.close()
            raise

    def _on_connect(self, _opaque: int | None, address: bytes, _port: int, _own: bytes, own_port: int, peer: int | None) -> int:
        # What ctypes returns after an exception lets the peer in: nothing may leave here. The port is not the peer's in 0.2.7
        try:
            text = address.decode()
            if self._admit(text, own_port):
                if self._exclusive and peer:
                    self._hold(own_port, Peer(text, source_port(peer, text)))
                self.peers[peer or 0] = text
                self.admitted_ns = time.monotonic_ns()
                return 0
        except Exception as failure:
            self.failure = failure
        self.refused += 1
        return -1

    def _hold(self, own_port: int, peer: Peer) -> None:
        self._held[own_port] = program(encrypted=self._encrypted, peers=[peer])
        for taken in self._sockets:
            if taken.port == own_port:
                taken.hear_only(self._held[own_port])

    def look_at_ports(self) -> None:
        """Of two ports with two paths: one whose sender is silent hears everybody again, until that one comes back."""
        for taken in self._sockets:
            held, silent_s = self._held.get(taken.port), taken.silent_s()
            if held and taken.program == held and silent_s > GONE_S:
                taken.hear_only(self._everybody)
            elif held and taken.program != held and silent_s < BACK_S:
                taken.hear_only(held)

    def _on_disconnect(self, _opaque: int | None, peer: int | None) -> int:
        self.peers.pop(peer or 0, None)
        return 0

    def receive(self, timeout_ms: int) -> list[Datagram]:
        """Everything that is due, or nothing within `timeout_ms`."""
        block, read, free = self._block, self._lib.rist_receiver_data_read2, self._lib.rist_receiver_data_block_free2
        at = byref(block)
        got: list[Datagram] = []
        with self._lock:
            context = self._context
            if context is None:
                raise RistError("the receiver is closed")
            while read(context, at, timeout_ms) > 0:
                timeout_ms = 0
                one = block.contents
                data = ctypes.string_at(one.payload, one.payload_len)
                got.append(Datagram(data, one.seq & 0xFFFF, one.flow_id, bool(one.flags & FLOW_BUFFER_START)))
                free(at)
        return got

    def statistics(self) -> ReceiverStatistics:
        for now_ns, report in self._reports:
            add_to_receiver(self._statistics, report, now_ns)
        return self._statistics


def check_passphrase(passphrase: str, profile: Profile) -> None:
    size = len(passphrase.encode())
    if size > MAX_PASSPHRASE_BYTES or "\0" in passphrase:
        raise RistError(f"secret: the passphrase has {size} bytes; RIST takes 1 to {MAX_PASSPHRASE_BYTES}, none of them 0")
    if passphrase and profile == "simple":
        raise RistError("profile: simple profile cannot encrypt; take main, or run unencrypted on purpose")


def _check_places(places: Sequence[Address], profile: Profile) -> None:
    for place in places:
        if profile == "simple" and place.port % 2:
            raise RistError(f"port: {place.port} is odd; simple profile needs an even port, and takes the next one for RTCP")
        for port in (place.port, place.port + 1) if profile == "simple" else (place.port,):
            check_free(place.host, port)


def _number(profile: Profile) -> int:
    return SIMPLE if profile == "simple" else MAIN
