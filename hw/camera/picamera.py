"""A Raspberry Pi's own cameras (CSI) by picamera2: pictures where they lie in memory, or what the board's H.264 block makes of them.

picamera2 gives H.264 in software without a word where there is no block. That is not used: its class for the block alone is, and only
where the block is. A camera can stop giving pictures without an error (a cable that moved), and then even its `stop` may never come
back. So waiting has an end here, and closing is not waited for.
"""

from __future__ import annotations

import fcntl
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw import v4l2
from hw.annexb import Whole
from hw.camera import CameraError, Rotation
from hw.camera.count import Count
from hw.encoder.v4l2m2m import floor_bps
from hw.fitted import ENCODER_NODE
from hw.frame import Coded, Frame
from hw.planes import copied_out
from hw.sysfs import read_text
from hw.v4l2queue import Picture

if TYPE_CHECKING:
    from av import VideoFrame

SILENT_S = 2.0
FIRST_S = 5.0  # a sensor starts, exposure settles
SECOND_NS = 1_000_000_000
BACKLOG = 30  # access units that wait; a second of them is as good as lost
PIXELS = {"YUV420": ("yuv420p", "YU12"), "NV12": ("nv12", "NV12")}  # libcamera's name: FFmpeg's, V4L2's
ENCODER = "sys/class/video4linux/video11/name"  # the node that picamera2 opens


