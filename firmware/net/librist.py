"""librist, found by soname and taken only with the ABI that is written down here.

0.2.7 (Debian 12, API 4.2) and 0.2.11 (Debian 13, API 4.5) have the same structs; later minor numbers only add functions.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from collections import deque
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_char,
    c_char_p,
    c_int,
    c_size_t,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

SONAME = "librist.so.4"
API_MAJOR, API_MINOR = 4, 2  # of 0.2.7, the oldest with these structs
SHORT, LONG = 128, 256  # RIST_MAX_STRING_SHORT, _LONG

LOG_ERROR, LOG_WARNING, LOG_INFO = 3, 4, 6  # syslog's
SIMPLE, MAIN = 0, 1  # enum rist_profile
FLOW_BUFFER_START = 1 << 1  # the first datagram after the receiver's buffer began anew


class RistError(OSError):
    """RIST could not do something; the text is a sentence."""


class RistUnavailable(RistError):
    """There is no librist that can be used."""


class PeerConfig(ctypes.Structure):
    """struct rist_peer_config, version 0."""

    _fields_: ClassVar = [
        ("version", c_int),
        ("address_family", c_int),  # 0: `address` is a URL
        ("initiate_conn", c_int),
        ("address", c_char * LONG),
        ("miface", c_char * SHORT),
        ("physical_port", c_uint16),
        ("virt_dst_port", c_uint16),
        ("recovery_mode", c_int),
        ("recovery_maxbitrate", c_uint32),
        ("recovery_maxbitrate_return", c_uint32),
        ("recovery_length_min", c_uint32),
        ("recovery_length_max", c_uint32),
        ("recovery_reorder_buffer", c_uint32),
        ("recovery_rtt_min", c_uint32),
        ("recovery_rtt_max", c_uint32),
        ("weight", c_uint32),
        ("secret", c_char * SHORT),
        ("key_size", c_int),
        ("key_rotation", c_uint32),
        ("compression", c_int),
        ("cname", c_char * SHORT),
        ("congestion_control_mode", c_int),
        ("min_retries", c_uint32),
        ("max_retries", c_uint32),
        ("session_timeout", c_uint32),
        ("keepalive_interval", c_uint32),
        ("timing_mode", c_uint32),
        ("srp_username", c_char * LONG),
        ("srp_password", c_char * LONG),
    ]


def _block_fields(payload: Any) -> list[tuple[str, Any]]:
    """struct rist_data_block."""
    return [
        ("payload", payload),
        ("payload_len", c_size_t),
        ("ts_ntp", c_uint64),
        ("virt_src_port", c_uint16),
        ("virt_dst_port", c_uint16),
        ("peer", c_void_p),
        ("flow_id", c_uint32),
        ("seq", c_uint64),
        ("flags", c_uint32),
        ("ref", c_void_p),
    ]


class DataBlock(ctypes.Structure):
    """One that came: librist's memory."""

    payload: int
    payload_len: int
    flow_id: int
    seq: int
    flags: int
    _fields_: ClassVar = _block_fields(c_void_p)


class SentBlock(ctypes.Structure):
    """One to send: librist copies the payload, and with `ts_ntp` 0 takes the time of the call."""

    payload: bytes
    payload_len: int
    _fields_: ClassVar = _block_fields(c_char_p)


class Stats(ctypes.Structure):
    """The beginning of struct rist_stats: what follows is a union that the JSON says better."""

    json_size: int
    stats_json: int
    _fields_: ClassVar = [("json_size", c_uint32), ("stats_json", c_void_p)]


LOG_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_int, c_char_p)
STATS_CALLBACK = CFUNCTYPE(c_int, c_void_p, POINTER(Stats))
CONNECT_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_char_p, c_uint16, c_char_p, c_uint16, c_void_p)
DISCONNECT_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_void_p)


class LogSettings(ctypes.Structure):
    """struct rist_logging_settings. librist keeps the pointer and looks into it again for every line."""

    _fields_: ClassVar = [
        ("log_level", c_int),
        ("log_cb", LOG_CALLBACK),
        ("log_cb_arg", c_void_p),
        ("log_socket", c_int),
        ("log_stream", c_void_p),
    ]


