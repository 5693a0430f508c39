"""The dozen functions of libasound 2 that reading a sound device takes, through ctypes."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p
from dataclasses import dataclass
from typing import Any, ClassVar

SONAME = "libasound.so.2"
STREAM_CAPTURE, OPEN_NONBLOCK, ACCESS_INTERLEAVED = 1, 1, 3
TSTAMP_ENABLE, TSTAMP_MONOTONIC = 1, 1
TYPE_HW = 0
WAIT_MS = 200
PERIOD_US, BUFFER_US = 10_000, 500_000
FRESH_NS = 1_000_000_000  # a time stamp of the driver that is older, or ahead of now, is none


class SoundError(OSError):
    """A sound device that cannot be opened or gives no sound. The message names it."""


@dataclass(frozen=True, slots=True)
class SampleFormat:
    name: str
    number: int  # snd_pcm_format_t
    size: int  # bytes of a sample
    used: int  # of them, from the first


FORMATS = [
    SampleFormat("16 bits", 2, 2, 2),
    SampleFormat("32 bits", 10, 4, 4),
    SampleFormat("24 bits", 32, 3, 3),  # S24_3LE
    SampleFormat("24 bits in 32", 6, 4, 3),  # S24_LE
]


class Timespec(ctypes.Structure):
    tv_sec: int
    tv_nsec: int
    _fields_: ClassVar = [("tv_sec", c_long), ("tv_nsec", c_long)]


_PCM: tuple[Any, ...] = (c_void_p,)
_PCM_PARAMS: tuple[Any, ...] = (c_void_p, c_void_p)
_NEAR = (c_void_p, c_void_p, POINTER(c_uint), c_void_p)
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "snd_pcm_open": (POINTER(c_void_p), c_char_p, c_int, c_int),
    "snd_pcm_close": _PCM,
    "snd_pcm_type": _PCM,
    "snd_pcm_prepare": _PCM,
    "snd_pcm_start": _PCM,
    "snd_pcm_resume": _PCM,
    "snd_pcm_wait": (c_void_p, c_int),
    "snd_pcm_htimestamp": (c_void_p, POINTER(c_ulong), POINTER(Timespec)),
    "snd_pcm_hw_params_malloc": (POINTER(c_void_p),),
    "snd_pcm_hw_params_any": _PCM_PARAMS,
    "snd_pcm_hw_params": _PCM_PARAMS,
    "snd_pcm_hw_params_set_access": (c_void_p, c_void_p, c_uint),
    "snd_pcm_hw_params_test_format": (c_void_p, c_void_p, c_uint),
    "snd_pcm_hw_params_set_format": (c_void_p, c_void_p, c_uint),
    "snd_pcm_hw_params_set_rate_resample": (c_void_p, c_void_p, c_uint),
    "snd_pcm_hw_params_set_rate_near": _NEAR,
    "snd_pcm_hw_params_set_channels_near": (c_void_p, c_void_p, POINTER(c_uint)),
    "snd_pcm_hw_params_set_period_time_near": _NEAR,
    "snd_pcm_hw_params_set_buffer_time_near": _NEAR,
    "snd_pcm_hw_params_get_period_size": (c_void_p, POINTER(c_ulong), c_void_p),
    "snd_pcm_sw_params_malloc": (POINTER(c_void_p),),
    "snd_pcm_sw_params_current": _PCM_PARAMS,
    "snd_pcm_sw_params": _PCM_PARAMS,
    "snd_pcm_sw_params_set_avail_min": (c_void_p, c_void_p, c_ulong),
    "snd_pcm_sw_params_set_tstamp_mode": (c_void_p, c_void_p, c_uint),
    "snd_pcm_sw_params_set_tstamp_type": (c_void_p, c_void_p, c_uint),
}
_ERROR_HANDLER = ctypes.CFUNCTYPE(None, c_char_p, c_int, c_char_p, c_int, c_char_p)
_be_quiet = _ERROR_HANDLER(lambda *_: None)  # it prints what its return values say too


def load() -> Any:
    """The library with its prototypes; SoundError where it is missing."""
    try:
        library = ctypes.CDLL(SONAME)
    except OSError:
        raise SoundError(f"sound cannot be taken: {SONAME} is missing; Debian's package is libasound2 or libasound2t64") from None
    for name, arguments in _PROTOTYPES.items():
        getattr(library, name).argtypes = arguments
    library.snd_pcm_readi.argtypes, library.snd_pcm_readi.restype = (c_void_p, c_void_p, c_ulong), c_long
    for kind in ("hw", "sw"):
        free = getattr(library, f"snd_pcm_{kind}_params_free")
        free.argtypes, free.restype = _PCM, None
    library.snd_lib_error_set_handler.argtypes = (c_void_p,)
    library.snd_lib_error_set_handler(ctypes.cast(_be_quiet, c_void_p))
    return library


@dataclass(slots=True)
class Read:
    data: bytes  # interleaved
    frames: int
    position: int  # of the first frame, since the device was started
    at_ns: int  # CLOCK_MONOTONIC, when `position` + `frames` had come
    broken: bool  # the device was started anew before this


class Device:
    """An open capture device. Only its own thread may call it: each call can take for ever."""

    def __init__(self, device: str, channels: int, rate_hz: int) -> None:
        self.overruns = 0
        self._name = device
        self._position, self._broken = 0, False
        self._library = load()
        self._pcm = c_void_p()
        self._done("be opened", self._library.snd_pcm_open(byref(self._pcm), device.encode(), STREAM_CAPTURE, OPEN_NONBLOCK))
        try:
            self._set_hardware(channels, rate_hz)
            self._set_times()
            self._begin()
        except SoundError:
            self.close()
            raise
        self._buffer = ctypes.create_string_buffer(self._period * self.channels * self.format.size)

    def read(self) -> Read | None:
        """The next period, or None where none came within `WAIT_MS`; raises `SoundError` when there is no more."""
        ready = self._library.snd_pcm_wait(self._pcm, WAIT_MS)
        if ready == 0:
            return None
        frames = self._library.snd_pcm_readi(self._pcm, self._buffer, self._period) if ready > 0 else ready
        if frames < 0:
            self._recover(frames)
            return None
        if frames == 0:
            raise SoundError(f"microphone `{self._name}` has ended")
        begin, broken = self._position, self._broken
        self._position, self._broken = begin + frames, False
        return Read(ctypes.string_at(self._buffer, frames * self.channels * self.format.size), frames, begin, self._seen_ns(), broken)

    def close(self) -> None:
        self._library.snd_pcm_close(self._pcm)

    def _seen_ns(self) -> int:
        """When the last frame that was read came: by the driver's stamp, taken at its interrupt, or the time of the reading."""
        waiting, stamp = c_ulong(), Timespec()
        known = self.stamped and self._library.snd_pcm_htimestamp(self._pcm, byref(waiting), byref(stamp)) == 0
        now_ns = time.monotonic_ns()
        if not known:
            return now_ns
        at_ns = stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec
        if not 0 <= now_ns - at_ns <= FRESH_NS:
            return now_ns
        return at_ns - waiting.value * 1_000_000_000 // self.rate_hz

    def _recover(self, error: int) -> None:
        if error in (-errno.EAGAIN, -errno.EINTR):
            return
        if error == -errno.ESTRPIPE:  # it slept
            error = self._library.snd_pcm_resume(self._pcm)
            if error == -errno.EAGAIN:
                time.sleep(WAIT_MS / 1000)
                return
            if error < 0:
                error = -errno.EPIPE
        if error == -errno.EPIPE:
            self.overruns += 1
        elif error < 0:
            raise SoundError(f"microphone `{self._name}` is gone: {os.strerror(-error)}")
        self._begin()
        self._broken = True

    def _begin(self) -> None:
        self._position = 0
        self._done("begin", self._library.snd_pcm_prepare(self._pcm))
        self._done("begin", self._library.snd_pcm_start(self._pcm))

    def _set_hardware(self, channels: int, rate_hz: int) -> None:
        library, pcm, params = self._library, self._pcm, c_void_p()
        library.snd_pcm_hw_params_malloc(byref(params))
        try:
            self._done("be set up", library.snd_pcm_hw_params_any(pcm, params))
            self._done("be read", library.snd_pcm_hw_params_set_access(pcm, params, ACCESS_INTERLEAVED))
            library.snd_pcm_hw_params_set_rate_resample(pcm, params, 0)  # ours is better
            self.format = self._first_format(params)
            self._done("be set up", library.snd_pcm_hw_params_set_format(pcm, params, self.format.number))
            self.channels = self._nearest("channels", params, channels)
            self.rate_hz = self._nearest("rate", params, rate_hz, None)
            self._nearest("period_time", params, PERIOD_US, None)
            self._nearest("buffer_time", params, BUFFER_US, None)
            self._done("be set up", library.snd_pcm_hw_params(pcm, params))
            period = c_ulong()
            library.snd_pcm_hw_params_get_period_size(params, byref(period), None)
            self._period = period.value
        finally:
            library.snd_pcm_hw_params_free(params)

    def _first_format(self, params: c_void_p) -> SampleFormat:
        for choice in FORMATS:
            if self._library.snd_pcm_hw_params_test_format(self._pcm, params, choice.number) == 0:
                return choice
        raise SoundError(
            f"microphone `{self._name}` gives samples of a kind that is not known; known are {', '.join(f.name for f in FORMATS)}"
        )

    def _nearest(self, what: str, params: c_void_p, wanted: int, *direction: None) -> int:
        value = c_uint(wanted)
        setter = getattr(self._library, f"snd_pcm_hw_params_set_{what}_near")
        self._done("be set up", setter(self._pcm, params, byref(value), *direction))
        return value.value

    def _set_times(self) -> None:
        """Wake up at each period; stamp on CLOCK_MONOTONIC where the driver itself is open: a plug-in's stamps say little."""
        library, pcm, params = self._library, self._pcm, c_void_p()
        library.snd_pcm_sw_params_malloc(byref(params))
        try:
            library.snd_pcm_sw_params_current(pcm, params)
            library.snd_pcm_sw_params_set_avail_min(pcm, params, self._period)
            self.stamped = (
                library.snd_pcm_type(pcm) == TYPE_HW
                and library.snd_pcm_sw_params_set_tstamp_mode(pcm, params, TSTAMP_ENABLE) == 0
                and library.snd_pcm_sw_params_set_tstamp_type(pcm, params, TSTAMP_MONOTONIC) == 0
            )
            self._done("be set up", library.snd_pcm_sw_params(pcm, params))
        finally:
            library.snd_pcm_sw_params_free(params)

    def _done(self, what: str, result: int) -> None:
        if result < 0:
            why = os.strerror(-result)
            if result in (-errno.ENOENT, -errno.ENODEV, -errno.ENXIO):
                why = "there is no such device"
            elif result == -errno.EBUSY:
                why = "another programme uses it"
            elif result == -errno.EACCES:
                why = "this user may not; those of the group audio may"
            raise SoundError(f"microphone `{self._name}` cannot {what}: {why}")
