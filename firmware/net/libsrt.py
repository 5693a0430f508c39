"""libsrt, found by soname and taken only when it carries the fixes it must have.

Floor: CVE-2026-55868 and CVE-2026-55869 let any peer that finishes a handshake write past a buffer. Upstream mended that for
good in 1.5.7; Debian mended its own 1.5.1 and 1.5.4 without a new version number, so for those the package that owns the loaded
file tells.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

logger = logging.getLogger("pressbox.srt")

# GnuTLS's flavour first: it encrypts with the processor's AES, and that of OpenSSL 1.5.1 does not: 6 us more a packet
SONAMES = ("libsrt-gnutls.so.1.5", "libsrt.so.1.5", "libsrt-openssl.so.1.5")
UPSTREAM_FLOOR = (1, 5, 7)
DEBIAN_FLOORS = {"1.5.1-1+deb12u": 2, "1.5.4-1+deb13u": 1}  # from which update of a Debian release on the fixes are in
FLOOR_WORDS = "1.5.7, or Debian's 1.5.1-1+deb12u2 or 1.5.4-1+deb13u1"
LOG_FATAL = 2
LOG_ERROR = 3  # syslog's LOG_ERR; libsrt warns about ordinary life above it
LOG_BARE = 1 | 2 | 4 | 8  # messages without time, thread, severity and line end


class SrtError(OSError):
    """SRT could not do something; the text is a sentence."""


class SrtUnavailable(SrtError):
    """There is no libsrt that can be used."""


class LibraryTooOld(SrtUnavailable):
    """libsrt is below the security floor."""


class MsgCtrl(ctypes.Structure):
    """SRT_MSGCTRL. libsrt writes into it when sending too, so one must never serve two calls."""

    boundary: int
    msgno: int
    pktseq: int
    srctime: int
    _fields_: ClassVar = [
        ("flags", c_int),
        ("msgttl", c_int),
        ("inorder", c_int),
        ("boundary", c_int),
        ("srctime", c_int64),
        ("pktseq", c_int32),
        ("msgno", c_int32),
        ("grpdata", c_void_p),
        ("grpdata_size", c_size_t),
    ]


class EpollEvent(ctypes.Structure):
    _fields_: ClassVar = [("fd", c_int32), ("events", c_int)]


# Letters after a type: the struct of libsrt 1.5, in order. i int, q int64, Q uint64, d double.
_STATISTICS_LAYOUT = """
q msTimeStamp pktSentTotal pktRecvTotal
i pktSndLossTotal pktRcvLossTotal pktRetransTotal pktSentACKTotal pktRecvACKTotal pktSentNAKTotal pktRecvNAKTotal
q usSndDurationTotal
i pktSndDropTotal pktRcvDropTotal pktRcvUndecryptTotal
Q byteSentTotal byteRecvTotal byteRcvLossTotal byteRetransTotal byteSndDropTotal byteRcvDropTotal byteRcvUndecryptTotal
q pktSent pktRecv
i pktSndLoss pktRcvLoss pktRetrans pktRcvRetrans pktSentACK pktRecvACK pktSentNAK pktRecvNAK
d mbpsSendRate mbpsRecvRate
q usSndDuration
i pktReorderDistance
d pktRcvAvgBelatedTime
q pktRcvBelated
i pktSndDrop pktRcvDrop pktRcvUndecrypt
Q byteSent byteRecv byteRcvLoss byteRetrans byteSndDrop byteRcvDrop byteRcvUndecrypt
d usPktSndPeriod
i pktFlowWindow pktCongestionWindow pktFlightSize
d msRTT mbpsBandwidth
i byteAvailSndBuf byteAvailRcvBuf
d mbpsMaxBW
i byteMSS pktSndBuf byteSndBuf msSndBuf msSndTsbPdDelay pktRcvBuf byteRcvBuf msRcvBuf msRcvTsbPdDelay
i pktSndFilterExtraTotal pktRcvFilterExtraTotal pktRcvFilterSupplyTotal pktRcvFilterLossTotal
i pktSndFilterExtra pktRcvFilterExtra pktRcvFilterSupply pktRcvFilterLoss pktReorderTolerance
q pktSentUniqueTotal pktRecvUniqueTotal
Q byteSentUniqueTotal byteRecvUniqueTotal
q pktSentUnique pktRecvUnique
Q byteSentUnique byteRecvUnique
"""


def _statistics_fields() -> Iterator[tuple[str, Any]]:
    kinds = {"i": c_int, "q": c_int64, "Q": c_uint64, "d": c_double}
    for line in _STATISTICS_LAYOUT.split("\n"):
        kind, *names = line.split() or [""]
        yield from ((name, kinds[kind]) for name in names)


class TraceStats(ctypes.Structure):
    """SRT_TRACEBSTATS, under libsrt's own names."""

    _fields_: ClassVar = list(_statistics_fields())


