"""Which way a packet to an address would leave, and whether two ways are one."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from typing import NamedTuple

from firmware.net import rtnetlink

_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_UINT = struct.Struct("=I")
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MARK, _RTA_VIA = 1, 2, 4, 5, 7, 16, 18
_RTM_F_FIB_MATCH = 0x2000
_LOOPBACK = "lo"


class RouteError(OSError):
    """There is no way to an address, in one sentence."""


class Way(NamedTuple):
    """`gateway` is empty for an address on the interface's own network, `source` the address that packets leave with."""

    interface: str
    gateway: str
    source: str


def way_to(address: str, *, bind_address: str = "", bind_device: str = "", mark: int = 0) -> Way:
    """As the kernel would route it now, for a socket bound so. An address, no name. RouteError says why there is no way."""
    to = _ip("address", address)
    device = bind_device or getattr(to, "scope_id", None) or ""
    wish = rtnetlink.attribute(_RTA_DST, to.packed)
    if bind_address:
        source = _ip("bind_address", bind_address)
        if source.version != to.version:
            raise RouteError(f"bind_address: {bind_address} cannot reach {address}; both must be IPv4, or both IPv6")
        _check_ours(bind_address, source.version)
        wish += rtnetlink.attribute(_RTA_SRC, source.packed)
    if device:
        wish += rtnetlink.attribute(_RTA_OIF, _UINT.pack(_index(device)))
    if mark:
        wish += rtnetlink.attribute(_RTA_MARK, _UINT.pack(mark))
    lengths = (to.max_prefixlen, to.max_prefixlen if bind_address else 0)
    try:
        if device and to.version == 4:
            # IPv4 takes every address for a neighbour on the device a socket is bound to when no route says otherwise
            _ask(socket.AF_INET, lengths, _RTM_F_FIB_MATCH, wish)
        return _way(_ask(socket.AF_INET6 if to.version == 6 else socket.AF_INET, lengths, 0, wish))
    except OSError as error:
        raise RouteError(_in_words(error, address, device)) from None


def same_way(a: Way, b: Way) -> str:
    """What the two share, in one sentence; empty when one cut cannot take both as far as this machine can see."""
    if a.interface == b.interface == _LOOPBACK:
        return ""  # both ends are here: nothing to cut
    if a.interface == b.interface:
        if a.gateway != b.gateway:
            gateways = " and ".join(way.gateway or "its own network" for way in (a, b))
            return f"both paths leave by {a.interface}, through {gateways}: one cut cable takes both"
        through = f" through {a.gateway}" if a.gateway else ""
        return f"both paths leave by {a.interface}{through}: one cut takes both"
    if a.gateway and a.gateway == b.gateway and not ipaddress.ip_address(a.gateway).is_link_local:  # fe80::1 is another on each link
        return f"both paths go through {a.gateway}, by {a.interface} and {b.interface}: if that is one router, it takes both when it fails"
    return ""


def _ask(family: int, lengths: tuple[int, int], flags: int, wish: bytes) -> bytes:
    header = _ROUTE.pack(family, *lengths, 0, 0, 0, 0, 0, flags)
    for message in rtnetlink.ask(rtnetlink.GETROUTE, header + wish):
        if message.kind == rtnetlink.NEWROUTE:
            return message.body
    raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


def _way(answer: bytes) -> Way:
    found = rtnetlink.attributes(answer, _ROUTE.size)
    gateway = found.get(_RTA_GATEWAY, b"")
    via = found.get(_RTA_VIA, b"")  # struct rtvia: an IPv6 gateway for IPv4
    interface = socket.if_indextoname(_UINT.unpack(found[_RTA_OIF])[0]) if _RTA_OIF in found else ""
    return Way(interface, _text(gateway) or _text(via[2:]), _text(found.get(_RTA_PREFSRC, b"")))


def _text(raw: bytes) -> str:
    return str(ipaddress.ip_address(raw)) if len(raw) in (4, 16) else ""


def _ip(key: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise RouteError(f"{key}: `{text}` is no IP address; write one like 192.0.2.7") from None


def _check_ours(address: str, version: int) -> None:
    """The kernel says of a source address that is not ours only that there is no route."""
    with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            raise RouteError(f"bind_address: {address} is no address of this machine; `ip address` lists those that are") from None


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        raise RouteError(f"bind_device: there is no network interface {device}; `ip link` lists those there are") from None


def _in_words(error: OSError, address: str, device: str) -> str:
    by = f" by {device}" if device else ""
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"{address} cannot be reached{by}: there is no route to it; is the link up, and has it a gateway?"
    if error.errno in (errno.EACCES, errno.EINVAL):
        return f"{address} cannot be reached{by}: a route of this machine forbids it"
    return f"{address} cannot be reached{by}: {error.strerror}"