_PROTOTYPES: dict[str, tuple[Any, ...]] = {  # name: result, arguments
    "librist_version": (c_char_p,),
    "librist_api_version": (c_char_p,),
    "rist_sender_create": (c_int, POINTER(c_void_p), c_int, c_uint32, POINTER(LogSettings)),
    "rist_receiver_create": (c_int, POINTER(c_void_p), c_int, POINTER(LogSettings)),
    "rist_peer_config_defaults_set": (c_int, POINTER(PeerConfig)),
    "rist_peer_create": (c_int, c_void_p, POINTER(c_void_p), POINTER(PeerConfig)),
    "rist_auth_handler_set": (c_int, c_void_p, CONNECT_CALLBACK, DISCONNECT_CALLBACK, c_void_p),
    "rist_stats_callback_set": (c_int, c_void_p, c_int, STATS_CALLBACK, c_void_p),
    "rist_stats_free": (c_int, POINTER(Stats)),
    "rist_start": (c_int, c_void_p),
    "rist_destroy": (c_int, c_void_p),
    "rist_sender_data_write": (c_int, c_void_p, POINTER(SentBlock)),
    "rist_receiver_set_output_fifo_size": (c_int, c_void_p, c_uint32),
    "rist_receiver_data_read2": (c_int, c_void_p, POINTER(POINTER(DataBlock)), c_int),
    "rist_receiver_data_block_free2": (None, POINTER(POINTER(DataBlock))),
}


class Closable(Protocol):
    def close(self) -> None: ...


@dataclass(slots=True)
class Library:
    cdll: ctypes.CDLL
    version: str
    api_version: str
    alive: set[Closable] = field(default_factory=set)  # ends whose threads run: held, for those threads call into them

    def __str__(self) -> str:
        return f"librist {self.version} (API {self.api_version})"

    def close_all(self) -> None:
        """librist's threads call into Python: they end before the interpreter does."""
        for end in list(self.alive):
            end.close()


_loaded: Library | None = None
_loading = threading.Lock()


def load() -> Library:
    """librist; the same one each time. `PRESSBOX_LIBRIST` names another file."""
    global _loaded
    with _loading:
        if _loaded is None:
            _loaded = _open(os.environ.get("PRESSBOX_LIBRIST") or SONAME)
            atexit.register(_loaded.close_all)
    return _loaded


def _open(name: str) -> Library:
    try:
        cdll = ctypes.CDLL(name)
    except OSError:
        if name == SONAME:
            raise RistUnavailable("there is no librist 0.2 on this machine; install the package librist4 (apt install librist4)") from None
        raise RistUnavailable(
            f"PRESSBOX_LIBRIST names {name}, which cannot be loaded; it must be a {SONAME} for this machine, or unset"
        ) from None
    try:
        for function_name, (result, *arguments) in _PROTOTYPES.items():
            function = getattr(cdll, function_name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as missing:
        raise RistUnavailable(
            f"{name} is no librist from 0.2.7 on: {missing}; install the package librist4 (apt install librist4)"
        ) from None
    library = Library(cdll, cdll.librist_version().decode(), cdll.librist_api_version().decode())
    if reason := reason_against(library.api_version):
        raise RistUnavailable(f"{name}: {reason}")
    return library


def reason_against(api_version: str) -> str:
    """Why a librist may not be used, as a sentence; "" where it may."""
    major, _, minor = api_version.partition(".")
    known = major == str(API_MAJOR) and int(minor.partition(".")[0] or 0) >= API_MINOR
    if known:
        return ""
    return (
        f"its API is {api_version}, and only {API_MAJOR}.{API_MINOR} and later {API_MAJOR}.x are known here; "
        "install the package librist4 (apt install librist4)"
    )


@dataclass(frozen=True, slots=True)
class LogLine:
    at_ns: int  # monotonic
    level: int  # syslog's: 3 is an error
    message: str


class Log:
    """Keeps the last lines of one end. Called on librist's threads under its locks: it only appends."""

    def __init__(self) -> None:
        self.lines: deque[LogLine] = deque(maxlen=50)
        self._callback = LOG_CALLBACK(self._keep)
        self.settings = LogSettings(LOG_INFO, self._callback, None, -1, None)

    def _keep(self, _opaque: int | None, level: int, message: bytes | None) -> int:
        self.lines.append(LogLine(time.monotonic_ns(), level, (message or b"").decode(errors="replace").strip()))
        return 0

    def quieten(self) -> None:
        """From now on warnings and errors alone."""
        self.settings.log_level = LOG_WARNING
