"""What librist leaves open about its UDP sockets, closed from outside.

- It opens listening ports with SO_REUSEADDR: a second program takes the same port, and nobody is told.
- Its sending sockets block: a full interface queue would hold up whoever sends.
- It binds a sending socket to no address and no device.
- With a passphrase set it takes some packets that were never encrypted: those that claim a key with the nonce 0 (0.2.7 and
  0.2.11 skip decryption then), and in 0.2.7 those without a sequence number. Whoever may send here by address could put a
  stream of his own in without knowing the passphrase. A filter in the kernel drops both kinds.

Header of a packet, RFC 2784 and 2890 as TR-06-2 uses them: one byte of flags, C 0x80, K 0x20, S 0x10; then version and type;
then 4 bytes checksum with C, 4 bytes nonce with K, 4 bytes sequence number with S.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from contextlib import suppress

from firmware.net.librist import RistError
from firmware.net.sockaddr import ANY_OF_FAMILY, Address

SO_ATTACH_FILTER, SO_MEMINFO = 26, 55  # not in Python's socket module
DROPS = 8  # SK_MEMINFO_DROPS
UDP_HEADER = 8  # a socket filter of UDP sees the packet from there

_LOAD_BYTE, _LOAD_WORD, _IF_BITS, _IF_EQUAL, _RETURN = 0x30, 0x20, 0x45, 0x15, 0x06  # classic BPF
_C, _K, _S = 0x80, 0x20, 0x10
_WHOLE, _NOTHING = 0xFFFF, 0

_PROGRAM = (  # code, jump if true, jump if false, operand
    (_LOAD_BYTE, 0, 0, UDP_HEADER),
    (_IF_BITS, 0, 7, _S),  # no sequence number: drop
    (_IF_BITS, 0, 5, _K),  # no key, but a sequence number: librist itself refuses it, and says so
    (_IF_BITS, 0, 2, _C),
    (_LOAD_WORD, 0, 0, UDP_HEADER + 8),
    (_IF_EQUAL, 3, 2, 0),
    (_LOAD_WORD, 0, 0, UDP_HEADER + 4),
    (_IF_EQUAL, 1, 0, 0),
    (_RETURN, 0, 0, _WHOLE),
    (_RETURN, 0, 0, _NOTHING),
)


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

    def refuse_unencrypted(self) -> None:
        program = b"".join(struct.pack("HBBI", *instruction) for instruction in _PROGRAM)
        buffer = ctypes.create_string_buffer(program, len(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(_PROGRAM), ctypes.addressof(buffer)))
        with suppress(BlockingIOError):  # what came before the filter
            while True:
                self._socket.recv(1)

    @property
    def dropped(self) -> int:
        """By the filter, or because nobody read in time."""
        with suppress(OSError):  # closed meanwhile
            self._dropped = struct.unpack_from("I", self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36), DROPS * 4)[0]
        return self._dropped

    def close(self) -> None:
        self._socket.close()
