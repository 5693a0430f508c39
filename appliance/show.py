"""`pressbox status`: the snapshots as a person reads them in a terminal."""

from __future__ import annotations

import time

import msgspec

from appliance import account
from appliance.capturewords import about
from appliance.verdict import judge
from firmware.model import Flow
from firmware.places import Places
from firmware.status import CaptureStatus, EndStatus, FlowStatus, MergeStatus, RecordingStatus, read_snapshot
from firmware.urldisplay import display

EVENTS_SHOWN = 5


def statuses(places: Places) -> list[FlowStatus]:
    found = (read_snapshot(path, FlowStatus) for path in sorted(places.run.glob("*.flow.json")))
    return [status for status in found if status is not None]


def status_json(places: Places) -> str:
    return msgspec.json.encode(statuses(places)).decode()


def status_lines(places: Places) -> list[str]:
    lines: list[str] = []
    for status in statuses(places):
        capture = read_snapshot(places.capture_snapshot(status.name), CaptureStatus)
        recording = read_snapshot(places.recording_snapshot(status.name), RecordingStatus)
        lines += [*_flow_lines(status, capture, recording), ""]
    return lines[:-1] or ["no flow; `pressbox demo` shows one, `pressbox flow create FILE` makes one"]


def url_lines(flow: Flow) -> list[str]:
    """The ends of a flow as a person writes them; no secret is in them, only its name."""
    lines = [f"in  {source.name:14} {display(source)}" for source in flow.sources]
    return lines + [f"out {output.name:14} {display(output)}" + ("" if output.enabled else "  (disabled)") for output in flow.outputs]


def _flow_lines(status: FlowStatus, capture: CaptureStatus | None, recording: RecordingStatus | None) -> list[str]:
    verdict = judge(status, "STANDBY" if status.state == "STANDBY" else "ACTIVE", time.time() - status.at, 0, capture)
    lines = [
        f"{status.name}  {verdict.word}  {status.rate_bps / 1e6:.2f} Mb/s" + (f"  picture: {status.picture}" if status.picture else "")
    ]
    lines += [f"  ! {reason}" for reason in verdict.reasons]
    if capture and not capture.message:
        lines.append(f"  camera {capture.camera}, {capture.frames} frames, {capture.encode_ms:.1f} ms to encode one")
        lines.append(f"  {about(capture)}")
    if status.sources or status.outputs:
        lines.append("  " + _row("", "name", "protocol", "state", "Mb/s", "packets", "repaired", "lost", "dropped", "RTT ms"))
    lines += [_end_line("in", end) for end in status.sources]
    lines += [_end_line("out", end) for end in status.outputs]
    if status.merge:
        lines += _merge_lines(status.merge)
    if recording:
        lines.append(f"  recording: {recording_words(recording)}")
    return lines + [f"  {line}" for line in summary_lines(status)]


def recording_words(recording: RecordingStatus) -> str:
    """What is on the disk, or why nothing is."""
    if recording.message:
        return recording.message
    missed = f", {recording.missed_bytes / 1e6:.1f} MB missed" if recording.missed_bytes else ""
    return f"{recording.segment or 'waits for a key picture'} in {recording.folder}, {recording.segments} files{missed}"


def _merge_lines(merge: MergeStatus) -> list[str]:
    if merge.state == "failover":
        return [f"  failover: {account.plays(merge)}"]
    saved = ", ".join(f"{count} only by {name}" for name, count in merge.saved_by.items())
    skew = "" if merge.skew_ms is None else f", skew {merge.skew_ms:+.1f} ms of {merge.window_ms}"
    line = f"  merge {merge.state}: {merge.released} out, {merge.lost} lost" + (f", {saved}" if saved else "") + skew
    return [line, *([f"    {merge.message}"] if merge.message else [])]


def summary_lines(status: FlowStatus) -> list[str]:
    """What saved the picture, what is wrong with the stream, what happened last."""
    lines = []
    kept = account.account_of(status)
    if kept:
        lines.append(f"saved: {account.saved(kept)}; lost {kept.lost} of {kept.carried + kept.lost}")
        without = account.would_have_lost(kept)
        lines += [f"  {without}"] if without else []
    for name, health in account.healths(status):
        figures, faults = account.figures_of(health), account.faults_of(health)
        if figures or faults:
            lines.append(f"stream of {name}: " + "; ".join(part for part in (figures, "" if faults else "no fault (TR 101 290)") if part))
        lines += [f"  {fault}" for fault in faults]
    return lines + [f"{account.clock(event.at)} {event.text}" for event in status.events[-EVENTS_SHOWN:]]


def _end_line(side: str, end: EndStatus) -> str:
    rtt = "" if end.rtt_ms is None else f"{end.rtt_ms:.1f}"
    figures = (f"{end.rate_bps / 1e6:.2f}", end.packets, end.repaired + end.fec_repaired, end.lost, end.dropped + end.refused, rtt)
    notes = "; ".join(note for note in (account.encryption(end), account.fec(end), end.message) if note)
    return "  " + _row(side, end.name, end.protocol, end.state, *figures) + (f"  {notes}" if notes else "")


def _row(side: str, name: str, protocol: str, state: str, *figures: object) -> str:
    widths = (7, 10, 9, 7, 8, 7)
    return f"{side:3} {name:14} {protocol:13} {state:11}" + "".join(
        f" {figure:>{width}}" for figure, width in zip(figures, widths, strict=True)
    )
