"""What librist leaves open about its UDP sockets, closed from outside.

- It opens listening ports with SO_REUSEADDR: a second program takes the same port, and nobody is told.
- Its sending sockets block: a full interface queue would hold up whoever sends.
- It binds a sending socket to no address and no device.
- It marks no packet for the network's queues.
- It reads what anybody sends to them: `ristfilter` says what the kernel keeps away.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import socket
import struct
import time
from contextlib import suppress

from firmware.net.librist import RistError
from firmware.net.portfilter import attach, dropped
from firmware.net.sockaddr import ANY_OF_FAMILY, Address

SIOCGSTAMP = 0x8906  # not in Python's socket module


def check_free(address: str, port: int) -> None:
    """RistError in words where the port cannot be had."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError as failure:
            if failure.errno == 98:
                raise RistError(f"UDP port {port} of {address} is in use; choose another port, or end what holds it") from None
            raise RistError(f"{Address(address, port)} cannot be bound: {failure.strerror}") from None


class Taken:
    """One of librist's sockets, by its descriptor. librist closes it."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._descriptor = descriptor
        self._dropped = 0
        self.program = b""  # in the kernel
        self._since = time.monotonic()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)

    def bind(self, address: str, device: str) -> None:
        """Put a socket with this local address and device in its place."""
        where = f"{address or 'any address'}{f' on network interface {device}' if device else ''}"
        with socket.socket(self._socket.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as bound:
            try:
                if device:
                    bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
                bound.bind((address or ANY_OF_FAMILY[self._socket.family], 0))
            except OSError as failure:
                raise RistError(f"{where} cannot be used: {failure.strerror}") from None
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                bound.setsockopt(socket.SOL_SOCKET, option, self._socket.getsockopt(socket.SOL_SOCKET, option) // 2)
            bound.setblocking(False)
            os.dup2(bound.fileno(), self._descriptor, inheritable=False)
        self._socket.close()
        self._socket = socket.socket(fileno=os.dup(self._descriptor))

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def mark(self, dscp: int) -> None:
        if self._socket.family == socket.AF_INET:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
        else:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)

    def hear_only(self, program: bytes) -> None:
        """From now on what the program lets through, and nothing of what came before."""
        self.program = program
        attach(self._socket, program)
        with suppress(OSError):
            while True:
                self._socket.recv(1)

    def silent_s(self) -> float:
        """How long nothing came that librist took; since the first time somebody asked."""
        stamp = bytearray(16)
        try:
            fcntl.ioctl(self._socket.fileno(), SIOCGSTAMP, stamp)
        except OSError:
            return time.monotonic() - self._since  # nothing came so far
        seconds, micros = struct.unpack("ll", stamp)
        return max(0.0, time.time() - float(seconds + micros / 1e6))

    @property
    def dropped(self) -> int:
        """By the filter, or because nobody read in time."""
        with suppress(OSError):  # closed meanwhile
            self._dropped = dropped(self._socket)
        return self._dropped

    def close(self) -> None:
        self._socket.close()


def source_port(peer: int, address: str) -> int:
    """The UDP port of somebody who connects; 0 where it cannot be told.

    0.2.7 hands over two letters of the address in its place. It is in librist's `struct rist_peer`, whose layout is nobody's business:
    in there, in as much memory as malloc gave for it, stands the socket address, and of that all but the port is known.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    host = socket.inet_pton(family, address.partition("%")[0])
    between = b".{4}" if family == socket.AF_INET6 else b""  # flow information
    pattern = re.escape(struct.pack("=H", family)) + b"(..)" + between + re.escape(host)
    libc = ctypes.CDLL(None)
    libc.malloc_usable_size.restype, libc.malloc_usable_size.argtypes = ctypes.c_size_t, (ctypes.c_void_p,)
    found = set(re.findall(pattern, ctypes.string_at(peer, libc.malloc_usable_size(peer)), re.DOTALL))
    return int.from_bytes(found.pop(), "big") if len(found) == 1 else 0
