"""A flow that carries nothing although it should is told from one that has nobody to carry to."""

from __future__ import annotations

import time
from typing import Any

from firmware.model import Flow, parse_flow
from firmware.progress import PATIENCE_NS, Progress
from firmware.status import EndStatus, FlowStatus

STEP_NS = 500_000_000


def flow(**more: Any) -> Flow:
    return parse_flow({"name": "show", "sources": [{"protocol": "camera", "name": "cam"}], "outputs": []} | more)


def status(went: int, *, came: int = 0, picture: Any = "live", state: Any = "connected", pid: int = 7) -> FlowStatus:
    return FlowStatus(
        name="show",
        state="ACTIVE",
        pid=pid,
        at=time.time(),
        picture=picture,
        sources=[EndStatus(name="cam", protocol="camera", state="connected", packets=came)],
        outputs=[EndStatus(name="a", protocol="udp", state=state, packets=went)],
    )


def watched(statuses: list[FlowStatus | None], of: Flow | None = None) -> tuple[Progress, int]:
    progress, now_ns = Progress(of or flow(), 0), 0
    for one in statuses:
        now_ns += STEP_NS
        progress.look(one, now_ns)
    return progress, now_ns


def test_packets_that_go_are_progress() -> None:
    progress, now_ns = watched([status(n) for n in range(100)])
    assert not progress.is_stalled(now_ns)
    assert progress.progressed_ns == now_ns


def test_packets_that_stop_while_somebody_is_there_are_a_stall_and_not_before_its_time() -> None:
    enough = PATIENCE_NS // STEP_NS + 5
    progress, now_ns = watched([status(n) for n in range(10)] + [status(9) for _ in range(enough)])
    assert progress.is_stalled(now_ns)
    assert progress.progressed_ns == 10 * STEP_NS
    progress, now_ns = watched([status(n) for n in range(10)] + [status(9) for _ in range(PATIENCE_NS // STEP_NS - 2)])
    assert not progress.is_stalled(now_ns)


def test_a_dead_network_and_a_camera_without_slate_are_none() -> None:
    progress, now_ns = watched([status(9, state="connecting") for _ in range(100)])
    assert not progress.is_stalled(now_ns)
    assert progress.progressed_ns == now_ns, "starting anew would mend nothing"
    progress, now_ns = watched([status(9, picture="none") for _ in range(100)])
    assert not progress.is_stalled(now_ns)


def test_a_received_flow_without_a_sender_is_none_and_one_that_keeps_what_it_gets_is() -> None:
    received = flow(sources=[{"protocol": "udp", "name": "in", "port": 5000}])
    progress, now_ns = watched([status(9, came=4, picture=None) for _ in range(100)], received)
    assert not progress.is_stalled(now_ns)
    progress, now_ns = watched([status(9, came=n, picture=None) for n in range(100)], received)
    assert progress.is_stalled(now_ns)


def test_a_worker_that_starts_again_and_again_and_hangs_each_time_is_no_progress() -> None:
    progress, now_ns = watched([status(n * 10, pid=n + 1) for n in range(100)])
    assert not progress.is_stalled(now_ns), "its snapshots' age tells that"
    assert progress.progressed_ns == 0


def test_no_worker_is_the_parents_to_know() -> None:
    progress, now_ns = watched([status(9, pid=0) for _ in range(100)] + [None] * 5)
    assert not progress.is_stalled(now_ns)
    assert progress.progressed_ns == now_ns
