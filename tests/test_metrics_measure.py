"""What two snapshots of a flow amount to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.metrics.measure import METRICS, TR_101_290, measure, settled
from firmware.status import Account, EndStatus, FaultStatus, FlowStatus, HealthStatus, MergeStatus
from firmware.wire.checks import CHECKS


def flow(*, sources: list[EndStatus], outputs: list[EndStatus] | None = None, **told: object) -> FlowStatus:
    return FlowStatus(
        **{"name": "studio", "state": "ACTIVE", "pid": 7, "started_at": 100.0, "at": 200.0, "sources": sources} | told,
        outputs=outputs or [],
    )


def end(name: str = "path-a", protocol: str = "srt-listener", state: str = "connected", **told: object) -> EndStatus:
    return EndStatus(name=name, protocol=protocol, state=state, **told)


def of(before: FlowStatus | None, now: FlowStatus, kind: str, name: str = "") -> dict[str, float]:
    return {metric: value for dimension, metric, value in measure(before, now) if dimension == (kind, name)}


def test_counters_become_what_they_grew_by_and_gauges_stay():
    before = flow(sources=[end(packets=1000, bytes=1_316_000, repaired=5, lost=1)])
    now = flow(sources=[end(packets=1950, bytes=2_566_200, repaired=45, lost=11, rate_bps=1e7, rtt_ms=21.5)])
    told = of(before, now, "source", "path-a")
    assert told["SourceTotalPackets"] == 950
    assert told["SourceTotalBytes"] == 1_250_200
    assert (told["SourceARQRecovered"], told["SourceRecoveredPackets"], told["SourceNotRecoveredPackets"]) == (40, 40, 10)
    assert told["SourceDroppedPackets"] == 50
    assert told["SourcePacketLossPercent"] == pytest.approx(100 * 50 / 960)
    assert (told["SourceBitRate"], told["SourceRoundTripTime"], told["SourceConnected"]) == (1e7, 21.5, 1)
    assert "SourceFECRecovered" not in told


def test_what_fec_rebuilt_was_sent_but_not_received():
    before, now = (flow(sources=[end(protocol="rtp-fec", packets=p, fec_repaired=r)]) for p, r in ((1000, 0), (1990, 10)))
    told = of(before, now, "source", "path-a")
    assert told["SourceFECRecovered"] == 10
    assert told["SourcePacketLossPercent"] == pytest.approx(1.0)
    assert "SourceARQRecovered" not in told


def test_a_source_without_numbers_says_nothing_of_loss():
    before, now = (flow(sources=[end(protocol="udp", packets=packets)]) for packets in (10, 20))
    told = of(before, now, "source", "path-a")
    assert told["SourceTotalPackets"] == 10
    assert not {name for name in told if "Recovered" in name or "Loss" in name or "Dropped" in name}


@pytest.mark.parametrize("changed", [{"pid": 8}, {"started_at": 150.0}], ids=lambda changed: next(iter(changed)))
def test_a_worker_that_began_anew_tells_no_differences(changed):
    before = flow(sources=[end(packets=10)])
    now = flow(sources=[end(packets=900_000, rate_bps=1e7)], **changed)
    told = of(before, now, "source", "path-a")
    assert told == {"SourceBitRate": 1e7, "SourceConnected": 1.0}


def test_an_end_that_began_anew_in_the_same_worker_tells_no_differences_and_the_others_do():
    before = flow(sources=[end(packets=10)], outputs=[end("out", packets=500), end("wall", packets=500)])
    now = flow(sources=[end(packets=20)], outputs=[end("out", packets=3), end("wall", packets=510)])
    assert "OutputTotalPackets" not in of(before, now, "output", "out")
    assert of(before, now, "output", "wall")["OutputTotalPackets"] == 10


def test_another_end_under_the_same_name_begins_anew():
    before = flow(sources=[end(protocol="rtp", packets=10)])
    now = flow(sources=[end(protocol="udp", packets=1_000_000)])
    assert "SourceTotalPackets" not in of(before, now, "source", "path-a")


def test_a_flow_without_a_worker_tells_nothing():
    assert measure(None, FlowStatus(name="studio", state="STANDBY")) == []
    assert measure(None, FlowStatus(name="studio", state="ERROR", message="no secret")) == []


def test_disconnections_are_counted_as_they_happen():
    up, down = (flow(sources=[end(state=state)], outputs=[end("out", state=state)]) for state in ("connected", "waiting"))
    assert of(up, down, "source", "path-a")["SourceDisconnections"] == 1
    assert of(up, down, "output", "out")["OutputDisconnections"] == 1
    assert of(up, down, "flow")["Disconnections"] == 1
    assert of(down, up, "source", "path-a")["SourceDisconnections"] == 0
    assert of(down, down, "flow")["Disconnections"] == 0
    assert of(down, up, "flow")["ConnectedOutputs"] == 1


def two(*, state: str = "merged", **told: object) -> FlowStatus:
    merge = MergeStatus(**{"state": state, "window_ms": 200, "skew_ms": -12.5, "saved_by": {"path-a": 3, "path-b": 5}} | told)
    return flow(sources=[end("path-a"), end("path-b")], merge=merge)


def test_the_source_that_trails_has_the_latency():
    assert of(None, two(), "source", "path-a")["SourceMergeLatency"] == 12.5
    assert of(None, two(), "source", "path-b")["SourceMergeLatency"] == 0
    assert of(None, two(), "flow")["MergeLatency"] == 12.5
    assert of(None, two(), "flow")["MergeActive"] == 1


def test_a_merge_of_one_leg_names_the_leg():
    alone = two(state="one leg", saved_by={"path-a": 3, "path-b": 905}, skew_ms=None)
    assert of(two(), alone, "flow")["MergeActive"] == 0
    names = "SourceMergeActive", "SourceMergeStatusWarnSolo"
    assert [of(two(), alone, "source", "path-a")[name] for name in names] == [0, 0]
    assert [of(two(), alone, "source", "path-b")[name] for name in names] == [1, 1]


def test_a_merge_names_the_source_that_is_another_stream():
    other = two(state="one leg", differing=["path-b"], skew_ms=None)
    told = [of(two(), other, "source", name)["SourceMergeStatusWarnMismatch"] for name in ("path-a", "path-b")]
    assert told == [0, 1]


def test_what_was_asked_for_again_and_the_fec_that_came_are_counted():
    before, now = (
        flow(sources=[end(packets=p, asked=a, latency_ms=300)], outputs=[end("out", packets=p, asked=2 * a)]) for p, a in ((10, 3), (20, 8))
    )
    assert [of(before, now, "source", "path-a")[name] for name in ("SourceARQRequests", "SourceLatency")] == [5, 300]
    assert (of(before, now, "flow")["ARQRequests"], of(before, now, "output", "out")["OutputARQRequests"]) == (5, 10)
    before, now = (flow(sources=[end(protocol="rtp-fec", packets=p, fec_packets=p // 5)]) for p in (100, 200))
    assert (of(before, now, "source", "path-a")["SourceFECPackets"], of(before, now, "flow")["FECPackets"]) == (20, 20)


def test_a_failover_names_the_source_that_plays_and_counts_the_switch():
    before = two(state="failover", window_ms=0, playing="path-a", switches=1, skew_ms=None)
    now = two(state="failover", window_ms=0, playing="path-b", switches=2, skew_ms=None)
    assert of(before, now, "flow")["FailoverSwitches"] == 1
    assert "MergeActive" not in of(before, now, "flow")
    assert of(before, now, "source", "path-a")["SourceSelected"] == 0
    assert of(before, now, "source", "path-b")["SourceSelected"] == 1


def test_the_flow_tells_what_was_saved_by_what():
    sources = [end("path-a", packets=1000), end("path-b", packets=1000)]
    later = [end("path-a", packets=1990, repaired=4, lost=10), end("path-b", packets=2000)]
    before = flow(sources=sources, account=Account(carried=1000))
    now = flow(sources=later, account=Account(carried=1999, lost=1, by_retransmission=4, by_merge=9))
    told = of(before, now, "flow")
    assert (told["TotalPackets"], told["RecoveredPackets"], told["NotRecoveredPackets"], told["DroppedPackets"]) == (999, 13, 1, 14)
    assert told["PacketLossPercent"] == pytest.approx(100 * 14 / 2000)


def test_faults_of_the_stream_are_counted_under_their_names():
    def health(**counts: int) -> HealthStatus:
        return HealthStatus(faults=[FaultStatus(name=name, clause="1.4", count=n, first_at=1, last_at=2) for name, n in counts.items()])

    before = flow(sources=[end(health=health(continuity_count=2))], outputs=[end("out", health=health())])
    now = flow(
        sources=[end(health=health(continuity_count=9, pcr_repetition=2, pcr_discontinuity=1))], outputs=[end("out", health=health(pat=1))]
    )
    told = of(before, now, "source", "path-a")
    assert (told["SourceContinuityCounter"], told["SourcePCRError"], told["SourcePATError"]) == (7, 3, 0)
    assert (of(before, now, "flow")["PATError"], of(before, now, "flow")["ContinuityCounter"]) == (1, 0)


def test_every_check_of_the_stream_has_a_metric():
    assert {check for checks in TR_101_290.values() for check in checks} == set(CHECKS)


def test_every_metric_is_in_the_documents_with_its_unit():
    page = (Path(__file__).parent.parent / "docs/metrics.md").read_text()
    for name, metric in METRICS.items():
        listed = f"| {name} | {metric.unit} | {metric.text} |" in page
        assert listed or name.removeprefix("Source") in TR_101_290, name
    assert ", ".join(TR_101_290) in page


def test_a_loss_that_fec_repairs_later_is_told_once():
    told, before = [], None
    for lost in (0, 3, 0, 2, 1, 4, 1):
        now = flow(sources=[end(protocol="rtp-fec", packets=100, lost=lost)])
        told.append(of(before, now, "source", "path-a").get("SourceNotRecoveredPackets"))
        before = settled(before, now)
    assert told == [None, 3, 0, 0, 0, 1, 0]


def test_a_packet_that_the_merge_saved_is_told_once_though_its_other_copy_comes_after_all():
    told, before = 0.0, None
    for carried, saved in ((0, 0), (10, 4), (20, 1), (30, 3), (40, 9)):
        now = flow(sources=[end()], account=Account(carried=carried, by_merge=saved))
        told += of(before, now, "flow").get("RecoveredPackets", 0.0)
        before = settled(before, now)
    assert told == 9


def test_a_receiver_that_leaves_takes_its_counters_along_and_no_figure_is_huge():
    before, now, after = (flow(sources=[], outputs=[end("out", packets=p, repaired=r)]) for p, r in ((10, 1000), (20, 90), (30, 95)))
    assert "OutputResentPackets" not in of(before, now, "output", "out")
    assert of(settled(before, now), after, "output", "out")["OutputResentPackets"] == 5


COUNTS = st.integers(0, 10_000)
ENDS = st.builds(
    EndStatus,
    name=st.sampled_from(["a", "b"]),
    protocol=st.sampled_from(["srt-caller", "rist", "rtp", "rtp-fec", "udp", "camera"]),
    state=st.sampled_from(["connected", "connecting", "waiting", "off", "failed"]),
    packets=COUNTS,
    bytes=COUNTS,
    repaired=COUNTS,
    lost=COUNTS,
    fec_repaired=COUNTS,
    rtt_ms=st.none() | st.floats(0, 1000),
    receivers=st.none() | st.integers(0, 64),
)
FLOWS = st.builds(
    FlowStatus,
    name=st.just("studio"),
    state=st.just("ACTIVE"),
    pid=st.integers(1, 2),
    started_at=st.sampled_from([1.0, 2.0]),
    sources=st.lists(ENDS, max_size=2, unique_by=lambda one: one.name),
    outputs=st.lists(ENDS, max_size=2, unique_by=lambda one: one.name),
    merge=st.none() | st.builds(MergeStatus, state=st.sampled_from(["merged", "one leg", "failover", "waiting"]), switches=COUNTS),
    account=st.none() | st.builds(Account, carried=COUNTS, lost=COUNTS, by_retransmission=COUNTS, by_fec=COUNTS, by_merge=COUNTS),
)


@given(st.lists(FLOWS, min_size=1, max_size=6))
def test_no_figure_is_negative_or_larger_than_what_was_counted(snapshots):
    before = None
    for now in snapshots:
        for (kind, _), name, value in measure(before, now):
            assert METRICS[name].of == kind
            assert math.isfinite(value)
            assert value >= 0
            assert value <= (100 if METRICS[name].unit == "Percent" else 60_000)
        before = settled(before, now)


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=2, max_size=20))
def test_what_a_counter_grew_by_adds_up(steps):
    packets = lost = 0
    total = {"SourceTotalPackets": 0.0, "SourceNotRecoveredPackets": 0.0}
    before = flow(sources=[end(packets=0)])
    for more, more_lost in steps:
        packets, lost = packets + more, lost + more_lost
        now = flow(sources=[end(packets=packets, lost=lost)])
        told = of(before, now, "source", "path-a")
        total = {name: value + told[name] for name, value in total.items()}
        before = settled(before, now)
    assert total == {"SourceTotalPackets": packets, "SourceNotRecoveredPackets": lost}
