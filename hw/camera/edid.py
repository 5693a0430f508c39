"""What an HDMI bridge tells the source about itself: without an EDID a source sends nothing, and bridges start without one.

VESA E-EDID 1.3, one block, and CTA-861 with what a camera or a computer may send.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 128
NAME = b"Pressbox\n"
MAKER = "LNX"  # of Linux, for what is no monitor
SRGB = bytes.fromhex("ee91a3544c99260f5054")


@dataclass(frozen=True, slots=True)
class Timing:
    """CTA-861: its number, and pixels of either direction: shown, front porch, sync, back porch."""

    vic: int
    clock_khz: int
    across: tuple[int, int, int, int]
    down: tuple[int, int, int, int]


P1080_60 = Timing(16, 148_500, (1920, 88, 44, 148), (1080, 4, 5, 36))
P1080_30 = Timing(34, 74_250, (1920, 88, 44, 148), (1080, 4, 5, 36))
P720_60 = Timing(4, 74_250, (1280, 110, 40, 220), (720, 5, 5, 20))
OFFERED = {30: ((P1080_30, P720_60), (34, 33, 32, 4, 19)), 60: ((P1080_60, P720_60), (16, 31, 34, 33, 32, 4, 19))}


def edid(fps: float) -> bytes:
    """Up to 1080p30, which two lanes of CSI carry; to 1080p60 where more is wished. Two blocks."""
    timings, vics = OFFERED[30 if fps <= 30 else 60]
    letters = sum((ord(letter) - ord("A") + 1) << shift for letter, shift in zip(MAKER, (10, 5, 0), strict=True))
    fastest = max(one.clock_khz for one in timings)
    base = bytes.fromhex("00ffffffffffff00") + letters.to_bytes(2, "big") + bytes((1, 0, 0, 0, 0, 0, 0, 34, 1, 3))
    base += bytes((0x80, 0, 0, 120, 0x0E)) + SRGB + bytes((0x20, 0, 0)) + b"\1\1" * 8
    base += b"".join(map(_detailed, timings))
    base += b"\0\0\0\xfd\0" + bytes((23, 61, 15, 68, -(-fastest // 10_000), 0)) + NAME[-1:] + b" " * 6
    base += b"\0\0\0\xfc\0" + NAME.ljust(13)
    blocks = bytes((0x40 | len(vics), *vics)) + bytes.fromhex("23090707 83010000 e2004a 65030c001000")  # LPCM, two speakers, range, HDMI
    extension = bytes((2, 3, 4 + len(blocks), 0xC1)) + blocks  # underscanned, basic audio, the first timing is native
    return _closed(base + bytes((1,))) + _closed(extension.ljust(BLOCK - 1, b"\0"))


def _detailed(one: Timing) -> bytes:
    """E-EDID 3.10.2."""
    (wide, h_front, h_sync, h_back), (high, v_front, v_sync, v_back) = one.across, one.down
    h_blank, v_blank = h_front + h_sync + h_back, v_front + v_sync + v_back
    return (one.clock_khz // 10).to_bytes(2, "little") + bytes(
        (
            wide & 0xFF,
            h_blank & 0xFF,
            wide >> 8 << 4 | h_blank >> 8,
            high & 0xFF,
            v_blank & 0xFF,
            high >> 8 << 4 | v_blank >> 8,
            h_front & 0xFF,
            h_sync & 0xFF,
            v_front << 4 | v_sync,
            h_front >> 8 << 6 | h_sync >> 8 << 4,
            0,
            0,
            0,
            0,
            0,
            0x1E,  # progressive, separate syncs, both positive
        )
    )


def _closed(block: bytes) -> bytes:
    return block + bytes((-sum(block) & 0xFF,))
