"""rtnetlink: what the kernel says of interfaces, addresses and routes (rtnetlink(7), linux/rtnetlink.h)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26

_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 1, 0x300
_TYPE_BITS = 0x3FFF  # the others say "nested" and "big-endian"
_ANSWER_S = 2.0  # the kernel answers inside the question; this only guards against waiting for ever
BUFFER_BYTES = 1 << 16

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_ERRNO = struct.Struct("=i")


class Message(NamedTuple):
    kind: int
    body: bytes


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram; one that is cut short ends them."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield Message(kind, data[at + _HEADER.size : at + length])
        at += length + 3 & ~3


def attributes(body: bytes, at: int) -> dict[int, bytes]:
    """Attributes by type, from offset `at` on, which is the size of the family's own header."""
    found = {}
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size or at + length > len(body):
            break
        found[kind & _TYPE_BITS] = body[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute; every value here is a multiple of 4 bytes, so none needs padding."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def open_socket(groups: int = 0) -> socket.socket:
    """Needs no privilege."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    opened.bind((0, groups))
    return opened


def ask(kind: int, body: bytes, *, everything: bool = False) -> list[Message]:
    """What the kernel answers; OSError with its error number. `everything` asks for all there are of a kind."""
    with open_socket() as asking:
        asking.settimeout(_ANSWER_S)
        flags = _REQUEST | (_DUMP if everything else 0)
        asking.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)
        answers: list[Message] = []
        while True:
            for message in messages(asking.recv(BUFFER_BYTES)):
                if message.kind == _DONE:
                    return answers
                if message.kind == _ERROR:
                    _raise(message.body)
                answers.append(message)
            if not everything:
                return answers


def _raise(body: bytes) -> None:
    number = -_ERRNO.unpack_from(body)[0]
    raise OSError(number, os.strerror(number))
