"""Programs for the kernel (classic BPF) that say who may be heard at a UDP port, so that nobody else's datagrams take up its buffer.

Without them a flood from elsewhere fills the buffer, the right sender's datagrams find no room, and he seems to be silent.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand

MOST_BLOCKS = 150  # what the kernel lets a program weigh (net.core.optmem_max) holds so many of IPv6
UDP_HEADER = 8  # a socket filter of UDP sees the packet from there
LOAD_BYTE, LOAD_HALF, LOAD_WORD, LOAD_LENGTH = 0x30, 0x28, 0x20, 0x80
AND, SHIFT_RIGHT, JUMP, IF_EQUAL, IF_BITS, IF_AT_LEAST, RETURN = 0x54, 0x74, 0x05, 0x15, 0x45, 0x35, 0x06
WHOLE, NOTHING = 0xFFFF, 0
_IP = 0xFFF00000  # SKF_NET_OFF: the packet from its IP header on
_SOURCE = {4: _IP + 12, 6: _IP + 8}
_SO_ATTACH_FILTER, _SO_MEMINFO = 26, 55  # not in Python's socket module
_DROPS = 8  # SK_MEMINFO_DROPS
_INSTRUCTION = struct.Struct("HBBI")


class Peer(NamedTuple):
    """Somebody far away. `port` 0: any of that address."""

    address: str
    port: int


def program(*, allowed: Iterable[str] | None = None, peers: Iterable[Peer] | None = None, first: Sequence[Instruction] = ()) -> bytes:
    """What `first` does not drop goes on: from `peers` alone, or else who is in the blocks `allowed`; None: everybody."""
    code = list(first)
    if peers is not None:
        code += _among([(ipaddress.ip_network(plain(peer.address)), peer.port) for peer in peers])
    elif allowed is not None:
        blocks = [ipaddress.ip_network(block) for block in allowed]
        if len(blocks) > MOST_BLOCKS:
            raise ValueError(f"allow: {len(blocks)} blocks; up to {MOST_BLOCKS} are possible")
        code += _among([(block, 0) for block in blocks])
    else:
        code.append((RETURN, 0, 0, WHOLE))
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def attach(udp: socket.socket, program: bytes) -> None:
    """What lies in its buffer stays there."""
    buffer = ctypes.create_string_buffer(program, len(program))
    where = struct.pack("HP", len(program) // _INSTRUCTION.size, ctypes.addressof(buffer))
    udp.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, where)


def dropped(udp: socket.socket) -> int:
    """Datagrams that the kernel did not hand over: the program dropped them, or nobody read in time."""
    return int(struct.unpack_from("I", udp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36), _DROPS * 4)[0])


def plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """As it stands in the IP header: without the interface, and an IPv4 address that a socket of IPv6 shows as such."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.ipv4_mapped or found if found.version == 6 else found


def _among(places: list[tuple[Network, int]]) -> list[Instruction]:
    four, six = ([code for block, port in places if block.version == version for code in _match(block, port)] for version in (4, 6))
    drop: Instruction = (RETURN, 0, 0, NOTHING)
    return [
        (LOAD_BYTE, 0, 0, _IP),
        (SHIFT_RIGHT, 0, 0, 4),
        (IF_EQUAL, 1, 0, 4),
        (JUMP, 0, 0, len(four) + 1),
        *four,
        drop,
        *six,
        drop,
    ]


def _match(block: Network, port: int) -> list[Instruction]:
    """Take the packet where it comes from `block` and `port`; else go on behind these instructions."""
    tests: list[list[Instruction]] = []
    net, mask = block.network_address.packed, block.netmask.packed
    for at in range(0, len(net), 4):
        want, bits = (int.from_bytes(part[at : at + 4], "big") for part in (net, mask))
        if bits:
            tests.append([(LOAD_WORD, 0, 0, _SOURCE[block.version] + at), (AND, 0, 0, bits), (IF_EQUAL, 0, 0, want)])
    if port:
        tests.append([(LOAD_HALF, 0, 0, 0), (IF_EQUAL, 0, 0, port)])
    code = [instruction for test in tests for instruction in test] + [(RETURN, 0, 0, WHOLE)]
    return [(op, 0, len(code) - at - 1, k) if op == IF_EQUAL else (op, t, f, k) for at, (op, t, f, k) in enumerate(code)]


class Door:
    """Who is heard at the ports of one end: everybody who may, or one sender alone, whose buffer nobody else can fill."""

    def __init__(self, sockets: Sequence[socket.socket], allow: Sequence[str]) -> None:
        self.sender: tuple[str, int] | None = None
        self._sockets = sockets
        self._everybody = program(allowed=allow if len(allow) <= MOST_BLOCKS else None)  # whoever reads looks at the list as well
        self.open()

    def open(self) -> None:
        self.sender = None
        for udp in self._sockets:
            attach(udp, self._everybody)

    def hold(self, sender: tuple[str, int]) -> None:
        """What comes to the first socket comes from there; to the others, from any port of that address."""
        self.sender = sender
        for place, udp in enumerate(self._sockets):
            attach(udp, program(peers=[Peer(sender[0], 0 if place else sender[1])]))

    @property
    def dropped(self) -> int:
        """At ports that are open."""
        return sum(dropped(udp) for udp in self._sockets if udp.fileno() >= 0)
