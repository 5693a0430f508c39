from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from .host import Host


@pytest.fixture
def host(places) -> Iterator[Host]:
    """A host whose API answers, with a key of an administrator. No flow runs: there is no engine."""
    with Host(places) as started:
        yield started


@pytest.fixture
def running_host(places) -> Iterator[Host]:
    """`pressbox run` with the API."""
    with Host(places, engine=True) as started:
        yield started


@pytest.fixture
def ports() -> Callable[[int], int]:
    """`ports(5)`: the first of so many free UDP ports in a row, from 1024 up and even."""
    given: set[int] = set()

    def first(count: int = 1) -> int:
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("0.0.0.0", 0))
                port = int(probe.getsockname()[1]) & ~1
            row = set(range(port, port + count))
            if not row & given and all(map(_is_free, row)):
                given.update(row)
                return port

    return first


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
