"""H.264 in software: libx264 through PyAV, zero latency."""

from __future__ import annotations

from fractions import Fraction

from hw.encoder import EncoderError
from hw.frame import AccessUnit, Frame, pts_90k

CLOCK = Fraction(1, 90_000)
VBV_MS = 120


class X264:
    """Constant bitrate at `bitrate_bps`, to be changed at any time at or below the one it was opened with.

    x264 takes a new bitrate only where it was opened as CBR at the ceiling, by FFmpeg's own options and without HRD.
    Its buffer keeps the size in bits that it had at the ceiling.
    """

    def __init__(self, width: int, height: int, fps: int, bitrate_bps: int, gop_ms: int, preset: str, threads: int = 2) -> None:
        import av
        from av.video.frame import PictureType

        self._forced, self._chosen = PictureType.I, PictureType.NONE
        self.ceiling_bps = bitrate_bps
        self.name = f"x264 {preset}, software"
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.framerate = CLOCK, Fraction(fps)
        context.bit_rate = bitrate_bps
        context.gop_size = max(1, gop_ms * fps // 1000)
        context.max_b_frames = 0
        context.thread_count = threads
        context.options = {
            "preset": preset,
            "tune": "zerolatency",
            "maxrate": str(bitrate_bps),
            "bufsize": str(bitrate_bps * VBV_MS // 1000),
            "forced-idr": "1",
            "sc_threshold": "0",
            "aud": "1",
        }
        try:
            context.open()
        except av.FFmpegError as error:
            raise EncoderError(f"x264 cannot encode {width} x {height} at {fps} frames a second: {error.strerror}") from None
        self._context = context

    @property
    def bitrate_bps(self) -> int:
        return self._context.bit_rate or self.ceiling_bps

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        """Above the ceiling x264 would not follow, so the ceiling it is."""
        self._context.bit_rate = min(value, self.ceiling_bps)

    def encode(self, frame: Frame, key: bool = False) -> list[AccessUnit]:
        picture = frame.picture
        picture.pts, picture.time_base = pts_90k(frame.capture_ns), CLOCK
        picture.pict_type = self._forced if key else self._chosen
        return [AccessUnit(packet, packet.pts or 0, packet.is_keyframe) for packet in self._context.encode(picture)]

    def close(self) -> None:
        """Nothing to give back."""
