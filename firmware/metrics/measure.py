"""Metrics with MediaConnect's own names: what two successive snapshots of a flow amount to. No file, no clock.

Counters become what they grew by; gauges stay as they are. A worker that began anew (another `pid` or `started_at`) and an end whose
packets fell begin anew: no figure for that second, never a negative one.

docs/metrics.md says what of MediaConnect's list is left out, and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from firmware.status import EndStatus, FlowStatus, HealthStatus, MergeStatus

Kind = Literal["flow", "source", "output"]
Dimension = tuple[Kind, str]
"""Of what: kind and name of the end; the name of a flow's own is empty."""
Value = tuple[Dimension, str, float]
Values = dict[str, float]
Pairs = list[tuple[EndStatus, EndStatus | None]]
"""Each source as it is and as it was."""


class Metric(NamedTuple):
    of: Kind
    unit: Literal["Count", "None", "Bits/Second", "Bytes", "Percent", "Milliseconds"]
    shape: Literal["count", "gauge"]  # a count is what happened in the second
    text: str


TR_101_290 = {
    "TSSyncLoss": ("sync_loss",),
    "TSByteError": ("sync_byte",),
    "PATError": ("pat",),
    "ContinuityCounter": ("continuity_count",),
    "PMTError": ("pmt",),
    "PIDError": ("pid",),
    "TransportError": ("transport",),
    "CRCError": ("crc",),
    "PCRError": ("pcr_repetition", "pcr_discontinuity"),
    "PCRAccuracyError": ("pcr_accuracy",),
    "PTSError": ("pts",),
    "CATError": ("cat",),
}
"""Metric, and the checks of `firmware.wire.checks` that count for it."""

METRICS: dict[str, Metric] = {
    "BitRate": Metric("flow", "Bits/Second", "gauge", "what the flow carries"),
    "Connected": Metric("flow", "None", "gauge", "1 while a source is connected"),
    "Disconnections": Metric("flow", "Count", "count", "the last connected source went away"),
    "TotalPackets": Metric("flow", "Count", "count", "packets that were recovered, or that a camera made"),
    "DroppedPackets": Metric("flow", "Count", "count", "packets lost on the way to all sources, before any repair"),
    "RecoveredPackets": Metric("flow", "Count", "count", "packets saved by retransmission, FEC or the other source"),
    "NotRecoveredPackets": Metric("flow", "Count", "count", "packets lost for good"),
    "PacketLossPercent": Metric("flow", "Percent", "gauge", "packets lost on the way to all sources, even if recovered"),
    "ARQRecovered": Metric("flow", "Count", "count", "of a single source: packets repaired by retransmission"),
    "FECRecovered": Metric("flow", "Count", "count", "of a single source: packets repaired by FEC"),
    "ARQRequests": Metric("flow", "Count", "count", "of a single source: packets that were asked for again"),
    "FECPackets": Metric("flow", "Count", "count", "of a single source: FEC packets received"),
    "RoundTripTime": Metric("flow", "Milliseconds", "gauge", "of a single source"),
    "MergeActive": Metric("flow", "None", "gauge", "1 while both sources are merged"),
    "MergeLatency": Metric("flow", "Milliseconds", "gauge", "how far the later source trails the other"),
    "FailoverSwitches": Metric("flow", "Count", "count", "another source began to play"),
    "ConnectedOutputs": Metric("flow", "Count", "gauge", "outputs that are connected"),
    "SourceBitRate": Metric("source", "Bits/Second", "gauge", "what comes in"),
    "SourceConnected": Metric("source", "None", "gauge", "1 while it is connected"),
    "SourceDisconnections": Metric("source", "Count", "count", "it was connected and is not any more"),
    "SourceTotalPackets": Metric("source", "Count", "count", "packets received"),
    "SourceTotalBytes": Metric("source", "Bytes", "count", "bytes received"),
    "SourceDroppedPackets": Metric("source", "Count", "count", "packets lost on the way, before repair"),
    "SourceRecoveredPackets": Metric("source", "Count", "count", "packets repaired on this path"),
    "SourceNotRecoveredPackets": Metric("source", "Count", "count", "packets lost on this path for good"),
    "SourcePacketLossPercent": Metric("source", "Percent", "gauge", "packets lost on the way, even if repaired"),
    "SourceARQRecovered": Metric("source", "Count", "count", "packets repaired by retransmission"),
    "SourceFECRecovered": Metric("source", "Count", "count", "packets repaired by FEC"),
    "SourceARQRequests": Metric("source", "Count", "count", "packets that were asked for again"),
    "SourceFECPackets": Metric("source", "Count", "count", "FEC packets received"),
    "SourceLatency": Metric("source", "Milliseconds", "gauge", "time that retransmission has, as agreed with the sender"),
    "SourceRoundTripTime": Metric("source", "Milliseconds", "gauge", "there and back"),
    "SourceMergeActive": Metric("source", "None", "gauge", "1 while this one of two sources is in use"),
    "SourceMergeLatency": Metric("source", "Milliseconds", "gauge", "how far it trails the other source; 0 for the first"),
    "SourceMergeStatusWarnSolo": Metric("source", "Count", "count", "the merge runs on this source alone"),
    "SourceMergeStatusWarnMismatch": Metric("source", "Count", "count", "it is not the same stream as the other source"),
    "SourceSelected": Metric("source", "None", "gauge", "of a failover: 1 for the source that plays"),
    "OutputBitrate": Metric("output", "Bits/Second", "gauge", "what goes out"),
    "OutputConnected": Metric("output", "None", "gauge", "1 while it is connected"),
    "OutputConnectedReceivers": Metric("output", "Count", "gauge", "receivers of a listening output"),
    "OutputDisconnections": Metric("output", "Count", "count", "it was connected and is not any more"),
    "OutputTotalPackets": Metric("output", "Count", "count", "packets sent"),
    "OutputResentPackets": Metric("output", "Count", "count", "packets sent again"),
    "OutputARQRequests": Metric("output", "Count", "count", "packets that the receiver asked for again"),
    "OutputNotRecoveredPackets": Metric("output", "Count", "count", "packets that the receiver did not get in time"),
    "OutputRoundTripTime": Metric("output", "Milliseconds", "gauge", "there and back"),
}
METRICS |= {name: Metric("flow", "Count", "count", "TR 101 290, of what the outputs are given") for name in TR_101_290}
METRICS |= {f"Source{name}": Metric("source", "Count", "count", "TR 101 290, of what comes in") for name in TR_101_290}

