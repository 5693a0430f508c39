"""UDP sockets of a flow: opened with what a path needs, with errors that name the port."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from firmware.model import is_public

BUFFER_BYTES = 4 << 20  # about 3 s of 10 Mb/s, so that a busy moment loses nothing

SO_RCVBUFFORCE = 33  # these are not in Python's socket module
UDP_SEGMENT = 103


class UdpError(OSError):
    """A UDP socket that cannot be had, in one sentence."""


class Sender(socket.socket):
    """A UDP socket that can send many datagrams in one call: the kernel, or the network card, cuts them."""

    cut_bytes = 0  # what the kernel cuts into by now; 0: it does not. An option of the socket, for to say it with each send costs 2 us

    def send_one(self, datagram: bytes) -> int:
        """As it is, however long."""
        if self.cut_bytes and len(datagram) > self.cut_bytes:
            self._cut_into(0)
        return self.send(datagram)

    def send_cut_up(self, data: bytes, size: int) -> int:
        """Datagrams of `size` bytes each; the last may be shorter."""
        if size != self.cut_bytes:
            self._cut_into(size)
        return self.send(data)

    def _cut_into(self, size: int) -> None:
        self.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        self.cut_bytes = size


def open_receiver(address: str, port: int, interface: str = "") -> socket.socket:
    """A non-blocking socket on `address`; a multicast group is joined on the interface with that local address."""
    group = ipaddress.ip_address(address)
    family = socket.AF_INET6 if group.version == 6 else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        enlarge_receive_buffer(udp, BUFFER_BYTES)
        if group.is_multicast:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((address, port))
        if group.is_multicast:
            _join(udp, group, interface)
    except OSError as error:
        udp.close()
        raise UdpError(_in_words(error, address, port)) from None
    udp.setblocking(False)
    return udp


def open_sender(
    host: str, port: int, *, bind_address: str = "", bind_device: str = "", ttl: int = 16, dscp: int = 0, private: bool = True
) -> Sender:
    """A non-blocking socket connected to `host`. A name is looked up, which waits. Not `private`: no public address is sent to."""
    try:
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except socket.gaierror:
        raise UdpError(f"{host} cannot be found: check the name, or write an IP address") from None
    if not private and is_public(str(target[0])):
        raise UdpError(f"{host} is a public address, and this would go there in the clear; give a secret (SRTP), or set `clear: true`")
    udp = Sender(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        if bind_device:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bind_device.encode())
        if family == socket.AF_INET:
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
            udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            if bind_address:  # a multicast datagram leaves by the interface with this address
                udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(bind_address))
        else:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
        if bind_address:
            udp.bind((bind_address, 0))
        udp.connect(target)
    except OSError as error:
        udp.close()
        what = f"interface {bind_device}: {os.strerror(error.errno or 0)}" if bind_device else _in_words(error, bind_address or host, port)
        raise UdpError(what) from None
    udp.setblocking(False)
    return udp


def is_ours(address: str) -> bool:
    """True while the address is one of this machine."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def enlarge_receive_buffer(udp: socket.socket, size_bytes: int) -> None:
    """As large as asked for where we may (CAP_NET_ADMIN), else as large as the system's limit `net.core.rmem_max` allows."""
    try:
        udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size_bytes)
    except PermissionError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)


def _join(udp: socket.socket, group: ipaddress.IPv4Address | ipaddress.IPv6Address, interface: str) -> None:
    if group.version == 4:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group.packed + ipaddress.ip_address(interface or "0.0.0.0").packed)  # noqa: S104
    else:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + (0).to_bytes(4, "little"))


def _in_words(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"UDP port {port} of {address} is in use; choose another port, or end what holds it"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is no address of this machine; `ip address` lists those that are"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"UDP port {port} of {address} is not permitted; ports from 1024 up are free for everybody"
    return f"{address} port {port}: {error.strerror}"
