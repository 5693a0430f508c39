"""SRT callers and listeners for live streams, encrypted unless said otherwise.

A caller dials, a listener waits; either may send. `admit` is asked about each caller before its handshake is answered, on
libsrt's own receiving thread: all streams of that port stand still while it thinks, so it looks things up in memory and does
nothing else. When it fails, the caller is refused.
"""

from __future__ import annotations

import ctypes
import secrets
import socket as system
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from firmware.net.libsrt import LISTEN_HOOK, Library, LibraryTooOld, SrtError, SrtUnavailable, load
from firmware.net.sockaddr import ANY_OF_FAMILY, MAX_BYTES, Address, address_of, family_of, resolve
from firmware.net.srtoptions import OPTIONS, Value
from firmware.net.srtport import Guard, find
from firmware.net.srtreasons import REJ_TIMEOUT, REJ_UNKNOWN
from firmware.net.srtsocket import MAX_PAYLOAD_BYTES, Socket, SrtBroken, SrtRefused, State
from firmware.net.srtstatistics import Statistics

__all__ = [
    "OPTIONS",
    "REJ_TIMEOUT",
    "REJ_UNKNOWN",
    "Address",
    "Admission",
    "Caller",
    "Library",
    "LibraryTooOld",
    "Listener",
    "Reject",
    "Socket",
    "SrtBroken",
    "SrtError",
    "SrtRefused",
    "SrtUnavailable",
    "State",
    "Statistics",
    "load",
    "open_caller",
    "open_listener",
]

MIN_VERSION = 0x010300
KEY_BITS = (128, 192, 256)
MOST_LET_IN = 8  # callers that were let in and are not accepted yet
DEFAULT_PACKETS = 8192  # libsrt's own size of a buffer
HEADER_BYTES = 28  # of IP and UDP: libsrt counts a buffer in packets of MSS less this


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks to be let in. The stream id comes from the far end: anything can be in it."""

    address: str
    port: int
    stream_id: str
    handshake_version: int  # 5 since SRT 1.3.0


@dataclass(frozen=True, slots=True)
class Admission:
    """Let in. `passphrase` None: the listener's own; "": in the clear."""

    passphrase: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_passphrase(self.passphrase or "")


@dataclass(frozen=True, slots=True)
class Reject:
    """Not let in. `code` is what the caller is told: 1000 to 1999 as in `srtreasons`, 2000 and up of one's own."""

    code: int = 1403

    def __post_init__(self) -> None:
        if self.code < 1000:
            raise ValueError(f"reject code {self.code}: codes below 1000 are libsrt's own")


Admit = Callable[[Caller], Admission | Reject]


def check_passphrase(passphrase: str) -> None:
    """ValueError for a passphrase that SRT does not take. Never says what it is."""
    if passphrase and not 10 <= len(passphrase.encode()) <= 79:
        raise ValueError(f"an SRT passphrase has 10 to 79 characters; this one has {len(passphrase.encode())}")


