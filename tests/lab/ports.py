"""UDP ports that nobody has."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

FEC = (2, 4)  # ST 2022-1: columns and rows, above the media


def free_ports(count: int, beyond: tuple[int, ...] = (), address: str = "127.0.0.1") -> list[int]:
    """So many ports, and for each of them the ports `beyond` it are free too."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            with ExitStack() as tried, suppress(OSError, OverflowError):
                first = tried.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                first.bind((address, 0))
                port = int(first.getsockname()[1])
                for more in beyond:
                    tried.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind((address, port + more))
                held.push(tried.pop_all())
                found.append(port)
    return found
