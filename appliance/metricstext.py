"""The snapshots as Prometheus reads them: text exposition format 0.0.4. Seconds, bytes and ratios; what only grows ends in `_total`.

A counter begins at 0 with its flow's worker, or with its end when that is opened anew. What may be corrected downwards is a gauge here, for
Prometheus takes a counter that falls for one that began anew: packets that are missing until FEC brings them, and what a merge saved until
the other copy comes after all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from firmware.alarms.board import Alarm
from firmware.status import EndStatus, FlowStatus, HealthStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Number = float | int | None
Told = Number | Iterable[tuple[Labels, Number]]


class Family(NamedTuple):
    name: str
    type: Literal["gauge", "counter"]
    help: str


class OfFlow(NamedTuple):
    family: Family
    tell: Callable[[FlowStatus], Told]


class OfEnd(NamedTuple):
    family: Family
    tell: Callable[[EndStatus], Told]


def _gauge(name: str, text: str) -> Family:
    return Family(f"pressbox_{name}", "gauge", text)


def _counter(name: str, text: str) -> Family:
    return Family(f"pressbox_{name}_total", "counter", text)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _faults(health: HealthStatus | None) -> Iterator[tuple[Labels, Number]]:
    for fault in health.faults if health else ():
        yield (("check", fault.name), ("clause", fault.clause)), fault.count


def _retransmits(end: EndStatus) -> bool:
    return end.protocol.startswith(("srt", "rist"))


def _is_up(flow: FlowStatus) -> float:
    return float(bool(flow.pid) and not flow.stale)


def _stream(flow: FlowStatus) -> HealthStatus | None:
    """Of what the outputs are given; each of them carries the same."""
    return flow.outputs[0].health if flow.outputs else None


def _saved(flow: FlowStatus) -> Iterator[tuple[Labels, Number]]:
    for name, count in flow.merge.saved_by.items() if flow.merge else ():
        yield (("source", name),), count


def _selected(flow: FlowStatus) -> Iterator[tuple[Labels, Number]]:
    if flow.merge and flow.merge.state == "failover":
        for end in flow.sources:
            yield (("source", end.name),), flow.merge.playing == end.name


FLOW = [
    OfFlow(_gauge("flow_up", "1 while the flow's worker runs and tells how it goes."), _is_up),
    OfFlow(
        _gauge("flow_start_time_seconds", "Unix time at which the flow's worker started."),
        lambda flow: flow.started_at if flow.pid else None,
    ),
    OfFlow(_gauge("flow_rate_bytes_per_second", "What the flow carries."), lambda flow: flow.rate_bps / 8 if flow.pid else None),
    OfFlow(_gauge("flow_alarms", "What somebody should know now."), lambda flow: len(flow.alarms) if flow.pid else None),
    OfFlow(_counter("flow_packets", "Packets that were recovered."), lambda flow: flow.account.carried if flow.account else None),
    OfFlow(_counter("flow_lost_packets", "Packets lost for good."), lambda flow: flow.account.lost if flow.account else None),
    OfFlow(
        _gauge("flow_merge_active", "1 while both sources are merged."),
        lambda flow: flow.merge.state == "merged" if flow.merge and flow.merge.state != "failover" else None,
    ),
    OfFlow(
        _gauge("flow_merge_skew_seconds", "How far the second source comes after the first; negative: before it."),
        lambda flow: _seconds(flow.merge.skew_ms) if flow.merge else None,
    ),
    OfFlow(
        _gauge("flow_merge_window_seconds", "How long the merge waits for the slower copy."),
        lambda flow: flow.merge.window_ms / 1e3 if flow.merge and flow.merge.window_ms else None,
    ),
    OfFlow(
        _counter("flow_failover_switches", "How often another source began to play."),
        lambda flow: flow.merge.switches if flow.merge and not flow.merge.window_ms else None,
    ),
    OfFlow(
        _counter("flow_stream_faults", "Faults of TR 101 290 in what the outputs are given."),
        lambda flow: _faults(_stream(flow)),
    ),
    OfFlow(_gauge("source_saved_packets", "Packets that only this source of a merge brought in time."), _saved),
    OfFlow(_gauge("source_selected", "Of a failover: 1 for the source that plays."), _selected),
]


def _of_both(side: str, did: str) -> list[OfEnd]:
    return [
        OfEnd(_gauge(f"{side}_connected", f"1 while the {side} is connected."), lambda end: end.state == "connected"),
        OfEnd(_gauge(f"{side}_rate_bytes_per_second", f"What is {did} now."), lambda end: end.rate_bps / 8),
        OfEnd(_counter(f"{side}_packets", f"Packets {did}: datagrams of up to 7 transport packets."), lambda end: end.packets),
        OfEnd(_counter(f"{side}_bytes", f"Bytes {did}."), lambda end: end.bytes),
        OfEnd(_counter(f"{side}_dropped_packets", "Packets dropped by this machine."), lambda end: end.dropped),
        OfEnd(_counter(f"{side}_refused", "Connections or packets that were not let in."), lambda end: end.refused),
        OfEnd(_gauge(f"{side}_round_trip_seconds", "There and back."), lambda end: _seconds(end.rtt_ms)),
        OfEnd(_gauge(f"{side}_latency_seconds", "Latency as negotiated."), lambda end: _seconds(end.latency_ms)),
        OfEnd(_gauge(f"{side}_buffer_seconds", "What is in the buffer."), lambda end: _seconds(end.buffer_ms)),
    ]


SOURCE = [
    *_of_both("source", "received"),
    OfEnd(
        _counter("source_retransmitted_packets", "Packets repaired by retransmission."),
        lambda end: end.repaired if _retransmits(end) else None,
    ),
    OfEnd(_counter("source_lost_packets", "Packets lost on this path for good."), lambda end: end.lost if _retransmits(end) else None),
    OfEnd(
        _gauge("source_missing_packets", "Of RTP: packets that neither came nor were repaired so far."),
        lambda end: end.lost if end.protocol.startswith("rtp") else None,
    ),
    OfEnd(
        _gauge("source_fec_repaired_packets", "Packets that FEC rebuilt and that did not come after all."),
        lambda end: end.fec_repaired if end.protocol == "rtp-fec" else None,
    ),
    OfEnd(_counter("source_stream_faults", "Faults of TR 101 290 in what comes in."), lambda end: _faults(end.health)),
]
OUTPUT = [
    *_of_both("output", "sent"),
    OfEnd(_counter("output_resent_packets", "Packets sent again."), lambda end: end.repaired if _retransmits(end) else None),
    OfEnd(
        _counter("output_lost_packets", "Packets that the receiver did not get in time."),
        lambda end: end.lost if _retransmits(end) else None,
    ),
    OfEnd(_gauge("output_receivers", "Receivers of a listening output."), lambda end: end.receivers),
]


ALARM = _gauge("alarm_active", "1 while this alarm is raised, 0 for an hour after it was cleared.")


def exposition(flows: Iterable[FlowStatus], alarms: Iterable[Alarm] = ()) -> str:
    """Everything, family by family, as the format wants it."""
    flows = list(flows)
    lines: list[str] = []
    named = [(_labels((("flow", flow.name),)), flow) for flow in flows]
    for family, of_flow in FLOW:
        _add(lines, family, ((labels, of_flow(flow)) for labels, flow in named))
    for table, side in ((SOURCE, "source"), (OUTPUT, "output")):
        ends = [
            (_labels((("flow", flow.name), (side, end.name), ("protocol", end.protocol))), end)
            for flow in flows
            for end in (flow.sources if side == "source" else flow.outputs)
        ]
        for family, of_end in table:
            _add(lines, family, ((labels, of_end(end)) for labels, end in ends))
    _add(lines, ALARM, ((_labels(_of_alarm(alarm)), alarm.active) for alarm in alarms))
    _add(lines, _gauge("exposition_time_seconds", "Unix time of this text."), [("", time.time())])
    return "\n".join(lines) + "\n"


def _of_alarm(alarm: Alarm) -> Labels:
    return ("alarm", alarm.alarm), ("severity", alarm.severity), ("flow", alarm.flow), ("end", alarm.end)


def _add(lines: list[str], family: Family, told: Iterable[tuple[str, Told]]) -> None:
    name = family.name
    samples: list[str] = []
    for labels, value in told:
        if isinstance(value, int | float):
            samples.append(f"{name}{{{labels}}} {_number(value)}" if labels else f"{name} {_number(value)}")
        elif value is not None:
            samples += [f"{name}{{{labels},{_labels(more)}}} {_number(one)}" for more, one in value if one is not None]
    if samples:
        lines += [f"# HELP {name} {_escaped(family.help)}", f"# TYPE {name} {family.type}", *samples]


def _labels(labels: Labels) -> str:
    return ",".join(f'{label}="{_escaped(value, quoted=True)}"' for label, value in labels)


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text


def _number(value: float | int) -> str:
    return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)
