from __future__ import annotations

import pytest

from .films import Film


@pytest.fixture(scope="session")
def clean() -> list[bytes]:
    """Four seconds of a stream without a fault."""
    return Film(4).packets()
