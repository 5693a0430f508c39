from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request

from appliance.serving import listen
from appliance.webd import EXIT_NETWORK
from firmware.places import Places

from .boxes import on_air

WEBD = [sys.executable, "-m", "appliance.webd"]


def test_it_serves_soon_and_ends_cleanly(places: Places, web: str) -> None:
    on_air(places)
    with urllib.request.urlopen(web, timeout=5) as answer:
        assert "LIVE" in answer.read().decode()


def test_a_port_in_use_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run([*WEBD, "--port", str(port)], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == EXIT_NETWORK
    assert ended.stderr == f"web: port {port} of 127.0.0.1 cannot be used (Address already in use); choose another with --port\n"


def test_it_answers_while_slow_clients_hold_on(places: Places, web: str) -> None:
    on_air(places)
    host, port = web.removeprefix("http://").rstrip("/").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(24)]
    for one in slow:
        one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    began = time.monotonic()
    for _ in range(20):
        urllib.request.urlopen(web + "live", timeout=5).close()
    assert time.monotonic() - began < 5
    for one in slow:
        one.close()


def test_nothing_is_left_of_it(places: Places) -> None:
    with subprocess.Popen([*WEBD, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        web = process.stdout.readline().removeprefix("web: ").strip()
        urllib.request.urlopen(web, timeout=5).close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr.read() == ""
    host, port = web.removeprefix("http://").rstrip("/").split(":")
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0