class PiCamera:
    """`focus`: "continuous", "auto" (once, now), or a number of dioptres (0 is far away); empty leaves it. `gain` likewise.

    What a camera cannot do, like focusing with a fixed lens, is left, and its name says so.
    """

    def __init__(
        self,
        number: int,
        width: int,
        height: int,
        fps: int,
        *,
        encode: bool = False,
        bitrate_bps: int = 6_000_000,
        gop_ms: int = 1000,
        rotation: Rotation = 0,
        focus: str | float = "",
        exposure_us: int | None = None,
        gain: float | None = None,
        root: Path = Path("/"),
        open_camera: Callable[[int], Any] | None = None,
    ) -> None:
        self.name = f"CSI camera {number}"
        if encode and read_text(root / ENCODER) != ENCODER_NODE:
            raise CameraError(f"{self.name}: this board has no H.264 block, so its cameras cannot encode; choose another encoder")
        if exposure_us is not None and exposure_us > 1_000_000 // fps:
            raise CameraError(f"{self.name}: an exposure of {exposure_us} us is longer than a picture lasts at {fps} a second")
        self._mapped: Any = None
        self._request: Any = None
        try:
            self._camera = open_camera(number) if open_camera else _picamera2().Picamera2(number)
        except (ImportError, RuntimeError, IndexError, OSError) as error:
            raise CameraError(f"{self.name} cannot be opened: {_sentence(error)}; `pressbox doctor` lists the cameras") from None
        try:
            self._configure(width, height, fps, rotation, _controls(self._camera, fps, focus, exposure_us, gain))
            self._encoder = Block(self._camera, self._fps, bitrate_bps, gop_ms) if encode else None
            self._camera.start()
        except (RuntimeError, KeyError, ValueError, OSError) as error:
            self.close()
            raise CameraError(f"{self.name} cannot be started at {width} x {height} {fps}/s: {_sentence(error)}") from None
        wanted_focus = focus != "" and "AfMode" not in self._camera.camera_controls
        self.name += f", {self._found.width} x {self._found.height} {'H.264' if encode else self._found.pixel} {self._fps:g}/s"
        self.name += ", its focus is fixed" * wanted_focus
        self._count, self._patience_s, self.fps = Count(self._fps), FIRST_S, self._fps

    def read(self) -> Frame | Coded:
        coded = self._encoder
        taken = self._frame() if coded is None else self._coded(coded)
        self._patience_s, self.fps = SILENT_S, self._count.fps
        return taken

    @property
    def bitrate_bps(self) -> int:
        return self._encoder.bitrate_bps if self._encoder else 0

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        if self._encoder:
            self._encoder.bitrate_bps = value

    def key_frame(self) -> None:
        if self._encoder:
            self._encoder.key_frame()

    def close(self) -> None:
        """Not waited for: a camera whose cable moved may hold it for ever. Until it is closed nobody else can open it."""
        self._mapped = self._request = None
        threading.Thread(target=_closed, args=(self._camera,), daemon=True).start()

    def _configure(self, width: int, height: int, fps: int, rotation: Rotation, controls: dict[str, Any]) -> None:
        from libcamera import Transform

        camera, turn = self._camera, int(rotation == 180)
        wanted = {"size": (width, height), "format": "YUV420"}
        camera.configure(camera.create_video_configuration(main=wanted, transform=Transform(hflip=turn, vflip=turn), controls=controls))
        main = camera.camera_configuration()["main"]
        if main["format"] not in PIXELS:
            raise RuntimeError(f"it gives {main['format']}; {' and '.join(PIXELS)} are understood")
        found_width, found_height = main["size"]
        self._found = Picture(found_width, found_height, main["format"], main["stride"], main["framesize"])
        limits = camera.camera_controls.get("FrameDurationLimits")
        self._fps = min(float(fps), round(1_000_000 / limits[0], 2)) if limits and limits[0] else float(fps)
        self.name += f" {camera.camera_properties.get('Model', '')}".rstrip()

    def _frame(self) -> Frame:
        try:
            self._give_back()
            self._request = request = self._camera.capture_request(wait=self._patience_s)
            capture_ns = on_monotonic(request.get_metadata()["SensorTimestamp"])
            self._mapped = mapped = _picamera2().MappedArray(request, "main", reshape=False, write=False)
            pixels = mapped.__enter__().array
        except TimeoutError:
            raise self._silent() from None
        except (RuntimeError, KeyError) as error:
            raise CameraError(f"{self.name}: {_sentence(error)}") from None
        return Frame(self._count.push(capture_ns), self._picture(pixels), capture_ns)

    def _give_back(self) -> None:
        """The picture of the last read lies in the camera's own memory, which it wants for the next ones."""
        mapped, request = self._mapped, self._request
        self._mapped = self._request = None
        if mapped is not None:
            mapped.__exit__(None, None, None)
        if request is not None:
            request.release()

    def _picture(self, pixels: Any) -> VideoFrame:
        """Where it lies. Only where FFmpeg's frames cannot be laid over the camera's rows it is copied."""
        from av import VideoFrame

        found, (kind, code) = self._found, PIXELS[self._found.pixel]
        if found.height % 4 == 0 and hasattr(pixels, "reshape"):
            rows = pixels[: found.stride * found.height * 3 // 2].reshape(found.height * 3 // 2, found.stride)
            return VideoFrame.from_numpy_buffer(rows, format=kind, width=found.width)
        picture = copied_out(Picture(found.width, found.height, code, found.stride), memoryview(pixels).cast("B"))
        if picture is None:
            raise CameraError(f"{self.name}: a picture is shorter than its format says")
        return picture

    def _coded(self, block: Block) -> Coded:
        try:
            data, sensor_us = block.units.get(timeout=self._patience_s)
        except queue.Empty:
            raise self._silent() from None
        capture_ns = on_monotonic(sensor_us * 1000)
        return Coded(self._count.push(capture_ns), block.whole.unit(data, capture_ns), capture_ns)

    def _silent(self) -> CameraError:
        return CameraError(f"{self.name}: no picture for {self._patience_s:.0f} seconds; is its cable seated?")


class Block:
    """The board's H.264 block, as picamera2 drives it: the camera's buffers go to it without a copy."""

    def __init__(self, camera: Any, fps: float, bitrate_bps: int, gop_ms: int) -> None:
        from picamera2.encoders.h264_encoder import H264Encoder  # the one in `picamera2.encoders` may be software

        self.units: queue.Queue[tuple[bytes, int]] = queue.Queue(BACKLOG)
        self.whole, self._broken = Whole(), False
        self.ceiling_bps = self._bitrate_bps = bitrate_bps
        gop = max(1, round(gop_ms * fps / 1000))
        self._encoder = H264Encoder(bitrate=bitrate_bps, repeat=True, iperiod=gop, framerate=fps, enable_sps_framerate=True, profile="high")
        camera.start_encoder(self._encoder, _output(self._take), name="main")
        width, height = camera.camera_configuration()["main"]["size"]
        self.floor_bps = min(floor_bps(width, height, round(fps)), bitrate_bps)

    @property
    def bitrate_bps(self) -> int:
        return self._bitrate_bps

    @bitrate_bps.setter
    def bitrate_bps(self, value: int) -> None:
        value = min(max(value, self.floor_bps), self.ceiling_bps)
        if value != self._bitrate_bps:
            self._bitrate_bps = value
            fcntl.ioctl(self._encoder.vd, v4l2.S_CTRL, v4l2.Control(v4l2.CID_BITRATE, value))

    def key_frame(self) -> None:
        self._encoder.force_key_frame()

    def _take(self, data: bytes, key: bool, passed_us: int) -> None:
        """In picamera2's thread, which must never wait: where nobody takes them, all are lost until a key picture."""
        if self.units.full():
            with suppress(queue.Empty):
                while True:
                    self.units.get_nowait()
            self._broken = True
            self.key_frame()
        self._broken = self._broken and not key
        if not self._broken:
            self.units.put_nowait((data, self._encoder.firsttimestamp + passed_us))


def on_monotonic(sensor_ns: int) -> int:
    """A time of CLOCK_BOOTTIME, which libcamera documents, on CLOCK_MONOTONIC: they part when a machine sleeps.

    Some kernels' drivers give CLOCK_MONOTONIC all the same. What is in the future there was the other.
    """
    now_ns = time.monotonic_ns()
    slept_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
    return sensor_ns - slept_ns if sensor_ns > now_ns else sensor_ns


def _controls(camera: Any, fps: int, focus: str | float, exposure_us: int | None, gain: float | None) -> dict[str, Any]:
    """Those that the camera has. picamera2 refuses others; exposure and gain it makes manual by itself where they are given."""
    step_us = round(1_000_000 / fps)
    wanted: dict[str, Any] = {"FrameDurationLimits": (step_us, step_us)} | _focus(focus)
    if exposure_us is not None:
        wanted["ExposureTime"] = exposure_us
    if gain is not None:
        wanted["AnalogueGain"] = gain
    return {name: value for name, value in wanted.items() if name in camera.camera_controls}


def _focus(focus: str | float) -> dict[str, Any]:
    from libcamera import controls

    if focus == "":
        return {}
    if focus == "continuous":
        return {"AfMode": controls.AfModeEnum.Continuous}
    if focus == "auto":
        return {"AfMode": controls.AfModeEnum.Auto, "AfTrigger": controls.AfTriggerEnum.Start}
    return {"AfMode": controls.AfModeEnum.Manual, "LensPosition": float(focus)}


def _picamera2() -> Any:
    try:
        import picamera2
    except ImportError as error:
        raise ImportError(f"Raspberry Pi's python3-picamera2 is not installed ({error})") from None
    return picamera2


def _output(take: Callable[[bytes, bool, int], None]) -> Any:
    from picamera2.outputs import Output

    class Units(Output):  # type: ignore[misc]
        def outputframe(self, frame: bytes, keyframe: bool = True, timestamp: int | None = None, *_: Any) -> None:
            take(bytes(frame), keyframe, timestamp or 0)

    return Units()


def _closed(camera: Any) -> None:
    for step in (camera.stop, camera.stop_encoder, camera.close):
        with suppress(Exception):  # nobody is left to be told
            step()


def _sentence(error: BaseException) -> str:
    """picamera2 says that something failed, and libcamera, in its cause, what."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip("'\".") or type(error).__name__
