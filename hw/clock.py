"""Is the system's clock right? The kernel knows, whoever keeps it (chrony, ntpd, timesyncd)."""

from __future__ import annotations

import ctypes
from pathlib import Path

MAX_ERROR_US = 16_000_000  # the kernel lets the error grow up to this while nobody keeps the clock
KEPT_BY_TIMESYNCD = "run/systemd/timesync/synchronized"


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror_us", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    ]


def synchronised(root: Path = Path("/")) -> bool:
    """By the largest error that the kernel believes in, as timedatectl does: STA_UNSYNC is also set by those who only spare the RTC.

    Where the kernel may not be asked (a sandbox without adjtimex, or a folder that stands for a machine) timesyncd's file tells."""
    if root == Path("/"):
        asked = _Timex()
        state: int = ctypes.CDLL(None).adjtimex(ctypes.byref(asked))
        if state >= 0:
            return int(asked.maxerror_us) < MAX_ERROR_US
    return (root / KEPT_BY_TIMESYNCD).exists()
