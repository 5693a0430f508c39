"""Whether this machine has a network at all, as the kernel tells it: a link that is up, and a way out over one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hw.sysfs import children, read_number, read_text


class Network(msgspec.Struct, frozen=True):
    """True also where nothing can be said: a process in a network of its own sees no link, and knows nothing."""

    link: bool = True
    way_out: bool = True


def read_network(root: Path = Path("/")) -> Network:
    links = [one for one in children(root / "sys/class/net") if one.name != "lo"]
    if not links:
        return Network()
    link = any(read_number(one / "carrier") for one in links)
    return Network(link=link, way_out=link and _has_default_route(root / "proc/net"))


def _has_default_route(folder: Path) -> bool:
    """proc(5): of IPv4 the destination is the second column and the mask the eighth; of IPv6 the first two, and the link is the last."""
    four = [row.split() for row in read_text(folder / "route").splitlines()[1:]]
    six = [row.split() for row in read_text(folder / "ipv6_route").splitlines()]
    return any(len(row) > 7 and row[1] == row[7] == "00000000" and row[0] != "lo" for row in four) or any(
        len(row) > 9 and row[0] == "0" * 32 and row[1] == "00" and row[9] != "lo" for row in six
    )