def open_caller(
    host: str,
    port: int,
    *,
    latency_ms: int,
    sending: bool,
    passphrase: str = "",
    key_bits: int = 256,
    stream_id: str = "",
    bind_address: str = "",
    bind_port: int = 0,
    bind_device: str = "",
    dscp: int = 0,
    payload_bytes: int = 1316,
    max_rate_bps: int = 50_000_000,
    peer_idle_ms: int = 5000,
    connect_timeout_ms: int = 3000,
    receive_timeout_ms: int = 200,
    options: Mapping[str, Value] | None = None,
) -> Socket:
    """Begin to connect; `state` tells how it goes, `wait_connected` waits. A receiver calls `wait_connected` before its first `receive`.

    Without a passphrase the stream is in the clear, and a far end that has one refuses. The key length is the listener's where
    it has one. `host` may be a name: then the name server is asked here, which can take seconds.
    A far end that falls silent counts as gone after `peer_idle_ms`, but libsrt takes 5 s at the least. `options` are further ones
    of `OPTIONS`, set last.
    """
    if len(stream_id.encode()) > 512:
        raise ValueError(f"an SRT stream id has at most 512 bytes; this one has {len(stream_id.encode())}")
    caller = Socket()
    try:
        _prepare(caller, latency_ms, sending, payload_bytes, max_rate_bps, peer_idle_ms, receive_timeout_ms, options)
        _encrypt(caller, passphrase, key_bits)
        caller.set("conntimeo", connect_timeout_ms)
        if stream_id:
            caller.set("streamid", stream_id)
        if dscp:
            caller.set("iptos", dscp << 2)
        family = int(system.AF_UNSPEC)
        if bind_address or bind_port or bind_device:
            family = family_of(resolve(bind_address or host, 0))
            caller.bind(bind_address or ANY_OF_FAMILY[system.AddressFamily(family)], bind_port, bind_device)
        caller.connect(host, port, family)
    except BaseException:
        caller.close()
        raise
    return caller


def open_listener(
    address: str,
    port: int,
    *,
    latency_ms: int,
    sending: bool,
    admit: Admit | None = None,
    passphrase: str = "",
    key_bits: int = 256,
    bind_device: str = "",
    payload_bytes: int = 1316,
    max_rate_bps: int = 50_000_000,
    peer_idle_ms: int = 5000,
    receive_timeout_ms: int = 200,
    backlog: int = 16,
    options: Mapping[str, Value] | None = None,
) -> Listener:
    """Wait for callers. Without `admit` everybody with the passphrase is let in; without a passphrase too, everybody."""
    check_passphrase(passphrase)
    socket = Socket()
    guard: Guard | None = None
    try:
        _prepare(socket, latency_ms, sending, payload_bytes, max_rate_bps, peer_idle_ms, receive_timeout_ms, options)
        # Where `admit` decides, the listener's own passphrase is one that nobody knows and the hook sets the real one: whatever
        # goes wrong between libsrt and the hook (ctypes answers 0, "let in", when it cannot even call it), nobody gets in by it.
        _encrypt(socket, secrets.token_hex(32) if admit else passphrase, key_bits)
        socket.bind(address, port, bind_device)
        if admit and (udp := find(socket.local_address)):
            guard = Guard(udp)
        listener = Listener(socket, sending, admit, passphrase, guard)
        socket.listen(backlog)
    except BaseException:
        socket.close()
        if guard:
            guard.close()
        raise
    return listener


def _prepare(
    socket: Socket,
    latency_ms: int,
    sending: bool,
    payload_bytes: int,
    max_rate_bps: int,
    peer_idle_ms: int,
    receive_timeout_ms: int,
    options: Mapping[str, Value] | None,
) -> None:
    if not 1 <= payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"{payload_bytes} bytes are no SRT payload: 1 to {MAX_PAYLOAD_BYTES} are")
    socket.set("transtype", 0)  # first: it sets many others
    socket.set("sndsyn", False)
    socket.set("rcvsyn", False)
    socket.set("rcvtimeo", receive_timeout_ms)
    socket.set("minversion", MIN_VERSION)
    socket.set("enforcedencryption", True)
    socket.set("latency", latency_ms)
    socket.set("tlpktdrop", True)
    socket.set("peeridletimeo", peer_idle_ms)
    socket.set("payloadsize", payload_bytes)
    # What is sent within the latency must fit, with a second to spare
    packets = max(DEFAULT_PACKETS, (latency_ms + 1000) * max_rate_bps // (8000 * payload_bytes))
    size = packets * (int(socket.get("mss")) - HEADER_BYTES)
    socket.set("fc", packets)  # libsrt lays out its lists of losses for so many, for each socket
    socket.set("sndbuf" if sending else "rcvbuf", size)
    socket.receives = not sending
    for name, value in (options or {}).items():
        socket.set(name, value)


def _encrypt(socket: Socket, passphrase: str, key_bits: int) -> None:
    check_passphrase(passphrase)
    if key_bits not in KEY_BITS:
        raise ValueError(f"{key_bits} is no AES key length: 128, 192 and 256 bits are")
    if passphrase:
        socket.set("pbkeylen", key_bits // 8)
        socket.set("passphrase", passphrase)


class Listener:
    """A UDP port that callers come to. `refused` counts those that `admit` turned away.

    With a `guard` nobody is heard there but who was let in, and who asks to be."""

    def __init__(self, socket: Socket, sending: bool, admit: Admit | None, passphrase: str, guard: Guard | None) -> None:
        self.socket = socket
        self.sending = sending
        self.refused = 0
        self.admission_failures = 0
        self.last_admission_failure = ""
        self._admit = admit
        self._passphrase = passphrase
        self._guard = guard
        self._guarding = threading.Lock()
        self._let_in: deque[Address] = deque(maxlen=MOST_LET_IN)  # some of them are not accepted yet
        self._accepted: list[Socket] = []
        if admit:
            hook = LISTEN_HOOK(self._decide)
            socket.library.hooks[socket.handle] = hook
            if socket.library.cdll.srt_listen_callback(socket.handle, hook, None) != 0:
                raise SrtError("libsrt does not ask before it lets a caller in: this listener would be open to everybody")

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> Address:
        return self.socket.local_address

    def accept(self, timeout_ms: int = 0) -> Socket | None:
        """The next caller, ready to send to or to receive from; None when none came, SrtBroken once the listener is closed.

        -1 waits for ever.
        """
        caller = self.socket.accept(timeout_ms)
        if caller is not None:
            caller.receives = not self.sending
            try:
                caller.set("rcvsyn", caller.receives)
            except SrtError:  # it was gone again before it was taken
                caller.close()
                return None
            self._hear(accepted=caller)
        return caller

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel kept from libsrt."""
        return self._guard.dropped if self._guard else 0

    def _hear(self, *, accepted: Socket | None = None, let_in: Address | None = None) -> None:
        if self._guard is None:
            return
        with self._guarding:
            self._accepted = [socket for socket in self._accepted if not socket.closed]
            if accepted is not None:
                self._accepted.append(accepted)
            if let_in is not None:
                self._let_in.append(let_in)
            self._guard.hear([*self._let_in, *(socket.far_end for socket in self._accepted if socket.far_end)])

    def close(self) -> None:
        """Take no more callers; the sockets of those that came live on."""
        self.socket.close()  # waits for a hook that runs
        if self._guard:
            self._guard.close()
        self.socket.library.hooks.pop(self.socket.handle, None)

    def _decide(self, _opaque: object, handle: int, handshake_version: int, peer: int, stream_id: bytes | None) -> int:
        """libsrt's listen callback: 0 lets in. Nothing may get out of it, for ctypes makes a 0 of every exception."""
        try:
            where = address_of(ctypes.string_at(peer, MAX_BYTES))
            caller = Caller(where.host, where.port, (stream_id or b"").decode(errors="replace"), handshake_version)
            return self._answer(handle, caller)
        except BaseException as failure:
            self.admission_failures += 1
            self.last_admission_failure = type(failure).__name__
            self.socket.library.cdll.srt_setrejectreason(handle, 1500)
            return -1

    def _answer(self, handle: int, caller: Caller) -> int:
        assert self._admit  # noqa: S101
        answer = self._admit(caller)
        lib = self.socket.library.cdll
        if isinstance(answer, Reject):
            lib.srt_setrejectreason(handle, answer.code)
            self.refused += 1
            return -1
        self._hear(let_in=Address(caller.address, caller.port))
        passphrase = (self._passphrase if answer.passphrase is None else answer.passphrase).encode()
        return int(lib.srt_setsockflag(handle, OPTIONS["passphrase"].number, passphrase, len(passphrase)))
