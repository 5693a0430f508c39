"""libsrt's UDP ports: bound to a device, and guarded by the kernel.

libsrt reads whatever comes to its port before it knows from whom it is. A flood fills the buffer that its callers' packets need, and
keeps its thread from them. So the kernel hands over two kinds of datagrams of a guarded port and drops the others: all that callers
send who were let in, each by its address and port; and from everybody else, what asks for a connection: a control packet of type 0
(handshake) for socket 0, the only thing that a stranger rightly says (draft-sharabayko-srt, 3.2.1).
"""

from __future__ import annotations

import os
import socket
import stat
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


def open_on_device(address: str, port: int, device: str) -> socket.socket:
    """A UDP socket for libsrt that hears and uses this network interface alone. SrtError in words where it cannot be had.

    Not by SRTO_BINDTODEVICE: that one takes no IPv6 and reports every failure alike."""
    udp = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        udp.bind((address, port))
    except PermissionError:
        udp.close()
        raise SrtError(f"binding to network interface {device} is not permitted; it needs CAP_NET_RAW") from None
    except OSError as failure:
        udp.close()
        raise SrtError(f"{Address(address, port)} on network interface {device} cannot be used: {failure.strerror}") from None
    return udp


def find(place: Address) -> socket.socket | None:
    """The UDP socket of this process that is bound there, with a descriptor of its own. libsrt tells nobody which is its."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with suppress(OSError):  # closed meanwhile
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                found = socket.socket(fileno=os.dup(descriptor))
                if _is_udp_at(found, place):
                    return found
                found.close()
    return None


def _is_udp_at(found: socket.socket, place: Address) -> bool:
    if found.type != socket.SOCK_DGRAM or found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host, port = found.getsockname()[:2]
    return Address(host.removeprefix("::ffff:"), port) == place


class Guard:
    """Of a port that libsrt has: who may say more there than to ask for a connection."""

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
