"""Stand-ins for NVIDIA's GStreamer elements: the same properties, signals and refusals, with x264 and software behind them.

They prove that our pipelines hold together and are asked rightly; they say nothing about NVENC itself.
"""

from __future__ import annotations

import functools
from typing import Any

from hw.encoder.jetson import Elements
from hw.gst import has_element, load

PROFILES = ("Baseline", "Main", "High")
RATES = ("variable_bitrate", "constant_bitrate")
PRESETS = ("DisablePreset", "UltraFastPreset", "FastPreset", "MediumPreset", "SlowPreset")


@functools.cache
def gi_missing() -> str:
    """Why there can be no stand-ins here; empty if there can."""
    try:
        there = has_element("x264enc")
    except OSError as error:
        return str(error)
    return "" if there else "GStreamer's x264enc is missing; scripts/test installs it"


@functools.cache
def stand_ins() -> Elements:
    """Registers them in this process, under names that nobody takes for the real ones."""
    gst = load()
    from gi.repository import GObject

    whole = {"bitrate": 4_000_000, "iframeinterval": 30, "idrinterval": 256, "vbv-size": 4_000_000, "num-B-Frames": 0}
    flags = ("insert-sps-pps", "insert-aud", "insert-vui", "maxperf-enable")
    words = {"control-rate": RATES, "profile": PROFILES, "preset-level": PRESETS}
    mode = GObject.ParamFlags.READWRITE

    class Encoder(gst.Bin):
        """nvv4l2h264enc: bits a second, intervals in pictures, and `force-IDR`, for it ignores GStreamer's event."""

        __gstmetadata__ = ("Stand-in for nvv4l2h264enc", "Codec/Encoder/Video", "x264 behind NVIDIA's properties", "Pressbox")
        __gsttemplates__ = (
            _template(gst, "sink", "video/x-raw,format=NV12"),
            _template(gst, "src", "video/x-h264,stream-format=byte-stream,alignment=au"),
        )
        __gsignals__ = {"force-IDR": (GObject.SignalFlags.RUN_LAST | GObject.SignalFlags.ACTION, None, ())}  # noqa: RUF012

        __gproperties__ = (
            {name: (GObject.TYPE_UINT, name, name, 0, 2**32 - 1, value, mode) for name, value in whole.items()}
            | {name: (bool, name, name, False, mode) for name in flags}
            | {name: (str, name, name, allowed[0], mode) for name, allowed in words.items()}
        )

        def __init__(self) -> None:
            super().__init__()
            self.now: dict[str, Any] = whole | dict.fromkeys(flags, False) | {name: allowed[0] for name, allowed in words.items()}
            self.x264 = gst.ElementFactory.make("x264enc", None)
            self.add(self.x264)
            for pad in ("sink", "src"):
                self.add_pad(gst.GhostPad.new(pad, self.x264.get_static_pad(pad)))
            self.x264.get_static_pad("sink").add_probe(gst.PadProbeType.EVENT_DOWNSTREAM, self._ignore)

        def _ignore(self, _pad: Any, info: Any) -> Any:
            structure = info.get_event().get_structure()
            foreign = structure is not None and structure.get_name() == "GstForceKeyUnit" and not structure.has_field("ours")
            return gst.PadProbeReturn.DROP if foreign else gst.PadProbeReturn.OK

        def do_get_property(self, spec: Any) -> Any:
            return self.now[spec.name]

        def do_set_property(self, spec: Any, value: Any) -> None:
            self.now[spec.name] = value
            if spec.name == "bitrate":
                self.x264.set_property("bitrate", value // 1000)

        def do_force_IDR(self) -> None:
            wish = gst.Structure.new_from_string("GstForceKeyUnit, all-headers=(boolean)true, count=(uint)0, ours=(boolean)true")
            self.x264.get_static_pad("sink").send_event(gst.Event.new_custom(gst.EventType.CUSTOM_DOWNSTREAM, wish))

        def do_change_state(self, change: Any) -> Any:
            if change == gst.StateChange.NULL_TO_READY:
                if any(self.now[name] not in allowed for name, allowed in words.items()):
                    return gst.StateChangeReturn.FAILURE
                self._set_up()
            return gst.Bin.do_change_state(self, change)

        def _set_up(self) -> None:
            now = self.now
            gop = min(now["iframeinterval"], now["idrinterval"])
            wanted = {
                "bitrate": now["bitrate"] // 1000,
                "vbv-buf-capacity": max(1, now["vbv-size"] * 1000 // now["bitrate"]),
                "key-int-max": gop,
                "bframes": now["num-B-Frames"],
                "aud": now["insert-aud"],
                "insert-vui": now["insert-vui"],
                "byte-stream": True,
                "option-string": f"scenecut=0:keyint={gop}:repeat-headers={int(now['insert-sps-pps'])}",
            }
            for name, value in wanted.items():
                self.x264.set_property(name, value)
            gst.util_set_object_arg(self.x264, "tune", "zerolatency")
            gst.util_set_object_arg(self.x264, "speed-preset", "superfast")

    class Converter(gst.Bin):
        __gstmetadata__ = ("Stand-in for nvvidconv", "Filter/Video", "Converts, and turns by half", "Pressbox")
        __gsttemplates__ = (_template(gst, "sink", "video/x-raw"), _template(gst, "src", "video/x-raw"))
        flip_method = GObject.Property(type=int, default=0)

        def __init__(self) -> None:
            super().__init__()
            convert, self.flip = gst.ElementFactory.make("videoconvert", None), gst.ElementFactory.make("videoflip", None)
            for element in (convert, self.flip):
                self.add(element)
            convert.link(self.flip)
            self.add_pad(gst.GhostPad.new("sink", convert.get_static_pad("sink")))
            self.add_pad(gst.GhostPad.new("src", self.flip.get_static_pad("src")))
            self.connect("notify::flip-method", lambda *_: gst.util_set_object_arg(self.flip, "method", str(self.flip_method)))

    class Source(gst.Bin):
        """Of both kinds. `sensor-id=9` and `device=/dev/gone` give a few pictures and then nothing, `sensor-id=8` ends."""

        __gstmetadata__ = ("Stand-in for nvarguscamerasrc and v4l2src", "Source/Video", "A test picture", "Pressbox")
        __gsttemplates__ = (_template(gst, "src", "video/x-raw"),)
        sensor_id = GObject.Property(type=int, default=0)
        device = GObject.Property(type=str, default="")
        exposuretimerange, gainrange = GObject.Property(type=str, default=""), GObject.Property(type=str, default="")

        def __init__(self) -> None:
            super().__init__()
            self.test = gst.ElementFactory.make("videotestsrc", None)
            self.test.set_property("is-live", True)
            self.add(self.test)
            pad = self.test.get_static_pad("src")
            self.add_pad(gst.GhostPad.new("src", pad))
            pad.add_probe(gst.PadProbeType.EVENT_DOWNSTREAM, self._hang)
            self.connect("notify::sensor-id", lambda *_: self._short(self.sensor_id >= 8))
            self.connect("notify::device", lambda *_: self._short(self.device == "/dev/gone"))

        def _short(self, wanted: bool) -> None:
            if wanted:
                self.test.set_property("num-buffers", 3)

        def _hang(self, _pad: Any, info: Any) -> Any:
            ends = info.get_event().type == gst.EventType.EOS and self.sensor_id != 8
            return gst.PadProbeReturn.DROP if ends else gst.PadProbeReturn.OK

    for name, kind in {"nvv4l2h264enc": Encoder, "nvvidconv": Converter, "source": Source}.items():
        gst.Element.register(None, f"standin_{name}", 0, kind)
    return Elements(
        encoder="standin_nvv4l2h264enc",
        converter="standin_nvvidconv",
        memory="",
        argus="standin_source",
        v4l2="standin_source",
        words="stand-in",
    )


def _template(gst: Any, name: str, caps: str) -> Any:
    direction = gst.PadDirection.SINK if name == "sink" else gst.PadDirection.SRC
    return gst.PadTemplate.new(name, direction, gst.PadPresence.ALWAYS, gst.Caps.from_string(caps))
