"""Snapshots as workers write them: a box on air over two paths, and the local flow that takes them."""

from __future__ import annotations

import re
import time
from html import unescape
from typing import Any

from flask.testing import FlaskClient

from firmware.places import Places
from firmware.status import (
    Account,
    CaptureStatus,
    EndStatus,
    Event,
    FaultStatus,
    FlowStatus,
    HealthStatus,
    MergeStatus,
    write_snapshot,
)


def on_air(places: Places, **changes: Any) -> FlowStatus:
    fields: dict[str, Any] = {
        "name": "court-3",
        "state": "ACTIVE",
        "pid": 10,
        "started_at": time.time() - 6127,
        "at": time.time(),
        "picture": "live",
        "rate_bps": 5.75e6,
        "sources": [EndStatus(name="cam", protocol="camera", state="connected", packets=91_000, rate_bps=5.75e6)],
        "outputs": [
            path("path-a", "203.0.113.9:5000", rtt_ms=18.2, repaired=412),
            path("path-b", "198.51.100.4:5000", rtt_ms=64.0, repaired=3_120),
        ],
    }
    status = FlowStatus(**fields | changes)
    write_snapshot(places.snapshot(status.name), status)
    capture = CaptureStatus(
        pid=11,
        at=status.at,
        camera="pattern",
        encoder="libx264 superfast, CBR",
        frames=183_810,
        keyframes=6_127,
        bitrate_bps=5_000_000,
        encode_ms=5.3,
    )
    write_snapshot(places.capture_snapshot(status.name), capture)
    return status


def path(name: str, peer: str, **changes: Any) -> EndStatus:
    fields: dict[str, Any] = {"state": "connected", "peer": peer, "packets": 3_346_112, "rate_bps": 5.78e6, "latency_ms": 250}
    return EndStatus(name=name, protocol="srt-caller", **fields | changes)


def received(places: Places, **changes: Any) -> FlowStatus:
    fields: dict[str, Any] = {
        "name": "studio",
        "state": "ACTIVE",
        "pid": 12,
        "started_at": time.time() - 6125,
        "at": time.time(),
        "rate_bps": 5.75e6,
        "sources": [leg("path-a", repaired=412, rtt_ms=18.4), leg("path-b", repaired=3_120, lost=17, rtt_ms=63.7)],
        "merge": MergeStatus(state="merged", skew_ms=46.2, window_ms=200, released=3_346_000, saved_by={"path-a": 380, "path-b": 32}),
        "outputs": [
            EndStatus(
                name="truck",
                protocol="srt-listener",
                state="connected",
                peer="192.0.2.44:50113",
                packets=3_345_990,
                rate_bps=5.75e6,
                rtt_ms=1.1,
                latency_ms=120,
                receivers=1,
            ),
            EndStatus(name="wall", protocol="udp", state="connected", peer="239.1.2.3:5004", packets=3_346_000, rate_bps=5.75e6),
            EndStatus(name="backup", protocol="srt-listener", state="waiting", latency_ms=120, receivers=0),
        ],
    }
    status = FlowStatus(**fields | changes)
    write_snapshot(places.snapshot(status.name), status)
    return status


def leg(name: str, **changes: Any) -> EndStatus:
    fields: dict[str, Any] = {
        "state": "connected",
        "peer": "203.0.113.77:41200",
        "packets": 3_345_588,
        "rate_bps": 5.77e6,
        "latency_ms": 250,
    }
    return EndStatus(name=name, protocol="srt-listener", **fields | changes)


def protected(places: Places, **changes: Any) -> FlowStatus:
    """A local flow whose two sources are RTP with FEC, one of them encrypted, and which tells all there is to tell."""
    now = time.time()
    health = HealthStatus(
        rate_bps=5.75e6,
        pcr_interval_ms=29.7,
        pcr_accuracy_ns=34,
        faults=[
            FaultStatus(name="pcr_repetition", clause="2.3a", count=1, first_at=now - 50, last_at=now - 50),
            FaultStatus(name="continuity_count", clause="1.4", count=3, first_at=now - 70, last_at=now - 60),
        ],
    )
    fields: dict[str, Any] = {
        "name": "hall",
        "sources": [
            fec_leg("path-a", encryption="SRTP, AES-256-GCM", fec_repaired=45, fec_matrix="10x10", health=HealthStatus()),
            fec_leg("path-b", encryption="in the clear", fec_repaired=0, fec_matrix="5x20", lost=17, health=HealthStatus()),
        ],
        "outputs": [
            EndStatus(
                name="truck",
                protocol="srt-caller",
                state="connected",
                peer="192.0.2.44:5000",
                packets=3_345_990,
                rate_bps=5.75e6,
                rtt_ms=1.1,
                latency_ms=120,
                encryption="SRT, AES-256",
                health=health,
            ),
            EndStatus(
                name="wall",
                protocol="rtp-fec",
                state="connected",
                peer="203.0.113.9:5004",
                packets=3_346_000,
                rate_bps=6.9e6,
                encryption="in the clear",
                fec_matrix="10x10",
                health=health,
            ),
            EndStatus(
                name="spare",
                protocol="rist",
                state="connecting",
                message="nobody answers at 198.51.100.4:5002",
                peer="198.51.100.4:5002, 198.51.100.5:5002",
                latency_ms=200,
                encryption="RIST, AES-256",
                health=health,
            ),
        ],
        "merge": MergeStatus(state="merged", skew_ms=46.2, window_ms=500, released=3_346_000, saved_by={"path-a": 380, "path-b": 32}),
        "account": Account(
            carried=3_346_000, lost=2, by_retransmission=0, by_fec=45, by_merge=412, alone={"path-a": 32, "path-b": 380}, without_fec=47
        ),
        "alarms": ["truck and wall leave by eth0: a cut there takes both"],
        "events": [Event(at=now - 90 + number, text=f"path-b: event {number}") for number in range(7)],
    }
    return received(places, **fields | changes)


def fec_leg(name: str, **changes: Any) -> EndStatus:
    fields: dict[str, Any] = {"state": "connected", "peer": "203.0.113.77:41200", "packets": 3_345_588, "rate_bps": 5.77e6}
    return EndStatus(name=name, protocol="rtp-fec", **fields | changes)


def seen(client: FlaskClient) -> str:
    """The words on the page, without markup."""
    html = client.get("/live").get_data(as_text=True)
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))).replace("\N{NARROW NO-BREAK SPACE}", " ")
