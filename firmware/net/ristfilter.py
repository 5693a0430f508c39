"""What librist must not see, kept from its sockets by the kernel: `portfilter`'s programs, and more where it must be encrypted.

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

from collections.abc import Iterable

from firmware.net import portfilter
from firmware.net.portfilter import (
    IF_AT_LEAST,
    IF_BITS,
    IF_EQUAL,
    LOAD_BYTE,
    LOAD_LENGTH,
    LOAD_WORD,
    NOTHING,
    RETURN,
    UDP_HEADER,
    Instruction,
    Peer,
)

_C, _K, _S = 0x80, 0x20, 0x10
_LONGEST_HEADER = 16  # flags and type, checksum, nonce, sequence number

_ENCRYPTED: list[Instruction] = [
    (LOAD_LENGTH, 0, 0, 0),
    (IF_AT_LEAST, 0, 8, UDP_HEADER + _LONGEST_HEADER),  # librist takes the header's length from the packet's without looking
    (LOAD_BYTE, 0, 0, UDP_HEADER),
    (IF_BITS, 0, 6, _S),  # no sequence number: drop
    (IF_BITS, 0, 6, _K),  # no key, but a sequence number: librist itself refuses it, and says so
    (IF_BITS, 0, 2, _C),
    (LOAD_WORD, 0, 0, UDP_HEADER + 8),
    (IF_EQUAL, 2, 3, 0),
    (LOAD_WORD, 0, 0, UDP_HEADER + 4),
    (IF_EQUAL, 0, 1, 0),
    (RETURN, 0, 0, NOTHING),
]


def program(*, encrypted: bool, allowed: Iterable[str] | None = None, peers: Iterable[Peer] | None = None) -> bytes:
    """`peers` alone, or else who is in the blocks `allowed`; None: everybody."""
    return portfilter.program(allowed=allowed, peers=peers, first=_ENCRYPTED if encrypted else ())
