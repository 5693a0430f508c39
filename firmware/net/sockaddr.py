"""Addresses as C wants them: struct sockaddr_in and sockaddr_in6."""

from __future__ import annotations

import socket
import sys
from typing import NamedTuple

MAX_BYTES = 28  # sizeof(struct sockaddr_in6)
ANY_OF_FAMILY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def resolve(host: str, port: int, family: int = socket.AF_UNSPEC) -> bytes:
    """The struct for a host and port. Anything but a numeric address asks the name server, which can take seconds."""
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is not a port: ports are 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
    except (socket.gaierror, UnicodeError) as failure:
        raise OSError(f"{host} cannot be found: {failure.args[-1]}") from None
    kind, _, _, _, place = found[0]
    ip = socket.inet_pton(kind, str(place[0]).partition("%")[0])
    head = int(kind).to_bytes(2, sys.byteorder) + port.to_bytes(2, "big")
    if kind == socket.AF_INET:
        return head + ip + bytes(8)
    scope = int(place[3]) if len(place) == 4 else 0
    return head + bytes(4) + ip + scope.to_bytes(4, sys.byteorder)


def family_of(raw: bytes) -> int:
    return int.from_bytes(raw[:2], sys.byteorder)


def address_of(raw: bytes) -> Address:
    """Host and port out of the struct; an IPv4 peer of a dual-stack socket is shown as IPv4."""
    family = family_of(raw)
    if family not in ANY_OF_FAMILY:
        return Address("", 0)
    ip = raw[4:8] if family == socket.AF_INET else raw[8:24]
    return Address(socket.inet_ntop(family, ip).removeprefix("::ffff:"), int.from_bytes(raw[2:4], "big"))
