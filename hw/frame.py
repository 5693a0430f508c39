"""What cameras give and what encoders take and give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av import Packet, VideoFrame

SAMPLE_RATE_HZ = 48_000

# How far a frame's sound reaches beyond its picture. The muxer lets a picture go once it holds sound of the same time or
# later, and the AAC encoder keeps almost four blocks of 1024 samples to itself.
SOUND_LEAD_SAMPLES = 4 * 1024


def samples_at(clock_ns: int) -> int:
    """The index of the sample at that time of CLOCK_MONOTONIC; sample 0 is at its zero."""
    return clock_ns * SAMPLE_RATE_HZ // 1_000_000_000


def pts_90k(capture_ns: int) -> int:
    """CLOCK_MONOTONIC as the stream counts it, not wrapped."""
    return capture_ns * 9 // 100_000


@dataclass(slots=True)
class Sound:
    """Stereo sound of any length, 32-bit float. `first` is the index of the first sample, see `samples_at`."""

    first: int
    left: bytes
    right: bytes


@dataclass(slots=True)
class Frame:
    """One picture, of any size and format, and the sound since the last one, of cameras that have any.

    The picture may be drawn over at the next read."""

    number: int
    picture: VideoFrame
    capture_ns: int  # CLOCK_MONOTONIC
    sound: list[Sound] = field(default_factory=list)


@dataclass(slots=True)
class AccessUnit:
    """One encoded picture, Annex B, or one encoded block of sound."""

    packet: Packet[Any]
    pts_90k: int  # of CLOCK_MONOTONIC, not wrapped
    key: bool = False


@dataclass(slots=True)
class Coded:
    """One picture from a camera that encodes itself: H.264, parameter sets in band at each key picture; and sound as with `Frame`."""

    number: int
    unit: AccessUnit
    capture_ns: int  # CLOCK_MONOTONIC
    sound: list[Sound] = field(default_factory=list)
