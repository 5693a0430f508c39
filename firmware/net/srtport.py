"""UDP ports that are opened here and handed to libsrt: bound to a device, and guarded by the kernel.

libsrt reads whatever comes to its port before it knows from whom it is. A flood fills the buffer that its callers' packets need, and
keeps its thread from them. So the kernel hands over two kinds of datagrams of a guarded port and drops the others: all that callers
send who were let in, each by its address and port; and from everybody else, what asks for a connection: a control packet of type 0
(handshake) for socket 0, the only thing that a stranger rightly says (draft-sharabayko-srt, 3.2.1).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import suppress

from firmware.net import portfilter
from firmware.net.libsrt import SrtError
from firmware.net.portfilter import IF_EQUAL, LOAD_WORD, RETURN, UDP_HEADER, WHOLE, Instruction, Peer
from firmware.net.sockaddr import Address

MOST_PEERS = portfilter.MOST_BLOCKS

_ASKS: list[Instruction] = [
    (LOAD_WORD, 0, 0, UDP_HEADER + 12),  # socket; what is too short for it is dropped
    (IF_EQUAL, 0, 3, 0),
    (LOAD_WORD, 0, 0, UDP_HEADER),
    (IF_EQUAL, 0, 1, 0x8000_0000),
    (RETURN, 0, 0, WHOLE),
]


def open_port(address: str, port: int, device: str = "") -> socket.socket:
    """A UDP socket for libsrt. SrtError in words where it cannot be had."""
    where = f"{Address(address, port)}{f' on network interface {device}' if device else ''}"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 peers are welcome
        if device:  # not by SRTO_BINDTODEVICE: that one takes no IPv6 and reports every failure alike
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        udp.bind((address, port))
    except OSError as failure:
        udp.close()
        if failure.errno == errno.EADDRINUSE:
            raise SrtError(f"UDP port {port} of {address} is in use; choose another port, or end what holds it") from None
        if isinstance(failure, PermissionError) and device:
            raise SrtError(f"binding to network interface {device} is not permitted; it needs CAP_NET_RAW") from None
        raise SrtError(f"{where} cannot be {'used' if device else 'bound'}: {failure.strerror}") from None
    return udp


class Guard:
    """Of a port that libsrt has: who may say more there than to ask for a connection. It keeps a descriptor of its own."""

    def __init__(self, udp: socket.socket) -> None:
        self._udp = udp
        self._dropped = 0
        self.hear(())

    def hear(self, peers: Iterable[Address]) -> None:
        """These alone from now on. They are heard all the same where they are more than the kernel can tell apart, and so is everybody."""
        known = {Peer(*peer) for peer in peers}
        few = len(known) <= MOST_PEERS
        portfilter.attach(self._udp, portfilter.program(peers=known if few else None, first=_ASKS))

    @property
    def dropped(self) -> int:
        """Datagrams, by the kernel: nobody's, or nobody read them in time."""
        with suppress(OSError):  # closed meanwhile
            self._dropped = portfilter.dropped(self._udp)
        return self._dropped

    def close(self) -> None:
        self._udp.close()
