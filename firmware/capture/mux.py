"""MPEG-TS of one picture and its sound, as whole 188-byte packets at the rate that they happen to have.

The stream is not yet at constant rate: tables at least every 100 ms and before each key frame, a PCR with each picture,
PTS equal to 90 kHz of CLOCK_MONOTONIC. Whoever sends it adds null packets and stamps PCR by position.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

from hw.frame import SAMPLE_RATE_HZ, AccessUnit

PID_PMT, PID_VIDEO, PID_AUDIO = 0x1000, 0x100, 0x101
CLOCK = Fraction(1, 90_000)

OPTIONS = {
    "mpegts_pmt_start_pid": str(PID_PMT),
    "mpegts_start_pid": str(PID_VIDEO),
    "mpegts_copyts": "1",  # the times are CLOCK_MONOTONIC's; no offset of the muxer's own
    "max_delay": "0",
    "pat_period": "0.1",
    "pcr_period": "10",
    "omit_video_pes_length": "0",  # a receiver need not wait for the next picture to know that this one is whole
    "pes_payload_size": "0",  # one block of sound a PES packet; the default gathers up to eight
    "flush_packets": "1",
}


class Mux:
    """`write` gives back the packets of just that picture, provided that the sound so far reaches the picture's time.

    Close it: PyAV 14 crashes where an open muxer is collected.
    """

    def __init__(self) -> None:
        import av

        self._out = _Out()
        self._container = av.open(self._out, "w", format="mpegts", options=OPTIONS)
        self._container.metadata.update(service_name="Pressbox", service_provider="Pressbox")
        # The streams need a codec for their tables alone, so the smallest one does; nothing is encoded with these.
        self._video: Any = self._container.add_stream("libx264", 30, width=64, height=64, options={"preset": "ultrafast"})
        self._audio: Any = self._container.add_stream("aac", SAMPLE_RATE_HZ)

    def write(self, pictures: list[AccessUnit], sound: list[AccessUnit]) -> bytes:
        for stream, units in ((self._audio, sound), (self._video, pictures)):
            for unit in units:
                packet = unit.packet
                packet.stream, packet.time_base = stream, CLOCK
                packet.pts = packet.dts = unit.pts_90k
                self._container.mux_one(packet)
        return self._out.take()

    def close(self) -> bytes:
        """What it still held: pictures that waited for their sound."""
        self._container.close()
        return self._out.take()


class _Out(io.RawIOBase):
    """Where the muxer writes to."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole
