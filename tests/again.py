"""A live test that failed while this machine itself stood still is run again, and told: no transport can send while nothing runs.

Only tests with a real stream, only after a stall that was seen, and four times at most. One that fails on a machine that runs has failed.
"""

from __future__ import annotations

import time

import pytest
from _pytest.runner import runtestprotocol

from tests.lab.stalls import Stalls

LIVE = ("tests/appliance/", "tests/box/", "tests/capture/", "tests/flow/", "tests/interop/", "tests/lab/", "tests/net/")
TIMES = 4


class Again:
    def __init__(self) -> None:
        self.stalls = Stalls()
        self.told: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        if not item.nodeid.startswith(LIVE):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for again in range(TIMES, -1, -1):
            began_s = time.monotonic()
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
            stalled_s = self.stalls.longest_s(began_s)
            if not again or not stalled_s or not any(report.failed for report in reports):
                break
            self.told.append(f"{item.nodeid}: run again, the machine stood still for {stalled_s * 1000:.0f} ms")
            item.session._setupstate.teardown_exact(None)
            item._initrequest()  # type: ignore[attr-defined]
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.told:
            terminalreporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        self.stalls.close()