LISTEN_HOOK = ctypes.CFUNCTYPE(c_int, c_void_p, c_int32, c_int, c_void_p, c_char_p)
LOG_HANDLER = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_int, c_char_p, c_char_p)

_PROTOTYPES: dict[str, tuple[Any, ...]] = {  # name: result, arguments
    "srt_startup": (c_int,),
    "srt_cleanup": (c_int,),
    "srt_getversion": (c_uint32,),
    "srt_create_socket": (c_int32,),
    "srt_bind": (c_int, c_int32, c_char_p, c_int),
    "srt_bind_acquire": (c_int, c_int32, c_int),
    "srt_listen": (c_int, c_int32, c_int),
    "srt_accept": (c_int32, c_int32, c_void_p, c_void_p),
    "srt_listen_callback": (c_int, c_int32, LISTEN_HOOK, c_void_p),
    "srt_connect": (c_int, c_int32, c_char_p, c_int),
    "srt_close": (c_int, c_int32),
    "srt_getpeername": (c_int, c_int32, c_char_p, POINTER(c_int)),
    "srt_getsockname": (c_int, c_int32, c_char_p, POINTER(c_int)),
    "srt_getsockflag": (c_int, c_int32, c_int, c_void_p, POINTER(c_int)),
    "srt_setsockflag": (c_int, c_int32, c_int, c_void_p, c_int),
    "srt_sendmsg2": (c_int, c_int32, c_char_p, c_int, c_void_p),
    "srt_recvmsg2": (c_int, c_int32, c_void_p, c_int, c_void_p),
    "srt_bistats": (c_int, c_int32, POINTER(TraceStats), c_int, c_int),
    "srt_getsockstate": (c_int, c_int32),
    "srt_getlasterror": (c_int, POINTER(c_int)),
    "srt_getlasterror_str": (c_char_p,),
    "srt_getrejectreason": (c_int, c_int32),
    "srt_setrejectreason": (c_int, c_int32, c_int),
    "srt_epoll_create": (c_int,),
    "srt_epoll_add_usock": (c_int, c_int, c_int32, POINTER(c_int)),
    "srt_epoll_uwait": (c_int, c_int, POINTER(EpollEvent), c_int, c_int64),
    "srt_epoll_release": (c_int, c_int),
    "srt_setloglevel": (None, c_int),
    "srt_setloghandler": (None, c_void_p, c_void_p),
    "srt_setlogflags": (None, c_int),
}


def _declare(cdll: ctypes.CDLL) -> None:
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(cdll, name)
        function.restype, function.argtypes = result, arguments


@dataclass(frozen=True, slots=True)
class LogLine:
    level: int  # syslog's: 3 is an error
    area: str
    message: str


@dataclass(slots=True)
class Library:
    """The loaded libsrt. `log` holds its last errors, newest at the end."""

    cdll: ctypes.CDLL
    path: Path
    version: str
    package: str  # "libsrt1.5-openssl 1.5.1-1+deb12u2", or "" where no package owns the file
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=200))
    hooks: dict[int, object] = field(default_factory=dict)  # what libsrt may still call, by listener
    _keep: list[object] = field(default_factory=list)

    def __str__(self) -> str:
        return f"libsrt {self.version} ({self.package or self.path})"

    def _start(self) -> None:
        """Start libsrt's threads, and see to it that they end before the interpreter does: one that outlives it aborts the process.

        From here on the process may start programs but not fork itself: a child without these threads never comes to its end.
        """

        def keep(_opaque: int, level: int, _file: bytes, _line: int, area: bytes, message: bytes) -> None:
            # Runs on libsrt's threads under its locks: a call back into libsrt from here never returns.
            self.log.append(LogLine(level, (area or b"").decode(errors="replace"), (message or b"").decode(errors="replace").strip(": \n")))

        def stop() -> None:
            for listener in list(self.hooks):  # srt_cleanup waits for a hook that runs, and such a hook for srt_cleanup: none may run
                self.cdll.srt_close(listener)
            self.cdll.srt_setloglevel(LOG_FATAL)  # without a handler it writes to standard error
            self.cdll.srt_setloghandler(None, None)
            self.cdll.srt_cleanup()  # closes every socket first

        handler = LOG_HANDLER(keep)
        self._keep.append(handler)
        self.cdll.srt_setloglevel(LOG_ERROR)
        self.cdll.srt_setlogflags(LOG_BARE)
        self.cdll.srt_setloghandler(None, ctypes.cast(handler, c_void_p))
        self.cdll.srt_startup()
        atexit.register(stop)


