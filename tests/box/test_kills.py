"""Processes are killed, and what depends on them comes back by itself."""

from __future__ import annotations

import os
import signal
import time

from firmware.audit import Audit
from tests.lab.analyse import analyse

from .changes import Api
from .lab import Lab, page_answers


def test_the_web_process_may_die_without_a_packet_lost(places, udp_port):
    port = udp_port()
    with Lab(places, udp_port, web_port=port) as lab:
        lab.wait(lab.merged, what="both paths merged")
        for _ in range(2):
            lab.wait(lambda: page_answers(port), what="the page answers")
            web = lab.child("appliance.webd")
            os.kill(web, signal.SIGKILL)
            lab.wait(lambda: lab.child("appliance.webd") not in (0, web), what="another web process")  # noqa: B023
        lab.wait(lambda: page_answers(port), what="the page answers again")
        lab.flows_on()
        assert not lab.difference()


def test_the_api_may_die_within_a_change_without_a_packet_lost(places, udp_port):
    port = udp_port()
    with Lab(places, udp_port, more=["--api", str(port)]) as lab:
        lab.wait(lab.merged, what="both paths merged")
        api = Api(lab, port)
        for change, after_s in ((api.tagged, 0.01), (api.added, 0.02), (api.added, 0.03), (api.removed, 0.02)):
            api.killed_within(change, after_s)
        lab.flows_on()
        assert not lab.difference()
    assert Audit(places.audit).verify().intact


def slate_is_made(lab: Lab) -> bool:
    return any(lab.places.slates.glob("*.ts"))


def test_a_capture_worker_that_dies_or_hangs_gives_way_to_the_slate_and_returns(places, udp_port):
    with Lab(places, udp_port) as lab:
        lab.wait(lambda: lab.merged() and slate_is_made(lab), what="on air, with a slate")
        for death in (signal.SIGKILL, signal.SIGSTOP):
            before = lab.capture()
            assert before
            os.kill(before.pid, death)
            if death == signal.SIGSTOP:  # a killed one is mostly back before anybody misses it
                box = lab.wait(lambda: (s := lab.status("box")) and s.picture == "slate" and s, what="the slate")
                assert box.outputs
            lab.wait(
                lambda: (c := lab.capture()) and c.pid != before.pid and c.frames and (s := lab.status("box")) and s.picture == "live",  # noqa: B023
                what="the picture returns",
            )
            lab.flows_on()
        assert not lab.difference()
        report = analyse(b"".join(lab.got.datagrams))
    assert report.continuity_errors == report.pcr_jumps == report.sync_errors == report.pts_backwards == 0
    assert report.pcr_gap_ms <= 40
    assert set(report.pids) >= {0, 0x100, 0x101, 0x1000}


def test_a_flow_worker_that_dies_or_hangs_is_back_soon(places, udp_port):
    with Lab(places, udp_port) as lab:
        lab.wait(lab.merged, what="both paths merged")
        for flow, death in (("studio", signal.SIGKILL), ("box", signal.SIGKILL), ("studio", signal.SIGSTOP)):
            before = lab.wait(lambda: (s := lab.status(flow)) and s.pid and s)  # noqa: B023
            killed = time.monotonic()
            os.kill(before.pid, death)
            lab.wait(lambda: (s := lab.status(flow)) and s.pid != before.pid and lab.merged(), what=f"{flow} back")  # noqa: B023
            lab.flows_on()
            if death == signal.SIGKILL:
                assert lab.got.longest_silence_s(since=killed - 1) < 10
