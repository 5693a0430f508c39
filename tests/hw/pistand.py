"""A stand-in for picamera2 and libcamera: their order of calls and their refusals, as picamera2 0.3.38 has them.

The sensor is a moving picture, the H.264 block is x264. It proves what is asked of picamera2, not what a Raspberry Pi does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from enum import Enum
from fractions import Fraction
from types import ModuleType
from typing import Any

import av
import pytest

STRIDE = 64  # rows are as long as a multiple of it
BUFFERS = 6


class Sensor:
    """What is fitted, and what goes wrong with it."""

    def __init__(self) -> None:
        self.controls: dict[str, Any] = {
            "FrameDurationLimits": (16_667, 1_000_000, 33_333),
            "ExposureTime": (75, 1_000_000, 20_000),
            "AnalogueGain": (1.0, 16.0, 1.0),
            "AfMode": (0, 2, 0),
            "AfTrigger": (0, 1, 0),
            "LensPosition": (0.0, 15.0, 1.0),
        }
        self.gives = "YUV420"
        self.asleep_ns = 0  # how far CLOCK_BOOTTIME is ahead
        self.numpy = False
        self.stopped_after: int | None = None  # pictures; then no more requests, and `stop` never returns
        self.fails = False  # libcamera stops by itself
        self.used: Camera | None = None
        self.asked: dict[str, Any] = {}
        self.transform: Any = None
        self.encoder: Encoder | None = None
        self.closed = threading.Event()


class Request:
    def __init__(self, camera: Camera, number: int, sensor_ns: int) -> None:
        self._camera, self._count, self.number = camera, 1, number
        self._sensor_ns = sensor_ns
        camera.free -= 1
        camera.paint(number)

    def get_metadata(self) -> dict[str, Any]:
        if not self._count:
            raise AssertionError("a request that was released has no metadata")
        return {"SensorTimestamp": self._sensor_ns, "FrameDuration": self._camera.step_us}

    def release(self) -> None:
        self._count -= 1
        if self._count < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        self._camera.free += 1
        if self._camera.sensor.fails:
            raise RuntimeError("Failed to queue request: Permission denied")


class MappedArray:
    def __init__(self, request: Request, stream: str, reshape: bool = True, write: bool = True) -> None:
        assert (stream, reshape, write) == ("main", False, False)
        self._camera, self.array = request._camera, None  # type: Camera, Any

    def __enter__(self) -> MappedArray:
        self.array = self._camera.memory
        if self._camera.sensor.numpy:
            import numpy

            self.array = numpy.frombuffer(self.array, dtype=numpy.uint8)
        return self

    def __exit__(self, *_: object) -> None:
        del self.array


class Output:
    pass


class Encoder:
    """picamera2.encoders.h264_encoder.H264Encoder: times count from the first picture, and there are no delimiters."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.firsttimestamp = settings, None
        self.forced, self.keys_asked = False, 0
        self.vd = os.memfd_create("video11")
        self.output: Any = None

    def start(self, width: int, height: int) -> None:
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.framerate = Fraction(1, 1_000_000), Fraction(self.settings["framerate"])
        context.bit_rate, context.gop_size, context.max_b_frames = self.settings["bitrate"], self.settings["iperiod"], 0
        context.options = {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "sc_threshold": "0"}
        self._context = context

    def force_key_frame(self) -> None:
        self.forced, self.keys_asked = True, self.keys_asked + 1

    def encode(self, picture: av.VideoFrame, sensor_us: int) -> None:
        if self.firsttimestamp is None:
            self.firsttimestamp = sensor_us  # type: ignore[assignment]
        picture.pts = sensor_us - self.firsttimestamp  # type: ignore[operator]
        picture.pict_type = av.video.frame.PictureType.I if self.forced else av.video.frame.PictureType.NONE
        self.forced = False
        for packet in self._context.encode(picture):
            self.output.outputframe(bytes(packet), packet.is_keyframe, packet.pts, None, False)


