"""What is going on: the small snapshots that workers replace twice a second and everybody else reads.

*Repaired* packets never reached the picture; *lost* ones did. Counters start at 0 with the worker.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

STALE_S = 3.0


class FaultStatus(msgspec.Struct, kw_only=True):
    """One kind of fault of TR 101 290, and when it was seen first and last (Unix time)."""

    name: str
    clause: str  # 1.1 to 2.6
    count: int
    first_at: float
    last_at: float


class HealthStatus(msgspec.Struct, kw_only=True):
    """What TR 101 290 says of the stream. For an output: of the stream that it is given."""

    rate_bps: float = 0.0
    pcr_interval_ms: float | None = None  # longest
    pcr_accuracy_ns: float | None = None  # worst; None where the rate is not constant
    faults: list[FaultStatus] = []


class Event(msgspec.Struct, kw_only=True):
    """Something that changed by itself or on purpose, in words."""

    at: float  # Unix time
    text: str


class Account(msgspec.Struct, kw_only=True):
    """What saved the picture, in packets. `alone` says what each source would have lost without the other."""

    carried: int = 0
    lost: int = 0
    by_retransmission: int = 0
    by_fec: int = 0
    by_merge: int = 0
    alone: dict[str, int] = {}
    without_fec: int | None = None  # what would have been lost without FEC; None where there is none


class EndStatus(msgspec.Struct, kw_only=True):
    """One source or output. Packets are datagrams of up to 7 transport packets."""

    name: str
    protocol: str
    state: Literal["connected", "connecting", "waiting", "off", "failed"]
    message: str = ""  # why, in words, where `state` alone does not say
    peer: str = ""  # address and port of the far end
    packets: int = 0
    bytes: int = 0
    rate_bps: float = 0.0
    repaired: int = 0  # by retransmission on this path
    asked: int = 0  # datagrams that the receiving end asked for again
    lost: int = 0  # on this path, for good
    dropped: int = 0  # by us: queue full, not allowed, not MPEG-TS
    refused: int = 0  # connections or datagrams that were not let in
    confirmed: bool | None = None  # of an output: the far end says that it arrives; None where the protocol cannot tell
    rtt_ms: float | None = None
    latency_ms: int | None = None  # as negotiated
    buffer_ms: float | None = None
    receivers: int | None = None  # of a listener output
    encryption: str = ""  # "in the clear" where there is none
    fec_packets: int = 0  # of FEC that came
    fec_repaired: int = 0  # rebuilt from FEC
    fec_matrix: str = ""  # columns x rows, as learnt or as sent
    health: HealthStatus | None = None


class MergeStatus(msgspec.Struct, kw_only=True):
    """Two copies into one. `saved_by` counts, by source, the packets that only it brought."""

    state: Literal["merged", "one leg", "failover", "waiting"]
    message: str = ""
    skew_ms: float | None = None
    window_ms: int = 0
    released: int = 0
    lost: int = 0  # brought by no leg
    saved_by: dict[str, int] = {}
    differing: list[str] = []  # sources that are not the same stream as the other
    playing: str = ""  # of a failover: the source that plays
    switches: int = 0


class FlowStatus(msgspec.Struct, kw_only=True):
    name: str
    state: Literal["STANDBY", "STARTING", "ACTIVE", "UPDATING", "STOPPING", "ERROR"]
    pid: int = 0
    started_at: float = 0.0  # Unix time
    at: float = 0.0  # Unix time of this snapshot
    message: str = ""
    picture: Literal["live", "slate", "none"] | None = None  # of a flow with a camera
    rate_bps: float = 0.0
    sources: list[EndStatus] = []
    outputs: list[EndStatus] = []
    merge: MergeStatus | None = None
    account: Account | None = None
    alarms: list[str] = []  # what somebody should know now
    events: list[Event] = []  # the last ones, oldest first
    counters: dict[str, int] = {}

    @property
    def stale(self) -> bool:
        """True when the worker stopped writing: it is gone or hangs."""
        return time.time() - self.at > STALE_S


class CaptureStatus(msgspec.Struct, kw_only=True):
    pid: int
    at: float
    camera: str
    encoder: str  # which one really runs
    encoder_why: str = ""  # that one, in words
    source: str = ""  # what the camera gives: "1920 x 1080 MJPEG, 30/s"
    frames: int = 0
    keyframes: int = 0
    dropped: int = 0
    bitrate_bps: int = 0
    why_bitrate: str = ""  # in words, where it is not the one that was asked for
    spared: str = ""  # why less is asked of the board, where it is
    encode_ms: float = 0.0  # median of the last seconds
    attempts: int = 0  # to open a camera that could not be opened or fell silent
    loaded: bool = False  # the libraries, which takes a slow board half a minute; from now on the camera is to blame
    present: bool = True  # the camera's device is there
    picture: Literal["moving", "black", "frozen", "none"] = "none"
    sound: Literal["heard", "silent", "none"] = "none"
    sound_message: str = ""  # why there is none, where a microphone was asked for
    levels_db: list[float] = []  # peak of the last half second, left and right; full scale is 0
    drift_ppm: float | None = None  # of the microphone's clock against this machine's
    message: str = ""  # why there is no picture, in words


class RecordingStatus(msgspec.Struct, kw_only=True):
    pid: int
    at: float
    folder: str
    segment: str = ""  # that is being written; empty: none is
    segments: int = 0  # of this flow on the disk
    bytes: int = 0  # written since the start
    missed_bytes: int = 0  # that came while the disk took nothing
    removed: int = 0  # segments, to keep the bound
    message: str = ""  # why nothing is recorded, in words


T = TypeVar("T", bound=msgspec.Struct)


def write_snapshot(path: Path, status: msgspec.Struct) -> None:
    """Replace the snapshot; a reader sees the old one or the new one, never half of either."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(status))
    os.replace(fresh, path)


def read_snapshot(path: Path, kind: type[T]) -> T | None:
    """The snapshot, or None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