NAMES: dict[Kind, tuple[str, ...]] = {
    kind: tuple(name for name, metric in METRICS.items() if metric.of == kind) for kind in ("flow", "source", "output")
}
"""Of each kind, in the order in which they are stored."""

RETRANSMITS = ("srt", "rist")
_UNNUMBERED = ("camera", "udp")  # nothing there can be known to be lost
_NO_FAULTS = {kind: dict.fromkeys((f"{kind}{name}" for name in TR_101_290), 0.0) for kind in ("", "Source")}


def measure(before: FlowStatus | None, now: FlowStatus) -> list[Value]:
    """Every metric that `now` can tell, given the snapshot before it."""
    return [(dimension, name, value) for dimension, values in readings(before, now) for name, value in values.items()]


def readings(before: FlowStatus | None, now: FlowStatus) -> list[tuple[Dimension, Values]]:
    """The same, gathered by dimension: the flow, its sources, its outputs. Nothing for a flow without a worker."""
    if not now.pid:
        return []
    if before is not None and (before.pid, before.started_at) != (now.pid, now.started_at):
        before = None
    sources_before = {end.name: end for end in before.sources} if before else {}
    outputs_before = {end.name: end for end in before.outputs} if before else {}
    pairs = [(end, _same(sources_before.get(end.name), end)) for end in now.sources]
    sources = [_source(end, end_before, now, before) for end, end_before in pairs]
    outputs = [_output(end, _same(outputs_before.get(end.name), end)) for end in now.outputs]
    found: list[tuple[Dimension, Values]] = [(("flow", ""), _flow(now, before, pairs, sources))]
    found += [(("source", end.name), values) for end, values in zip(now.sources, sources, strict=True)]
    return found + [(("output", end.name), values) for end, values in zip(now.outputs, outputs, strict=True)]


