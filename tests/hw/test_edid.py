from __future__ import annotations

import shutil
import subprocess

import pytest

from hw.camera.edid import BLOCK, edid


@pytest.mark.parametrize(("fps", "best"), [(25, "1920x1080   30"), (30, "1920x1080   30"), (60, "1920x1080   60")])
def test_another_program_understands_it_and_finds_no_fault(fps: float, best: str) -> None:
    if shutil.which("edid-decode") is None:
        pytest.skip("edid-decode is missing; the package edid-decode brings it")
    done = subprocess.run(["edid-decode", "--check"], input=edid(fps), capture_output=True, check=False)
    told = done.stdout.decode()
    assert done.returncode == 0, told
    assert "EDID conformity: PASS" in told
    assert f"DTD 1:  {best}" in told
    assert "Display Product Name: 'Pressbox'" in told


def test_two_blocks_that_sum_to_nothing() -> None:
    for fps in (25, 60):
        data = edid(fps)
        assert len(data) == 2 * BLOCK
        assert sum(data[:BLOCK]) % 256 == sum(data[BLOCK:]) % 256 == 0
