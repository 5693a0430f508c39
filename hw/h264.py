"""What is in an H.264 stream, Annex B: NAL units, levels, the rate in parameter sets."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

SLICE, IDR, SEI, SPS, PPS, AUD = 1, 5, 6, 7, 8, 9
START = re.compile(re.escape(b"\0\0\1"))

# Table A-1: level_idc, MaxMBPS, MaxFS, MaxBR in 1000 bit/s of Baseline and Main; High may have 1.25 times that.
LEVELS = (
    (10, 1_485, 99, 64),
    (11, 3_000, 396, 192),
    (12, 6_000, 396, 384),
    (13, 11_880, 396, 768),
    (20, 11_880, 396, 2_000),
    (21, 19_800, 792, 4_000),
    (22, 20_250, 1_620, 4_000),
    (30, 40_500, 1_620, 10_000),
    (31, 108_000, 3_600, 14_000),
    (32, 216_000, 5_120, 20_000),
    (40, 245_760, 8_192, 20_000),
    (41, 245_760, 8_192, 50_000),
    (42, 522_240, 8_704, 50_000),
    (50, 589_824, 22_080, 135_000),
    (51, 983_040, 36_864, 240_000),
    (52, 2_073_600, 36_864, 240_000),
)
HIGH_TIMES = 1.25


def nals(data: bytes) -> Iterator[tuple[int, int]]:
    """Type and place of each NAL unit; the place is that of its header byte."""
    for found in START.finditer(data):
        if found.end() < len(data):
            yield data[found.end()] & 0x1F, found.end()


def nal_types(data: bytes) -> list[int]:
    return [kind for kind, _ in nals(data)]


def has_picture(data: bytes) -> bool:
    return any(SLICE <= kind <= IDR for kind, _ in nals(data))


def is_key(data: bytes) -> bool:
    return any(kind == IDR for kind, _ in nals(data))


def parameter_sets(data: bytes) -> bytes:
    """Its SPS and PPS, with start codes."""
    places = [*nals(data), (0, len(data) + 3)]
    ends = (place for _, place in places[1:])
    wanted = [data[place : end - 3].rstrip(b"\0") for (kind, place), end in zip(places, ends, strict=False) if kind in (SPS, PPS)]
    return b"".join(b"\0\0\0\1" + unit for unit in wanted)


def level_for(width: int, height: int, fps: float, bitrate_bps: int) -> int:
    """The lowest level_idc that High profile may have for this size, rate and bitrate; the highest there is where none does."""
    blocks = -(-width // 16) * -(-height // 16)
    for level, most_a_second, most, kbps in LEVELS:
        small = blocks <= most and max(width, height) / 16 <= (8 * most) ** 0.5
        if small and blocks * fps <= most_a_second and bitrate_bps <= kbps * 1000 * HIGH_TIMES:
            return level
    return LEVELS[-1][0]


class SpsRate:
    """Writes the rate, and a level, into the parameter sets of key pictures, where an encoder does not. FFmpeg's `h264_metadata`."""

    def __init__(self, fps: int, level: int) -> None:
        import av
        from av.bitstream import BitStreamFilterContext

        # PyAV 14 takes the codec from a stream alone, so one is made of a file that is never written.
        self._nowhere = av.open(io.BytesIO(), "w", format="h264")
        stream: Any = self._nowhere.add_stream("h264", rate=fps)
        self._filter = BitStreamFilterContext(f"h264_metadata=tick_rate={2 * fps}:fixed_frame_rate_flag=1:level={level}", stream)

    def __call__(self, data: bytes) -> bytes:
        import av

        try:
            (packet,) = self._filter.filter(av.Packet(data))
        except av.FFmpegError:  # what it cannot read goes on as it is
            return data
        return bytes(packet)
