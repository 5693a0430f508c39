from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from shutil import which

import pytest
from flask.testing import FlaskClient

from appliance.web import create_app
from firmware.places import Places

from .browser import Browser


@pytest.fixture
def client(places: Places) -> FlaskClient:
    return create_app(places).test_client()


@pytest.fixture
def web(places: Places) -> Iterator[str]:
    """The web process itself, on a port of its own; its address."""
    environment = os.environ | {"PRESSBOX_STATE": str(places.state), "PRESSBOX_RUN": str(places.run)}
    command = [sys.executable, "-m", "appliance.webd", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().removeprefix("web: ").strip()
        process.terminate()
        assert process.wait(5) == 0


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = which("chromium") or which("chromium-browser") or which("google-chrome")
    if not chromium:
        pytest.skip("there is no browser; apt install chromium")
    with Browser(chromium) as started:
        yield started
