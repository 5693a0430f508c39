"""H.264 by a Jetson's NVENC, through NVIDIA's GStreamer elements.

    appsrc ─► nvvidconv ─► nvv4l2h264enc ─► h264parse ─► appsink
     I420      NVMM NV12    byte stream      SPS, PPS at every IDR

As NVIDIA's sources have it: `bitrate` is followed while it plays, although its description says otherwise; the element does
not look at GStreamer's own event for a key frame, it has the action `force-IDR` for that. Where an element has no such
action it is sent the event. The Orin Nano has no NVENC, and its element is missing or cannot open the device.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from hw.annexb import Whole
from hw.encoder import EncoderError
from hw.frame import AccessUnit, Frame
from hw.gst import Pipeline, bytes_of, has_element, packed

ANSWER_S = 2.0  # a session is set up in 50 ms, a picture is through in 10
VBV_MS = 120  # as with x264: what a key frame may take
NO_NVENC = "a Jetson without NVENC, like the Orin Nano, has no such encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """What the pipelines are made of. The board's own; another table makes the same pipelines run elsewhere."""

    encoder: str = "nvv4l2h264enc"
    converter: str = "nvvidconv"
    memory: str = "(memory:NVMM)"
    argus: str = "nvarguscamerasrc"
    v4l2: str = "v4l2src"
    words: str = "hardware"


BOARD = Elements()
HALF_TURN = "flip-method=2"  # of the converter


def encoding(elements: Elements, fps: int, bitrate_bps: int, gop_ms: int, turn: str = "") -> str:
    """The part of a pipeline from raw pictures, in system memory or NVMM, to access units."""
    gop = max(1, gop_ms * fps // 1000)
    vbv_bits = bitrate_bps * VBV_MS // 1000
    settings = (
        f"bitrate={bitrate_bps} control-rate=constant_bitrate vbv-size={vbv_bits} profile=High preset-level=UltraFastPreset "
        f"iframeinterval={gop} idrinterval={gop} num-B-Frames=0 insert-sps-pps=true insert-aud=true insert-vui=true maxperf-enable=true"
    )
    return (
        f"{elements.converter} {turn} ! video/x-raw{elements.memory},format=NV12 ! {elements.encoder} name=encoder {settings} ! "
        "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"
    )


def force_key_frame(gst: Any, encoder: Any) -> None:
    from gi.repository import GObject

    if GObject.signal_lookup("force-IDR", encoder):
        encoder.emit("force-IDR")
        return
    wish = gst.Structure.new_from_string("GstForceKeyUnit, all-headers=(boolean)true, count=(uint)0")
    encoder.get_static_pad("sink").send_event(gst.Event.new_custom(gst.EventType.CUSTOM_DOWNSTREAM, wish))


class JetsonH264:
    """One access unit for each picture, in the same call."""

    def __init__(self, width: int, height: int, fps: int, bitrate_bps: int, gop_ms: int, elements: Elements = BOARD) -> None:
        self.ceiling_bps = self._bitrate_bps = bitrate_bps
        self.name = f"{elements.encoder}, {elements.words}"
        shape = f"video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
        try:
            if not has_element(elements.encoder):
                raise OSError("GStreamer has no element of that name")
            self._pipeline = Pipeline(
                f"appsrc name=source is-live=true format=time caps={shape} ! {encoding(elements, fps, bitrate_bps, gop_ms)} ! "
                "appsink name=sink sync=false max-buffers=8"
            )
            self._pipeline.play()
        except OSError as error:
            raise EncoderError(
                f"{elements.encoder} cannot encode {width} x {height} at {fps} frames a second: {error}; {NO_NVENC}"
            ) from None
        self._source, self._encoder = self._pipeline.element("source"), self._pipeline.element("encoder")
        self._size, self._duration_ns = (width, height), 1_000_000_000 // fps
        self._whole, self._begun = Whole(), False
        self._times: deque[int] = deque()  # of pictures that are inside; elements shift times by a constant of their own

    @property
    def bitrate_bps(self) -> int:
        return self._bitrate_bps

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        value = min(value, self.ceiling_bps)
        if value != self._bitrate_bps:
            self._bitrate_bps = value
            self._encoder.set_property("bitrate", value)

    def encode(self, frame: Frame, key: bool = False) -> list[AccessUnit]:
        gst = self._pipeline.gst
        if key and self._begun:  # the first is one anyway, and NVIDIA's element has not opened its device before it
            force_key_frame(gst, self._encoder)
        self._begun = True
        buffer = gst.Buffer.new_wrapped(self._packed(frame))
        buffer.pts, buffer.duration = frame.capture_ns, self._duration_ns
        self._times.append(frame.capture_ns)
        self._source.emit("push-buffer", buffer)
        sample = self._pipeline.pull(ANSWER_S)
        if sample is None:
            why = self._pipeline.fault() or f"no picture came out of it within {ANSWER_S:.0f} seconds"
            raise EncoderError(f"{self.name}: {why}")
        return [self._whole.unit(bytes_of(sample.get_buffer()), self._times.popleft())]

    def close(self) -> None:
        self._pipeline.close()

    def _packed(self, frame: Frame) -> bytes:
        picture = frame.picture
        if (picture.width, picture.height) != self._size:
            raise EncoderError(f"{self.name}: a picture of {picture.width} x {picture.height} does not fit")
        return packed(picture if picture.format.name == "yuv420p" else picture.reformat(format="yuv420p"))
