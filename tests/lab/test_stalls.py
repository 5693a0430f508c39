"""What notes that the machine itself stood still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.lab.stalls import Stalls

WATCHED = """
import sys, time
from tests.lab.stalls import Stalls
with Stalls() as stalls:
    print("on", flush=True)
    sys.stdin.readline()
    while stalls.longest_s(0) < 0.35:
        time.sleep(0.01)
    print(stalls.longest_s(0))
"""


def test_a_process_that_was_stopped_says_for_how_long():
    watched = subprocess.Popen([sys.executable, "-c", WATCHED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert watched.stdout
    assert watched.stdout.readline() == "on\n"
    os.kill(watched.pid, signal.SIGSTOP)
    stopped_s = time.monotonic()
    while time.monotonic() < stopped_s + 0.4:
        pass
    os.kill(watched.pid, signal.SIGCONT)
    said, _ = watched.communicate("\n", timeout=20)
    assert float(said) > 0.35


def test_a_calm_past_is_not_counted():
    with Stalls() as stalls:
        stalls.found.append((1.0, 0.7))
        assert stalls.longest_s(0.5) >= 0.7
        assert stalls.longest_s(time.monotonic() + 1) == 0
