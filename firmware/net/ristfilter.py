"""Programs for the kernel (classic BPF) that keep from librist's sockets what librist must not see.

librist reads whatever comes to its port before it knows from whom it is, and some of what can come makes 0.2.7 write past its
buffers: without these programs one spoilt datagram from anywhere ends the process. So the kernel drops at the socket

- what comes from elsewhere: not from the allowlist, or once there is a sender (`Peer`), not from that very address and port;
- what librist would take although it was never encrypted, where it must be: packets that claim a key with the nonce 0 (0.2.7 and
  0.2.11 skip decryption then), and in 0.2.7 those without a sequence number. Whoever may send here by address could put a stream
  of his own in without knowing the passphrase;
- what is too short for the header that it says it has.

Header of a packet, RFC 2784 and 2890 as TR-06-2 uses them: one byte of flags, C 0x80, K 0x20, S 0x10; then version and type;
then 4 bytes checksum with C, 4 bytes nonce with K, 4 bytes sequence number with S.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from typing import NamedTuple

from firmware.net.librist import RistError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_BLOCKS = 150  # what the kernel lets a program weigh (net.core.optmem_max) holds so many of IPv6
UDP_HEADER = 8  # a socket filter of UDP sees the packet from there
_IP = 0xFFF00000  # SKF_NET_OFF: the packet from its IP header on
_SOURCE = {4: _IP + 12, 6: _IP + 8}
_LOAD_BYTE, _LOAD_HALF, _LOAD_WORD, _LOAD_LENGTH = 0x30, 0x28, 0x20, 0x80
_AND, _SHIFT_RIGHT, _JUMP, _IF_EQUAL, _IF_BITS, _IF_AT_LEAST, _RETURN = 0x54, 0x74, 0x05, 0x15, 0x45, 0x35, 0x06
_C, _K, _S = 0x80, 0x20, 0x10
_WHOLE, _NOTHING = 0xFFFF, 0
_LONGEST_HEADER = 16  # flags and type, checksum, nonce, sequence number

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


class Peer(NamedTuple):
    """Somebody far away. `port` 0: any of that address."""

    address: str
    port: int


_ENCRYPTED: list[Instruction] = [
    (_LOAD_LENGTH, 0, 0, 0),
    (_IF_AT_LEAST, 0, 8, UDP_HEADER + _LONGEST_HEADER),  # librist takes the header's length from the packet's without looking
    (_LOAD_BYTE, 0, 0, UDP_HEADER),
    (_IF_BITS, 0, 6, _S),  # no sequence number: drop
    (_IF_BITS, 0, 6, _K),  # no key, but a sequence number: librist itself refuses it, and says so
    (_IF_BITS, 0, 2, _C),
    (_LOAD_WORD, 0, 0, UDP_HEADER + 8),
    (_IF_EQUAL, 2, 3, 0),
    (_LOAD_WORD, 0, 0, UDP_HEADER + 4),
    (_IF_EQUAL, 0, 1, 0),
    (_RETURN, 0, 0, _NOTHING),
]


def program(*, encrypted: bool, allowed: Iterable[str] | None = None, peers: Iterable[Peer] | None = None) -> bytes:
    """For SO_ATTACH_FILTER. `peers` alone, or else who is in the blocks `allowed`; None: everybody."""
    code = list(_ENCRYPTED) if encrypted else []
    if peers is not None:
        code += _among([(ipaddress.ip_network(plain(peer.address)), peer.port) for peer in peers])
    elif allowed is not None:
        blocks = [ipaddress.ip_network(block) for block in allowed]
        if len(blocks) > MOST_BLOCKS:
            raise RistError(f"allow: {len(blocks)} blocks; a RIST source takes up to {MOST_BLOCKS}")
        code += _among([(block, 0) for block in blocks])
    else:
        code.append((_RETURN, 0, 0, _WHOLE))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """As it stands in the IP header: without the interface, and an IPv4 address that a socket of IPv6 shows as such."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return found.ipv4_mapped or found if found.version == 6 else found


def _among(places: list[tuple[Network, int]]) -> list[Instruction]:
    four, six = ([code for block, port in places if block.version == version for code in _match(block, port)] for version in (4, 6))
    drop: Instruction = (_RETURN, 0, 0, _NOTHING)
    return [
        (_LOAD_BYTE, 0, 0, _IP),
        (_SHIFT_RIGHT, 0, 0, 4),
        (_IF_EQUAL, 1, 0, 4),
        (_JUMP, 0, 0, len(four) + 1),
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
            tests.append([(_LOAD_WORD, 0, 0, _SOURCE[block.version] + at), (_AND, 0, 0, bits), (_IF_EQUAL, 0, 0, want)])
    if port:
        tests.append([(_LOAD_HALF, 0, 0, 0), (_IF_EQUAL, 0, 0, port)])
    code = [instruction for test in tests for instruction in test] + [(_RETURN, 0, 0, _WHOLE)]
    return [(op, 0, len(code) - at - 1, k) if op == _IF_EQUAL else (op, t, f, k) for at, (op, t, f, k) in enumerate(code)]
