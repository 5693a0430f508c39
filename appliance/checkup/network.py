"""Links, addresses, ways out, and what listens."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from appliance.checkup.check import Check
from firmware.net import rtnetlink
from hw.sysfs import children, link_name, read_number, read_text

_IFADDRMSG_BYTES, _IFA_ADDRESS, _IFA_LOCAL = 8, 1, 2
_LISTENS, _OPEN = "0A", "07"  # states of TCP and UDP, linux/net/tcp_states.h
_NOT_CABLES = (
    "lo",
    "docker",
    "veth",
    "br-",
    "virbr",
    "tun",
    "tap",
    "wg",
    "dummy",
    "sit",
    "ip6tnl",
    "gre",
    "erspan",
    "ip_vti",
    "ip6_vti",
    "tunl",
)


class Port(NamedTuple):
    protocol: str
    address: str
    port: int
    program: str

    @property
    def is_open_to_others(self) -> bool:
        return not ipaddress.ip_address(self.address).is_loopback


def network_checks(root: Path) -> Iterator[Check]:
    if not (root / "proc/net/route").exists():
        return
    addresses = _addresses() if root == Path("/") else {}
    ways = default_interfaces(root)
    up = 0
    for link in children(root / "sys/class/net"):
        if link.name.startswith(_NOT_CABLES) or not link.is_dir():
            continue
        carrier = read_number(link / "carrier") == 1
        up += carrier
        yield Check("network", "ok" if carrier else "note", _link_words(link, carrier, addresses.get(link.name, []), link.name in ways))
    yield from _ways_out(ways, up)
    yield from _port_checks(root)


def _link_words(link: Path, carrier: bool, addresses: list[str], is_way_out: bool) -> str:
    kind = "Wi-Fi" if (link / "wireless").is_dir() or (link / "phy80211").exists() else link_name(link / "device/driver")
    speed = read_number(link / "speed")
    parts = [kind, f"{speed} Mb/s" if carrier and speed and speed > 0 else "", "a way out" if is_way_out else "", *addresses]
    return f"{link.name}: {'connected' if carrier else 'nothing connected'}" + "".join(f", {part}" for part in parts if part) + "."


def _ways_out(ways: list[str], up: int) -> Iterator[Check]:
    if not ways:
        advice = (
            "Plug a cable in, or join a Wi-Fi." if not up else "The network gave no gateway: ask who runs it for DHCP, or set an address."
        )
        yield Check("network", "warning", "There is no way out of this machine: no default route.", advice)
    elif len(set(ways)) == 1:
        words = f"There is one way out, {ways[0]}: two paths of a stream would share it, and one cut would take both."
        yield Check("network", "note", words, "A second cable, or a modem, makes two paths two.")
    else:
        yield Check("network", "ok", f"Ways out: {', '.join(sorted(set(ways)))}.")


def default_interfaces(root: Path) -> list[str]:
    """Interfaces that have a default route, the preferred one first."""
    found: list[tuple[int, str]] = []
    for line in read_text(root / "proc/net/route").splitlines()[1:]:
        parts = line.split()
        if len(parts) > 7 and parts[1] == parts[7] == "00000000":
            found.append((int(parts[6]), parts[0]))
    for line in read_text(root / "proc/net/ipv6_route").splitlines():
        parts = line.split()
        if len(parts) == 10 and parts[0] == "0" * 32 and parts[1] == "00" and parts[9] != "lo" and int(parts[8], 16) & 2:  # RTF_GATEWAY
            found.append((int(parts[5], 16), parts[9]))
    return [name for _, name in sorted(found)]


def _addresses() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        answers = rtnetlink.ask(rtnetlink.GETADDR, bytes(_IFADDRMSG_BYTES), everything=True)
        for message in answers:
            family, bits, _, _ = message.body[:4]
            told = rtnetlink.attributes(message.body, _IFADDRMSG_BYTES)
            raw = told.get(_IFA_LOCAL) or told.get(_IFA_ADDRESS, b"")
            index = int.from_bytes(message.body[4:8], sys.byteorder)
            if family in (socket.AF_INET, socket.AF_INET6) and len(raw) in (4, 16):
                found.setdefault(socket.if_indextoname(index), []).append(f"{ipaddress.ip_address(raw)}/{bits}")
    except OSError:
        return {}
    return found


def _port_checks(root: Path) -> Iterator[Check]:
    ports = listening(root)
    others = [port for port in ports if port.is_open_to_others]
    if not others:
        yield Check("ports", "ok", "Nothing listens for other machines.")
    for port in others:
        who = port.program or "a program of another user"
        yield Check("ports", "ok", f"{who} listens for other machines: {port.protocol} {port.address} port {port.port}.")


def listening(root: Path = Path("/")) -> list[Port]:
    """TCP ports that listen and UDP ports that are open to anybody, without those of the ephemeral kind that nobody answers on."""
    programs = _programs(root)
    found = set()
    for file, protocol, state in (("tcp", "TCP", _LISTENS), ("tcp6", "TCP", _LISTENS), ("udp", "UDP", _OPEN), ("udp6", "UDP", _OPEN)):
        for line in read_text(root / "proc/net" / file).splitlines()[1:]:
            parts = line.split()
            if len(parts) > 9 and parts[3] == state and set(parts[2].partition(":")[0]) == {"0"}:
                address, _, port = parts[1].partition(":")
                found.add(Port(protocol, _address(address), int(port, 16), programs.get(parts[9], "")))
    return sorted(found, key=lambda port: (port.protocol, port.port, port.address))


def _address(hexadecimal: str) -> str:
    """Words of 32 bits, each in the byte order of the machine."""
    words = [hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8)]
    raw = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(raw)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _programs(root: Path) -> dict[str, str]:
    """Names of programs by the inode of their sockets: of all for root, of one's own for anybody else."""
    found = {}
    for process in children(root / "proc", "[0-9]*"):
        with suppress(OSError):  # another user's, or gone meanwhile
            for descriptor in os.listdir(process / "fd"):
                link = os.readlink(process / "fd" / descriptor)
                if link.startswith("socket:["):
                    found[link[8:-1]] = read_text(process / "comm")
    return found
