"""What systemd is told: over a real datagram socket, with systemd-python and without it, and nothing where there is no systemd."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from hw import systemd
from hw.systemd import EVENTS, fields

ROOT = Path(__file__).parent.parent.parent
CATALOGUE = ROOT / "image-build/rootfs/usr/lib/systemd/catalog/pressbox.catalog"


@pytest.fixture(params=["as it is", "without systemd-python"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "as it is" and find_spec("systemd") is None:
        pytest.skip("systemd-python is not installed here")
    if request.param != "as it is":
        monkeypatch.setitem(sys.modules, "systemd", None)
    return str(request.param)


@pytest.fixture(params=["file", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        address = str(tmp_path / "notify") if request.param == "file" else f"\0pressbox-{os.getpid()}"
        opened.bind(address)
        opened.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        yield opened


def test_what_is_said_arrives(library: str, listener: socket.socket) -> None:
    assert systemd.ready("on air\nwith two paths")
    assert listener.recv(4096) == b"READY=1\nSTATUS=on air with two paths"
    assert systemd.alive()
    assert listener.recv(4096) == b"WATCHDOG=1"
    assert systemd.alive("path A is down")
    assert listener.recv(4096) == b"WATCHDOG=1\nSTATUS=path A is down"
    assert systemd.stopping()
    assert listener.recv(4096) == b"STOPPING=1"


def test_without_systemd_nothing_is_said_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setitem(sys.modules, "systemd", None)
    assert not systemd.ready("on air")
    assert not systemd.alive()


@pytest.mark.parametrize("where", ["/nowhere/at/all", "@nobody-listens-here", "nonsense"])
def test_a_socket_that_nobody_listens_at(where: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    assert not systemd.alive()


def test_systemd_python_is_loaded_for_systemd_alone() -> None:
    told = "import sys, hw.systemd as s; s.ready('up'); s.journal(); print('systemd' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
    said = subprocess.run([sys.executable, "-c", told], cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


@pytest.mark.parametrize(
    ("wanted", "whose", "seconds"),
    [("10000000", "", 5.0), ("10000000", "own", 5.0), ("10000000", "1", None), ("", "", None), ("0", "", None), ("soon", "", None)],
)
def test_how_often_the_watchdog_wants_to_hear(wanted: str, whose: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", wanted)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if whose == "own" else whose)
    assert systemd.watchdog_s() == seconds


def record(level: int, **extra: str) -> logging.LogRecord:
    made = logging.getLogger("pressbox.test").makeRecord("pressbox.test", level, "here.py", 7, "path %s is down", ("A",), None, "f", extra)
    assert made.getMessage() == "path A is down"
    return made


def test_a_record_becomes_fields() -> None:
    found = fields(record(logging.WARNING, flow="show", path="path-a", event="alarm"))
    assert found["PRESSBOX_FLOW"] == "show"
    assert found["PRESSBOX_PATH"] == "path-a"
    assert found["MESSAGE_ID"] == EVENTS["alarm"]
    assert (found["PRIORITY"], found["CODE_FILE"], found["CODE_LINE"]) == (4, "here.py", 7)
    plain = fields(record(logging.DEBUG))
    assert plain["PRIORITY"] == 7
    assert not {"PRESSBOX_FLOW", "PRESSBOX_PATH", "MESSAGE_ID"} & plain.keys()


def test_the_journal_is_written_to_only_where_standard_error_is_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert systemd.journal() is None
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")  # inherited by somebody whose standard error goes elsewhere
    assert systemd.journal() is None
    assert (systemd.journal(inherited=True) is not None) == (find_spec("systemd") is not None)
    told = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{told.st_dev}:{told.st_ino}")
    assert (systemd.journal() is not None) == (find_spec("systemd") is not None)


def test_every_event_has_an_id_of_its_own_and_words_in_the_catalogue() -> None:
    text = CATALOGUE.read_text()
    assert len(set(EVENTS.values())) == len(EVENTS)
    assert all(f"-- {number}\n" in text for number in EVENTS.values())
    assert text.count("\n-- ") == len(EVENTS)