def settled(before: FlowStatus | None, now: FlowStatus) -> FlowStatus:
    """`now`, as the `before` of the next one.

    An RTP source counts a packet as lost until FEC or a straggler brings it after all, and a merge counts one as saved until the other copy
    comes after all. So these fall, too: what was told is not told again.
    """
    if before is None or (before.pid, before.started_at) != (now.pid, now.started_at):
        return now
    known = {end.name: end for end in before.sources if end.protocol.startswith("rtp")}
    sources = [_kept(known.get(end.name), end) for end in now.sources]
    account, then = now.account, before.account
    if account and then and then.carried <= account.carried:
        by_fec, by_merge = max(then.by_fec, account.by_fec), max(then.by_merge, account.by_merge)
        account = msgspec.structs.replace(account, by_fec=by_fec, by_merge=by_merge)
    return msgspec.structs.replace(now, sources=sources, account=account)


def _kept(before: EndStatus | None, now: EndStatus) -> EndStatus:
    if before is None or _same(before, now) is None or (before.lost <= now.lost and before.fec_repaired <= now.fec_repaired):
        return now
    lost, repaired = max(before.lost, now.lost), max(before.fec_repaired, now.fec_repaired)
    return msgspec.structs.replace(now, lost=lost, fec_repaired=repaired)


def _same(before: EndStatus | None, now: EndStatus) -> EndStatus | None:
    """The end as it was, unless it began anew: removed and added again, or another protocol under its name."""
    if before is None or before.packets > now.packets or before.bytes > now.bytes or before.protocol != now.protocol:
        return None
    return before


def _count(values: Values, name: str, before: int, now: int) -> None:
    if now >= before:
        values[name] = float(now - before)


def _source(end: EndStatus, before: EndStatus | None, flow: FlowStatus, flow_before: FlowStatus | None) -> Values:
    values = {"SourceBitRate": end.rate_bps, "SourceConnected": float(end.state == "connected")}
    if end.rtt_ms is not None:
        values["SourceRoundTripTime"] = end.rtt_ms
    if end.latency_ms is not None and end.protocol.startswith(RETRANSMITS):
        values["SourceLatency"] = float(end.latency_ms)
    if flow.merge is not None:
        _merged_source(values, end.name, flow, flow_before.merge if flow_before else None)
    if before is None:
        return values
    values["SourceDisconnections"] = float(before.state == "connected" and end.state != "connected")
    _count(values, "SourceTotalPackets", before.packets, end.packets)
    _count(values, "SourceTotalBytes", before.bytes, end.bytes)
    if end.protocol not in _UNNUMBERED:
        _lost_and_found(values, before, end)
    _faults(values, "Source", before.health, end.health)
    return values


def _lost_and_found(values: Values, before: EndStatus, end: EndStatus) -> None:
    if end.protocol.startswith(RETRANSMITS):
        _count(values, "SourceARQRecovered", before.repaired, end.repaired)
        _count(values, "SourceARQRequests", before.asked, end.asked)
    if end.fec_matrix or end.protocol == "rtp-fec":
        _count(values, "SourceFECRecovered", before.fec_repaired, end.fec_repaired)
        _count(values, "SourceFECPackets", before.fec_packets, end.fec_packets)
    recovered, lost = _recovered(before, end), max(0, end.lost - before.lost)
    values["SourceRecoveredPackets"] = float(recovered)
    values["SourceNotRecoveredPackets"] = float(lost)
    values["SourceDroppedPackets"] = float(recovered + lost)
    if sent := _sent(before, end):
        values["SourcePacketLossPercent"] = min(100.0, 100 * (recovered + lost) / sent)


def _recovered(before: EndStatus, end: EndStatus) -> int:
    return max(0, end.repaired - before.repaired) + max(0, end.fec_repaired - before.fec_repaired)


def _sent(before: EndStatus, end: EndStatus) -> int:
    """Packets that the far end sent. What was sent again is among those of SRT and RIST; what FEC rebuilt was never received."""
    rebuilt = 0 if end.protocol.startswith(RETRANSMITS) else _recovered(before, end)
    return end.packets - before.packets + max(0, end.lost - before.lost) + rebuilt


def _merged_source(values: Values, name: str, flow: FlowStatus, before: MergeStatus | None) -> None:
    merge = flow.merge
    assert merge is not None  # noqa: S101
    alone = False
    if merge.state == "failover":
        values["SourceSelected"] = values["SourceMergeActive"] = float(merge.playing == name)
        return
    if merge.state == "one leg":  # all that came since then came by one
        alone = merge.saved_by.get(name, 0) > (before.saved_by.get(name, 0) if before else 0)
    values["SourceMergeActive"] = float(merge.state == "merged" or alone)
    values["SourceMergeStatusWarnSolo"] = float(alone)
    values["SourceMergeStatusWarnMismatch"] = float(name in merge.differing)
    if merge.skew_ms is not None and len(flow.sources) == 2:  # positive: the second comes later
        behind_ms = merge.skew_ms if name == flow.sources[1].name else -merge.skew_ms
        values["SourceMergeLatency"] = max(0.0, behind_ms)