class Camera:
    def __init__(self, number: int, sensor: Sensor) -> None:
        if number:
            raise RuntimeError(f'No camera number {number} found - use "rpicam-hello --list-cameras" to check connected cameras')
        if sensor.used is not None:
            raise RuntimeError("Camera __init__ sequence did not complete.") from RuntimeError(
                "Failed to acquire camera: Device or resource busy"
            )
        self.sensor, sensor.used = sensor, self
        self.camera_properties = {"Model": "imx708"}
        self.free, self.step_us = BUFFERS, 0
        self._config: dict[str, Any] = {}
        self._started = False
        self._ready: deque[Request] = deque(maxlen=1)
        self._came = threading.Condition()

    @property
    def camera_controls(self) -> dict[str, Any]:
        return dict(self.sensor.controls)

    def create_video_configuration(self, *, main: dict[str, Any], transform: Any, controls: dict[str, Any]) -> dict[str, Any]:
        return {"main": dict(main), "transform": transform, "controls": controls}

    def configure(self, config: dict[str, Any]) -> None:
        if self._started:
            raise RuntimeError("Camera must be stopped before configuring")
        width, height = config["main"]["size"]
        if width % 2 or height % 2:
            raise RuntimeError("width and height should be even")
        for name in config["controls"]:
            if name not in self.sensor.controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        stride = -(-width // STRIDE) * STRIDE
        size = stride * height * 3 // 2
        self._config = {"main": {"size": (width, height), "format": self.sensor.gives, "stride": stride, "framesize": size}}
        self.sensor.asked, self.sensor.transform = config["controls"], config["transform"]
        fastest_us = self.sensor.controls.get("FrameDurationLimits", (10_000,))[0]
        self.step_us = max(fastest_us, config["controls"].get("FrameDurationLimits", (33_333, 33_333))[0])
        self.memory = bytearray(size)

    def camera_configuration(self) -> dict[str, Any]:
        return self._config

    def start_encoder(self, encoder: Encoder, output: Any, name: str) -> None:
        if not self._config:
            raise RuntimeError("Camera has not been configured")
        if not isinstance(output, Output):
            raise RuntimeError("Must pass Output")
        assert name == "main"
        encoder.output, self.sensor.encoder = output, encoder
        encoder.start(*self._config["main"]["size"])

    def stop_encoder(self) -> None:
        self.sensor.encoder = None

    def start(self) -> None:
        if not self._config:
            raise RuntimeError("Camera has not been configured")
        self._started = True
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        if self.sensor.stopped_after is not None:
            threading.Event().wait()  # for ever
        self._started = False

    def close(self) -> None:
        self.stop()
        self.sensor.used = None
        self.sensor.closed.set()

    def capture_request(self, wait: float) -> Request:
        if not self._started:
            raise AssertionError("capture_request before start waits for ever")
        with self._came:
            if not self._came.wait_for(lambda: self._ready, wait):
                raise TimeoutError
            return self._ready.popleft()

    def paint(self, number: int) -> None:
        main = self._config["main"]
        (_, height), stride = main["size"], main["stride"]
        self.memory[: stride * height] = bytes((16 + (number + at) % 200) for at in range(stride)) * height
        self.memory[stride * height :] = bytes([128]) * (stride * height // 2)

    def _run(self) -> None:
        number, due_ns = 0, time.monotonic_ns()
        while self._started and number != self.sensor.stopped_after:
            due_ns += self.step_us * 1000
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            if self.free:
                self._deliver(number, due_ns + self.sensor.asleep_ns)
            number += 1

    def _deliver(self, number: int, sensor_ns: int) -> None:
        request, encoder = Request(self, number, sensor_ns), self.sensor.encoder
        if encoder is not None:
            encoder.encode(self._picture(), sensor_ns // 1000)
            request.release()
            return
        with self._came:
            if self._ready:
                self._ready.popleft().release()
            self._ready.append(request)
            self._came.notify()

    def _picture(self) -> av.VideoFrame:
        width, height = self._config["main"]["size"]
        picture = av.VideoFrame(width, height, "yuv420p")
        for plane in picture.planes:
            row = bytes(self.memory[: plane.width])
            plane.update((row + bytes(plane.line_size - plane.width)) * plane.height)
        return picture


def fit(monkeypatch: pytest.MonkeyPatch) -> Sensor:
    """One sensor at this machine, for the time of a test."""

    class Transform:
        def __init__(self, hflip: int = 0, vflip: int = 0) -> None:
            self.hflip, self.vflip = hflip, vflip

    sensor = Sensor()
    modules = {
        name: ModuleType(name)
        for name in ("picamera2", "picamera2.encoders", "picamera2.encoders.h264_encoder", "picamera2.outputs", "libcamera")
    }
    modules["picamera2"].__dict__.update(Picamera2=lambda number: Camera(number, sensor), MappedArray=MappedArray)
    modules["picamera2.encoders.h264_encoder"].__dict__.update(H264Encoder=Encoder)
    modules["picamera2.outputs"].__dict__.update(Output=Output)
    controls = ModuleType("controls")
    controls.__dict__.update(AfModeEnum=Enum("AfModeEnum", "Manual Auto Continuous"), AfTriggerEnum=Enum("AfTriggerEnum", "Start Cancel"))
    modules["libcamera"].__dict__.update(Transform=Transform, controls=controls)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return sensor
