"""Cameras of a Jetson through GStreamer: its own on CSI, with NVIDIA's image processing (Argus), or a V4L2 device.

    nvarguscamerasrc ─► NVMM NV12 ─► nvvidconv ─► I420 ─► appsink                               pictures
                                  └► nvvidconv ─► nvv4l2h264enc ─► h264parse ─► appsink         access units, no copy of a picture

NVIDIA's source stamps a picture when it comes out of the image processing, on the pipeline's clock, which is CLOCK_MONOTONIC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hw.annexb import Whole
from hw.camera import CameraError, Rotation
from hw.camera.count import Count
from hw.encoder.jetson import BOARD, HALF_TURN, Elements, encoding, force_key_frame
from hw.frame import Coded, Frame
from hw.gst import Pipeline, bytes_of, unpack

if TYPE_CHECKING:
    from av import VideoFrame

SILENT_S = 2.0
FIRST_S = 6.0  # the Argus daemon takes its time to start a sensor


class JetsonCamera:
    """`source`: the number of a CSI camera, or the path of a V4L2 device that gives raw pictures."""

    def __init__(
        self,
        source: int | str,
        width: int,
        height: int,
        fps: int,
        *,
        encode: bool = False,
        bitrate_bps: int = 6_000_000,
        gop_ms: int = 1000,
        rotation: Rotation = 0,
        exposure_us: int | None = None,
        gain: float | None = None,
        elements: Elements = BOARD,
    ) -> None:
        kind = "CSI" if isinstance(source, int) else "V4L2"
        self.name = f"Jetson {kind} camera {source}, {width} x {height} {fps}/s" + (f", {elements.encoder}" if encode else "")
        self.fps = float(fps)
        self._encode, self._bitrate_bps, self._ceiling_bps = encode, bitrate_bps, bitrate_bps
        shape = f"width={width},height={height},framerate={fps}/1"
        taken, turn = _source(source, shape, exposure_us, gain, elements), HALF_TURN if rotation else ""
        if encode:
            self._start(f"{taken} ! {encoding(elements, fps, bitrate_bps, gop_ms, turn)} ! appsink name=sink sync=false max-buffers=30")
        else:
            raw = f"video/x-raw,format=I420,width={width},height={height}"
            self._start(f"{taken} ! {elements.converter} {turn} ! {raw} ! appsink name=sink sync=false max-buffers=2 drop=true")
        self._whole = Whole()
        self._picture: VideoFrame | None = None
        self._shape = width, height
        self._count, self._patience_s = Count(fps), FIRST_S

    def read(self) -> Frame | Coded:
        sample = self._pipeline.pull(self._patience_s)
        if sample is None:
            why = self._pipeline.fault() or f"no picture for {self._patience_s:.0f} seconds"
            raise CameraError(f"{self.name}: {why}")
        self._patience_s = SILENT_S
        buffer = sample.get_buffer()
        capture_ns = self._captured(sample)
        number, self.fps = self._count.push(capture_ns), self._count.fps
        if self._encode:
            return Coded(number, self._whole.unit(bytes_of(buffer), capture_ns), capture_ns)
        return Frame(number, self._unpacked(bytes_of(buffer)), capture_ns)

    @property
    def bitrate_bps(self) -> int:
        return self._bitrate_bps

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        value = min(value, self._ceiling_bps)
        if self._encode and value != self._bitrate_bps:
            self._pipeline.element("encoder").set_property("bitrate", value)
        self._bitrate_bps = value

    def key_frame(self) -> None:
        if self._encode:
            force_key_frame(self._pipeline.gst, self._pipeline.element("encoder"))

    def close(self) -> None:
        self._pipeline.close()

    def _start(self, description: str) -> None:
        try:
            self._pipeline = Pipeline(description)
            self._pipeline.play()
        except OSError as error:
            raise CameraError(f"{self.name} cannot be opened: {error}") from None

    def _captured(self, sample: Any) -> int:
        """Running time is what elements agree on, whatever they add to their time stamps."""
        gst = self._pipeline.gst
        return self._pipeline.monotonic_ns(sample.get_segment().to_running_time(gst.Format.TIME, sample.get_buffer().pts))

    def _unpacked(self, data: bytes) -> VideoFrame:
        from av import VideoFrame

        if self._picture is None:
            self._picture = VideoFrame(*self._shape, "yuv420p")
        unpack(data, self._picture)
        return self._picture


def _source(source: int | str, shape: str, exposure_us: int | None, gain: float | None, elements: Elements) -> str:
    if isinstance(source, str):
        return f'{elements.v4l2} device="{source}" ! video/x-raw,{shape}'
    controls = f"sensor-id={source}"
    if exposure_us is not None:  # a range of nanoseconds; one value is both its ends
        controls += f' exposuretimerange="{exposure_us * 1000} {exposure_us * 1000}"'
    if gain is not None:
        controls += f' gainrange="{gain:g} {gain:g}"'
    return f"{elements.argus} {controls} ! video/x-raw{elements.memory},format=NV12,{shape}"
