"""The text that Prometheus reads, read by Prometheus' own parser."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.metricstext import exposition
from firmware.status import Account, EndStatus, FaultStatus, FlowStatus, HealthStatus, MergeStatus

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client, whose parser this test asks, is not installed")


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.type in ("gauge", "counter")
        assert family.documentation
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def studio(**told: object) -> FlowStatus:
    health = HealthStatus(faults=[FaultStatus(name="continuity_count", clause="1.4", count=3, first_at=1, last_at=2)])
    legs = [
        EndStatus(
            name="path-a",
            protocol="srt-listener",
            state="connected",
            packets=10,
            bytes=13160,
            rate_bps=8e6,
            repaired=2,
            lost=1,
            rtt_ms=21.5,
        ),
        EndStatus(name="path-b", protocol="rtp-fec", state="waiting", lost=4, fec_repaired=7, health=health),
    ]
    out = EndStatus(name="wall", protocol="srt-listener", state="connected", receivers=2, repaired=5, latency_ms=120, health=health)
    merge = MergeStatus(state="one leg", window_ms=200, skew_ms=-12.5, saved_by={"path-a": 9, "path-b": 0})
    given = {"at": time.time(), "pid": 7, "sources": legs, "outputs": [out], "merge": merge, "account": Account(carried=10, lost=1)}
    return FlowStatus(name="studio", state="ACTIVE", **given | told)


def test_every_figure_is_there_in_base_units_and_labelled():
    told = samples(exposition([studio()]))
    flow, a = ("flow", "studio"), (("flow", "studio"), ("protocol", "srt-listener"), ("source", "path-a"))
    assert told["pressbox_flow_up", (flow,)] == 1
    assert told["pressbox_flow_merge_skew_seconds", (flow,)] == -0.0125
    assert told["pressbox_flow_merge_active", (flow,)] == 0
    assert told["pressbox_source_rate_bytes_per_second", a] == 1e6
    assert told["pressbox_source_round_trip_seconds", a] == 0.0215
    assert told["pressbox_source_retransmitted_packets_total", a] == 2
    assert told["pressbox_source_saved_packets", (flow, ("source", "path-a"))] == 9
    b = (("flow", "studio"), ("protocol", "rtp-fec"), ("source", "path-b"))
    assert told["pressbox_source_missing_packets", b] == 4
    assert ("pressbox_source_lost_packets_total", b) not in told
    fault = (("check", "continuity_count"), ("clause", "1.4"))
    assert told["pressbox_source_stream_faults_total", tuple(sorted((*b, *fault)))] == 3
    assert told["pressbox_flow_stream_faults_total", tuple(sorted((flow, *fault)))] == 3
    out = (("flow", "studio"), ("output", "wall"), ("protocol", "srt-listener"))
    assert (told["pressbox_output_receivers", out], told["pressbox_output_latency_seconds", out]) == (2, 0.12)


def test_a_worker_that_hangs_and_a_flow_that_stands_by_are_not_up():
    told = samples(exposition([studio(at=time.time() - 60), FlowStatus(name="rest", state="STANDBY", at=time.time())]))
    assert told["pressbox_flow_up", (("flow", "studio"),)] == 0
    assert told["pressbox_flow_up", (("flow", "rest"),)] == 0
    assert not [name for name, labels in told if ("flow", "rest") in labels and name != "pressbox_flow_up"]


def test_no_flow_is_a_text_all_the_same():
    assert [name for name, _ in samples(exposition([]))] == ["pressbox_exposition_time_seconds"]


def test_a_counter_is_named_and_typed_as_one():
    for line in exposition([studio()]).splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            assert name.endswith("_total") == (kind == "counter"), name


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
def test_any_name_and_any_number_come_back_as_they_were(flow, source, rate_bps):
    status = FlowStatus(
        name=flow, state="ACTIVE", pid=1, sources=[EndStatus(name=source, protocol="udp", state="waiting", rate_bps=rate_bps)]
    )
    labels = {"flow": flow, "source": source, "protocol": "udp"}
    told = samples(exposition([status]))
    value = told["pressbox_source_rate_bytes_per_second", tuple(sorted(labels.items()))]
    assert math.isclose(value, rate_bps / 8, rel_tol=1e-12)
