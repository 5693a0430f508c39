"""Is the system's clock right? The kernel knows, whoever keeps it (chrony, ntpd, timesyncd)."""

from __future__ import annotations

import ctypes

MAX_ERROR_US = 16_000_000  # the kernel lets the error grow up to this while nobody keeps the clock


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror_us", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    ]


def synchronised() -> bool:
    """By the largest error that the kernel believes in, as timedatectl does: STA_UNSYNC is also set by those who only spare the RTC."""
    asked = _Timex()
    state: int = ctypes.CDLL(None).adjtimex(ctypes.byref(asked))
    return state >= 0 and int(asked.maxerror_us) < MAX_ERROR_US
