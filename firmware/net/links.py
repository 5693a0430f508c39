"""What happens to this machine's links: up, down, addresses that come and go, default routes. For a select loop.

The kernel repeats itself: a lease that is renewed is an address "added" again, and every statistic of a radio is a link
that "changed". So what is known is kept, and only a difference is told.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Literal, NamedTuple, Self

from firmware.net import rtnetlink
from firmware.net.rtnetlink import DELADDR, DELLINK, DELROUTE, NEWADDR, NEWLINK, NEWROUTE

LINK, IPV4_ADDRESS, IPV4_ROUTE, IPV6_ADDRESS, IPV6_ROUTE = 1, 0x10, 0x40, 0x100, 0x400  # RTMGRP_…
GROUPS = LINK | IPV4_ADDRESS | IPV4_ROUTE | IPV6_ADDRESS | IPV6_ROUTE
BURST = 64  # messages in one read; select says at once that there are more
MOST_QUEUED = 10_000  # small messages in a receive buffer of the usual size

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_UINT = struct.Struct("=I")

_IFLA_IFNAME = 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_RTA_OIF, _RTA_GATEWAY = 4, 5
_IFF_RUNNING = 0x40  # up, and with a carrier
_IFA_F_UNUSABLE = 0x08 | 0x40  # duplicate address detection failed, or still runs
_RTM_F_CLONED = 0x200
_UNICAST = 1

Kind = Literal["link up", "link down", "address added", "address removed", "route", "unknown"]


class Change(NamedTuple):
    """`unknown`: too much happened at once, so look at everything again.

    `route`: a default route came or went, or was only renewed; `address` is its gateway. Ask `routes.way_to` what it means.
    """

    kind: Kind
    interface: str = ""
    address: str = ""


class LinkWatch:
    """`read` never waits and needs no privilege; the constructor raises OSError where AF_NETLINK is not allowed."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._up: set[int] = set()
        self._addresses: set[tuple[int, str]] = set()
        self._socket = rtnetlink.open_socket(GROUPS)
        self._socket.setblocking(False)
        self._learn()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> list[Change]:
        """What changed since the last time; empty when nothing did that matters."""
        changes: list[Change] = []
        for _ in range(BURST):
            try:
                data, sender = self._socket.recvfrom(rtnetlink.BUFFER_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                return self._start_again()  # the kernel threw messages away, and those that are left tell half a story
            if sender[0] == 0:  # from the kernel itself
                for message in rtnetlink.messages(data):
                    change = self._change(*message)
                    if change is not None:
                        changes.append(change)
        return changes

    def _start_again(self) -> list[Change]:
        for _ in range(MOST_QUEUED):
            try:
                self._socket.recv(rtnetlink.BUFFER_BYTES)
            except BlockingIOError:
                break
            except OSError:  # it ran over once more, while we were at it
                continue
        self._learn()
        return [Change("unknown")]

    def _learn(self) -> None:
        """How things are now. The subscription runs already, so that nothing is missed in between."""
        self._names.clear()
        self._up.clear()
        self._addresses.clear()
        for kind, header in ((rtnetlink.GETLINK, _LINK), (rtnetlink.GETADDR, _ADDRESS)):
            try:
                answers = rtnetlink.ask(kind, bytes(header.size), everything=True)
            except OSError:  # then everything that is told next counts as a change, which costs a look and no more
                return
            for message in answers:
                self._change(*message)

    def _change(self, kind: int, body: bytes) -> Change | None:
        if kind in (NEWLINK, DELLINK) and len(body) >= _LINK.size:
            return self._link(kind, body)
        if kind in (NEWADDR, DELADDR) and len(body) >= _ADDRESS.size:
            return self._address(kind, body)
        if kind in (NEWROUTE, DELROUTE) and len(body) >= _ROUTE.size:
            return self._route(body)
        return None

    def _link(self, kind: int, body: bytes) -> Change | None:
        family, _, index, flags, _ = _LINK.unpack_from(body)
        if family != socket.AF_UNSPEC:  # of a bridge: the port leaves the bridge, not the machine
            return None
        name = rtnetlink.attributes(body, _LINK.size).get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        self._names[index] = name
        was_up, up = index in self._up, kind == NEWLINK and bool(flags & _IFF_RUNNING)
        if kind == DELLINK:
            del self._names[index]
        if up == was_up:
            return None
        (self._up.add if up else self._up.discard)(index)
        return Change("link up" if up else "link down", name)

    def _address(self, kind: int, body: bytes) -> Change | None:
        family, _, flags, _, index = _ADDRESS.unpack_from(body)
        found = rtnetlink.attributes(body, _ADDRESS.size)
        raw = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
        if len(raw) != (4 if family == socket.AF_INET else 16):
            return None
        flags |= int.from_bytes(found.get(_IFA_FLAGS, b""), sys.byteorder)
        name, address = self._names.get(index, ""), socket.inet_ntop(family, raw)
        known = (index, address) in self._addresses
        if kind == DELADDR and known:
            self._addresses.discard((index, address))
            return Change("address removed", name, address)
        if kind == NEWADDR and not known and not flags & _IFA_F_UNUSABLE:
            self._addresses.add((index, address))
            return Change("address added", name, address)
        return None

    def _route(self, body: bytes) -> Change | None:
        family, to_bits, *_, kind, flags = _ROUTE.unpack_from(body)
        if to_bits or kind != _UNICAST or flags & _RTM_F_CLONED:
            return None
        found = rtnetlink.attributes(body, _ROUTE.size)
        out, gateway = found.get(_RTA_OIF, b""), found.get(_RTA_GATEWAY, b"")
        name = self._names.get(_UINT.unpack(out)[0], "") if len(out) == _UINT.size else ""
        return Change("route", name, socket.inet_ntop(family, gateway) if len(gateway) in (4, 16) else "")