def _output(end: EndStatus, before: EndStatus | None) -> Values:
    values = {"OutputBitrate": end.rate_bps, "OutputConnected": float(end.state == "connected")}
    if end.receivers is not None:
        values["OutputConnectedReceivers"] = float(end.receivers)
    if end.rtt_ms is not None:
        values["OutputRoundTripTime"] = end.rtt_ms
    if before is None:
        return values
    values["OutputDisconnections"] = float(before.state == "connected" and end.state != "connected")
    _count(values, "OutputTotalPackets", before.packets, end.packets)
    if end.protocol.startswith(RETRANSMITS):
        _count(values, "OutputResentPackets", before.repaired, end.repaired)
        _count(values, "OutputARQRequests", before.asked, end.asked)
        _count(values, "OutputNotRecoveredPackets", before.lost, end.lost)
    return values


def _flow(now: FlowStatus, before: FlowStatus | None, pairs: Pairs, sources: list[Values]) -> Values:
    connected = _connected(now.sources)
    values = {
        "BitRate": now.rate_bps,
        "Connected": float(connected > 0),
        "ConnectedOutputs": float(_connected(now.outputs)),
    }
    single = sources[0] if len(sources) == 1 else {}
    for of_flow in ("ARQRecovered", "ARQRequests", "FECRecovered", "FECPackets", "RoundTripTime"):
        if (of_source := f"Source{of_flow}") in single:
            values[of_flow] = single[of_source]
    merge, merge_before = now.merge, before.merge if before else None
    if merge is not None and merge.state != "failover":
        values["MergeActive"] = float(merge.state == "merged")
        if merge.skew_ms is not None:
            values["MergeLatency"] = abs(merge.skew_ms)
    if before is None:
        return values
    values["Disconnections"] = float(not connected and _connected(before.sources) > 0)
    if merge is not None and merge_before is not None and merge.window_ms == 0:
        _count(values, "FailoverSwitches", merge_before.switches, merge.switches)
    _account(values, before, now, pairs, sources)
    _faults(values, "", _health(before), _health(now))
    return values


def _account(values: Values, before: FlowStatus, now: FlowStatus, pairs: Pairs, sources: list[Values]) -> None:
    then, kept = before.account, now.account
    dropped = [source["SourceDroppedPackets"] for source in sources if "SourceDroppedPackets" in source]
    if then is None or kept is None or not dropped:
        values["TotalPackets"] = sum(source.get("SourceTotalPackets", 0.0) for source in sources)
        return
    if kept.carried < then.carried:  # its sources were opened anew
        return
    _count(values, "TotalPackets", then.carried, kept.carried)
    _count(values, "NotRecoveredPackets", then.lost, kept.lost)
    saved = [
        (then.by_retransmission, kept.by_retransmission),
        (then.by_fec, kept.by_fec),
        (then.by_merge, kept.by_merge),
    ]
    values["RecoveredPackets"] = float(sum(max(0, grown - was) for was, grown in saved))
    values["DroppedPackets"] = sum(dropped)
    if sent := sum(_sent(end_before, end) for end, end_before in pairs if end_before):
        values["PacketLossPercent"] = min(100.0, 100 * sum(dropped) / sent)


def _faults(values: Values, prefix: str, before: HealthStatus | None, now: HealthStatus | None) -> None:
    if before is None or now is None:
        return
    values |= _NO_FAULTS[prefix]
    if not now.faults:
        return
    then = {fault.name: fault.count for fault in before.faults}
    grown = {fault.name: max(0, fault.count - then.get(fault.name, 0)) for fault in now.faults}
    for name, checks in TR_101_290.items():
        values[prefix + name] = float(sum(grown.get(check, 0) for check in checks))


def _health(flow: FlowStatus) -> HealthStatus | None:
    """Of what the outputs are given; each of them carries the same."""
    return flow.outputs[0].health if flow.outputs else flow.sources[0].health if len(flow.sources) == 1 else None


def _connected(ends: Iterable[EndStatus]) -> int:
    return sum(end.state == "connected" for end in ends)
