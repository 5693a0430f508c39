"""Every test here is marked `driver`, and wants the guest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.driver.linux import VIVID_MODULE, Gpio, Vivid, modprobe, remove_module

HERE = Path(__file__).parent
IN_THE_GUEST = Path("/etc/pressbox-guest").exists()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.driver)
            if not IN_THE_GUEST:
                item.add_marker(pytest.mark.skip(reason="wants drivers that may be pulled away; scripts/test-guest runs it"))


@pytest.fixture(scope="module")
def vivid() -> Iterator[Vivid]:
    """A camera with two inputs: 0 is a webcam, 1 is HDMI."""
    modprobe(VIVID_MODULE, "n_devs=1", "node_types=0x1", "num_inputs=2", "input_types=0xc", "no_error_inj=0")
    yield Vivid()
    remove_module(VIVID_MODULE)


@pytest.fixture
def gpio() -> Iterator[Gpio]:
    """A chip of 28 lines, like a Raspberry Pi's header."""
    modprobe("gpio-sim")
    chip = Gpio(lines=28)
    yield chip
    chip.close()
