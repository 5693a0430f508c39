"""Access units (ITU-T H.264 annex B) from cameras and devices, made whole for a transport stream."""

from __future__ import annotations

from fractions import Fraction

from hw.frame import AccessUnit, pts_90k
from hw.h264 import AUD, IDR, PPS, SPS, nals, parameter_sets

CLOCK = Fraction(1, 90_000)
DELIMITER = b"\0\0\0\1\x09\xf0"  # primary_pic_type 7: any picture may follow


class Whole:
    """A delimiter first, and both parameter sets before every IDR picture.

    Sets that come only at the start, or in a description beside the stream, are kept and put in.
    """

    def __init__(self, sets: bytes = b"") -> None:
        self._sets = parameter_sets(sets)

    def __call__(self, data: bytes) -> tuple[bytes, bool]:
        """The access unit, and whether a decoder can start with it."""
        places = list(nals(data))
        kinds = [kind for kind, _ in places]
        complete = SPS in kinds and PPS in kinds
        if complete:
            self._sets = parameter_sets(data)
        if IDR not in kinds or complete:
            return (data if kinds[:1] == [AUD] else DELIMITER + data), IDR in kinds
        pictures = data
        if kinds[0] == AUD:
            pictures = b"\0" + data[places[1][1] - 3 :]
        return DELIMITER + self._sets + pictures, bool(self._sets)

    def unit(self, data: bytes, capture_ns: int) -> AccessUnit:
        from av import Packet

        data, key = self(data)
        packet = Packet(data)
        packet.pts = packet.dts = pts_90k(capture_ns)
        packet.time_base, packet.is_keyframe = CLOCK, key
        return AccessUnit(packet, packet.pts, key)
