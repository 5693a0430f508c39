"""One SRT socket: options, connection, packets, figures.

A socket sends or receives. Sending never waits (`send` says False when the buffer is full), so a loop can do it. Receiving waits
in libsrt with the interpreter free, so each receiving socket has a thread of its own; `close()` from any other thread ends the wait.
"""

from __future__ import annotations

import ctypes
import math
import os
import socket as system
import time
from enum import IntEnum
from types import TracebackType
from typing import Self

from firmware.net import srtreasons as reasons
from firmware.net.libsrt import EpollEvent, Library, MsgCtrl, SrtError, TraceStats, load
from firmware.net.sockaddr import MAX_BYTES, Address, address_of, family_of, resolve
from firmware.net.srtoptions import MAX_VALUE_BYTES, OPTIONS, Value, decode, encode
from firmware.net.srtport import open_on_device
from firmware.net.srtstatistics import Statistics

MAX_PAYLOAD_BYTES = 1456
LONGEST_WAIT_MS = 100
TRANSITION_S = 0.01
_READABLE, _WRITABLE, _FAILED = 1, 4, 8  # SRT_EPOLL_IN, OUT, ERR


class SrtBroken(SrtError, ConnectionError):
    """The connection is gone, or never was: open another."""


class SrtRefused(SrtBroken, ConnectionRefusedError):
    """The far end did not let us in, or did not answer. `code` is libsrt's reject reason."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class State(IntEnum):
    INIT = 1
    OPENED = 2
    LISTENING = 3
    CONNECTING = 4
    CONNECTED = 5
    BROKEN = 6
    CLOSING = 7
    CLOSED = 8
    NONEXISTENT = 9


def now_ms() -> float:
    return time.monotonic() * 1000


def deadline(timeout_ms: int) -> float:
    return math.inf if timeout_ms < 0 else now_ms() + timeout_ms


class Socket:
    """An SRTSOCKET, with the library's rules made plain."""

    def __init__(self, handle: int | None = None, library: Library | None = None) -> None:
        self.library = library or load()
        self._lib = self.library.cdll
        self.handle: int = self._lib.srt_create_socket() if handle is None else handle
        self.far_end: Address | None = None  # dialled or accepted; outlives the connection
        self.receives = False  # a receiver waits in `receive`, a sender never waits
        self._closed = False
        self._send = self._lib.srt_sendmsg2
        self._receive = self._lib.srt_recvmsg2
        self._buffer = ctypes.create_string_buffer(MAX_PAYLOAD_BYTES)
        self._buffer_at = ctypes.addressof(self._buffer)
        self._control = MsgCtrl(msgttl=-1, pktseq=-1, msgno=-1)
        self._control_at = ctypes.addressof(self._control)

    def __repr__(self) -> str:
        return f"<SRT socket {self.handle} {self.state.name.lower()} {self.far_end or ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # options

    def set(self, name: str, value: Value) -> None:
        """Set one of `srtoptions.OPTIONS`."""
        if OPTIONS[name].when == "never":
            raise SrtError(f"SRT option {name} can only be read")
        raw = encode(name, value)
        if self._lib.srt_setsockflag(self.handle, OPTIONS[name].number, raw, len(raw)) == 0:
            return
        code, words = self._last_error()
        if code in (reasons.EBOUNDSOCK, reasons.ECONNSOCK):
            raise SrtError(f"SRT option {name} cannot be set now: it is set {OPTIONS[name].when}")
        raise SrtError(f"SRT option {name} does not take {'this value' if OPTIONS[name].secret else repr(value)}: {words}")

    def get(self, name: str) -> Value:
        raw, size = ctypes.create_string_buffer(MAX_VALUE_BYTES), ctypes.c_int(MAX_VALUE_BYTES)
        if self._lib.srt_getsockflag(self.handle, OPTIONS[name].number, raw, ctypes.byref(size)) != 0:
            raise SrtError(f"SRT option {name} cannot be read: {self._last_error()[1]}")
        return decode(name, raw.raw[: size.value])

    # connection

    def bind(self, address: str, port: int, device: str = "") -> None:
        """Take a local address and UDP port (0: any), and a network interface whose packets alone count."""
        raw = resolve(address, port)
        if family_of(raw) == system.AF_INET6 and self.get("ipv6only") == -1:
            self.set("ipv6only", 0)  # libsrt wants it said; IPv4 peers are welcome
        if device:
            self._take(open_on_device(address, port, device))
        elif self._lib.srt_bind(self.handle, raw, len(raw)) != 0:
            raise self._not_bound(Address(address, port))

    def _take(self, udp: system.socket) -> None:
        if self._lib.srt_bind_acquire(self.handle, udp.fileno()) != 0:
            where = Address(*udp.getsockname()[:2])
            udp.close()
            raise SrtError(f"{where} cannot be used: {self._last_error()[1]}")
        udp.detach()  # libsrt closes it with the last socket that uses it

    def listen(self, backlog: int = 16) -> None:
        if self._lib.srt_listen(self.handle, backlog) != 0:
            raise self._not_bound(self.local_address)

    def accept(self, timeout_ms: int = 0) -> Socket | None:
        """The next caller that finished its handshake; None when none came. -1 waits for ever."""
        deadline_ms = deadline(timeout_ms)
        while (caller := self._accept()) is None and (left_ms := deadline_ms - now_ms()) > 0:
            self._wait(_READABLE | _FAILED, left_ms)
        return caller

    def _accept(self) -> Socket | None:
        handle = self._lib.srt_accept(self.handle, None, None)
        if handle < 0:
            code, words = self._last_error()
            if self._closed:
                raise SrtBroken("the listener is closed")
            if code in (reasons.EASYNCRCV, reasons.ETIMEOUT):
                return None
            raise SrtBroken(f"the listener failed: {words}")
        caller = Socket(handle, self.library)
        caller.far_end = caller._name(self._lib.srt_getpeername)
        return caller

    def connect(self, host: str, port: int, family: int = system.AF_UNSPEC) -> None:
        """Begin to connect (`rcvsyn` off) or connect (`rcvsyn` on). Names are looked up, which waits."""
        raw = resolve(host, port, family)
        self.far_end = address_of(raw)
        if self._lib.srt_connect(self.handle, raw, len(raw)) != 0:
            code, words = self._last_error()
            if code == reasons.ECONNREJ or self.reject_code:
                raise self.refusal()
            raise SrtBroken(f"no connection to {self.far_end}: {words}")

    def wait_connected(self, timeout_ms: int = -1) -> bool:
        """True once connected, False when `timeout_ms` was not enough, SrtRefused when it will never be.

        -1 waits for the connect time-out.
        """
        deadline_ms = deadline(timeout_ms)
        while self.state is State.CONNECTING and (left_ms := deadline_ms - now_ms()) > 0:
            self._wait(_WRITABLE | _FAILED, left_ms)
        if self.state is State.BROKEN and not self.reject_code:
            time.sleep(TRANSITION_S)  # libsrt calls a socket broken for the instant between connecting and connected
        state = self.state
        if state is State.CONNECTING:
            return False
        if state is not State.CONNECTED:
            raise self.refusal()
        if self.receives:
            self.set("rcvsyn", True)  # not before: libsrt finishes a connection otherwise when receiving waits
        return True

    def _wait(self, events: int, left_ms: float) -> None:
        # Never for long: a socket that fails, or gets a caller, just before it is added here raises no event
        epoll = self._lib.srt_epoll_create()
        try:
            self._lib.srt_epoll_add_usock(epoll, self.handle, ctypes.byref(ctypes.c_int(events)))
            self._lib.srt_epoll_uwait(epoll, ctypes.byref(EpollEvent()), 1, int(min(left_ms + 1, LONGEST_WAIT_MS)))
        finally:
            self._lib.srt_epoll_release(epoll)

    @property
    def state(self) -> State:
        return State(self._lib.srt_getsockstate(self.handle))

    @property
    def reject_code(self) -> int:
        return int(self._lib.srt_getrejectreason(self.handle))

    @property
    def reject_reason(self) -> str:
        """Why the handshake failed, in words."""
        return reasons.rejection(self.reject_code)

    def refusal(self) -> SrtRefused:
        code = self.reject_code
        if self._closed:
            return SrtRefused(f"no connection to {self.far_end}: closed here", code)
        return SrtRefused(f"no connection to {self.far_end}: {reasons.rejection(code)}", code)

    @property
    def local_address(self) -> Address:
        return self._name(self._lib.srt_getsockname)

    @property
    def stream_id(self) -> str:
        return str(self.get("streamid"))

    # packets

    def send(self, data: bytes) -> bool:
        """Hand over one datagram. False: the send buffer is full, nothing was sent and nothing numbered."""
        if self._send(self.handle, data, len(data), None) >= 0:  # no MSGCTRL: libsrt would write the source time of this packet into it
            return True
        code, words = self._last_error()
        if code == reasons.EASYNCSND:
            return False
        if code in (reasons.ELARGEMSG, reasons.EINVALMSGAPI):
            raise ValueError(f"{len(data)} bytes do not fit into one SRT packet; its payloadsize is {self.get('payloadsize')}")
        raise self._broken(code, words)

    def send_as_of(self, data: bytes, source_time_us: int) -> bool:
        """As `send`, of a datagram from a moment ago: microseconds of CLOCK_MONOTONIC, not before the connection and growing."""
        control = self._control  # libsrt writes into it
        control.srctime = source_time_us
        control.pktseq = control.msgno = -1
        control.boundary = 0
        if self._send(self.handle, data, len(data), self._control_at) >= 0:
            return True
        return self.send(data)  # which says what is wrong, or takes it without its time

    def receive(self) -> tuple[bytes, int, int] | None:
        """One datagram, its packet number and its source time; None when `rcvtimeo` went by without one.

        The number has 31 bits, goes up by one from datagram to datagram as they were sent, and so jumps over lost ones. The
        source time is in microseconds of CLOCK_MONOTONIC here: when the datagram was sent, as SRT reckons, plus the latency.
        """
        control = MsgCtrl()
        size = self._receive(self.handle, self._buffer_at, MAX_PAYLOAD_BYTES, ctypes.byref(control))
        if size >= 0:
            return ctypes.string_at(self._buffer_at, size), control.pktseq, control.srctime
        code, words = self._last_error()
        if code in (reasons.EASYNCRCV, reasons.ETIMEOUT):
            return None
        raise self._broken(code, words)

    def statistics(self, clear: bool = False) -> Statistics:
        """Figures of now. `clear` begins the counters anew that count since the last clear."""
        raw = TraceStats()
        if self._lib.srt_bistats(self.handle, ctypes.byref(raw), clear, True) != 0:
            raise self._broken(*self._last_error())
        return Statistics.of(raw)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End the connection and whatever waits in it. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._lib.srt_close(self.handle)

    # words

    def _last_error(self) -> tuple[int, str]:
        system_error = ctypes.c_int()
        code = self._lib.srt_getlasterror(ctypes.byref(system_error))
        words = self._lib.srt_getlasterror_str().decode(errors="replace").strip()
        return code, os.strerror(system_error.value) if system_error.value and code < 5000 else words

    def _not_bound(self, wanted: Address) -> SrtError:
        system_error = ctypes.c_int()
        code = self._lib.srt_getlasterror(ctypes.byref(system_error))
        if code in (reasons.EDUPLISTEN, reasons.EBINDCONFLICT) or os.strerror(system_error.value) == os.strerror(98):
            return SrtError(f"UDP port {wanted.port} of {wanted.host} is in use; choose another port, or end what holds it")
        return SrtError(f"{wanted} cannot be bound: {self._last_error()[1]}")

    def _broken(self, code: int, words: str) -> SrtBroken:
        if self._closed:
            return SrtBroken(f"the connection with {self.far_end} was closed here")
        if code == reasons.ENOCONN and self.reject_code:
            return self.refusal()
        if code == reasons.ENOCONN:
            return SrtBroken(f"there is no connection with {self.far_end}")
        if code in (reasons.ECONNLOST, reasons.EINVSOCK):
            return SrtBroken(f"the connection with {self.far_end} ended: the far end closed it or went silent")
        return SrtBroken(f"the connection with {self.far_end} failed: {words}")

    def _name(self, function: ctypes._NamedFuncPointer) -> Address:
        raw, size = ctypes.create_string_buffer(MAX_BYTES), ctypes.c_int(MAX_BYTES)
        return address_of(raw.raw) if function(self.handle, raw, ctypes.byref(size)) == 0 else Address("", 0)