_loaded: Library | None = None
_loading = threading.Lock()


def load() -> Library:
    """libsrt, started; the same one each time.

    `PRESSBOX_LIBSRT` names another file, `PRESSBOX_ALLOW_OLD_LIBSRT=1` lifts the security floor.
    """
    global _loaded
    with _loading:
        if _loaded is None:
            library = _open()
            if reason := reason_against(library.version, library.package):
                if os.environ.get("PRESSBOX_ALLOW_OLD_LIBSRT") != "1":
                    raise LibraryTooOld(f"{library.path}: {reason}")
                logger.warning("%s is used although it must not be: %s", library.path, reason)
            library._start()
            _loaded = library
    return _loaded


def _open() -> Library:
    chosen = os.environ.get("PRESSBOX_LIBSRT")
    for name in (chosen,) if chosen else SONAMES:
        try:
            cdll = ctypes.CDLL(name)
            _declare(cdll)
        except OSError:
            continue
        except AttributeError as missing:
            raise SrtUnavailable(f"{name} is no libsrt 1.5: {missing}") from None
        path = _file_of(cdll.srt_getversion)
        number = cdll.srt_getversion()
        return Library(cdll, path, f"{number >> 16}.{number >> 8 & 0xFF}.{number & 0xFF}", owning_package(path))
    if chosen:
        raise SrtUnavailable(f"PRESSBOX_LIBSRT names {chosen}, which cannot be loaded; it must be a libsrt 1.5 for this machine, or unset")
    raise SrtUnavailable("there is no libsrt 1.5 on this machine; install the package libsrt1.5-gnutls (sudo apt install libsrt1.5-gnutls)")


class _SymbolInfo(ctypes.Structure):
    _fields_: ClassVar = [("file", c_char_p), ("base", c_void_p), ("symbol", c_char_p), ("address", c_void_p)]


def _file_of(function: Callable[..., Any]) -> Path:
    """The file that the dynamic loader took a function from."""
    found = _SymbolInfo()
    ctypes.CDLL(None).dladdr(ctypes.cast(function, c_void_p), ctypes.byref(found))  # type: ignore[arg-type]
    return Path(os.fsdecode(found.file or b"")).resolve()


def owning_package(file: Path, root: Path = Path("/")) -> str:
    """Name and version of the Debian package that owns a file of libsrt; "" where none does.

    Reads dpkg's own files: starting `dpkg-query -S` costs 100 ms, this under 10.
    """
    database = root / "var/lib/dpkg"
    unmerged = str(file).removeprefix("/usr")  # an older package may list /lib/... for what now lies in /usr/lib
    names = {line.encode() for line in (unmerged, f"/usr{unmerged}")}
    for listing in sorted((database / "info").glob("*srt*.list")):
        if names & set(listing.read_bytes().split(b"\n")):
            name, _, architecture = listing.stem.partition(":")
            version = _version_of(name, architecture, database / "status")
            return f"{name} {version}" if version else ""
    return ""


def version_of_package(name: str, root: Path = Path("/")) -> str:
    """Of an installed Debian package, of whatever architecture; "" where it is none."""
    status = root / "var/lib/dpkg/status"
    return _version_of(name, "", status) if status.exists() else ""


def _version_of(name: str, architecture: str, status: Path) -> str:
    # Package is the first field of a paragraph
    pattern = rb"^Package: %s\n(?:.+\n)+" % re.escape(name.encode())
    for paragraph in re.finditer(pattern, status.read_bytes(), re.MULTILINE):
        lines = paragraph[0].decode(errors="replace").splitlines()
        fields = dict(line.split(": ", 1) for line in lines if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed") and architecture in ("", fields.get("Architecture")):
            return fields.get("Version", "")
    return ""


def reason_against(version: str, package: str) -> str:
    """Why a libsrt may not be used, as a sentence; "" where it may."""
    if tuple(int(part) for part in version.split(".")) >= UPSTREAM_FLOOR:
        return ""
    packaged = package.partition(" ")[2]
    for line, update in DEBIAN_FLOORS.items():
        # A further suffix (+b1 of a rebuild, +rpi1) keeps the fix; what sorts before the update (~) may not have it.
        if (found := re.fullmatch(rf"{re.escape(line)}(\d+)(\+.*)?", packaged)) and int(found[1]) >= update:
            return ""
    what = f"package {package}" if package else f"libsrt {version}, which belongs to no Debian package,"
    return f"{what} lacks the fixes for CVE-2026-55868 and CVE-2026-55869; install {FLOOR_WORDS}"
