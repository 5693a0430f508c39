"""What systemd is told, and what its journal gets: through systemd-python where it is installed, and nothing at all without systemd.

Children inherit NOTIFY_SOCKET; the units say `NotifyAccess=main`, so only the process that systemd started is believed.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

NOTIFY, JOURNAL = "NOTIFY_SOCKET", "JOURNAL_STREAM"

# MESSAGE_ID of the events worth finding again (`journalctl MESSAGE_ID=…`); words for each are in the journal's catalogue
EVENTS = {
    "alarm": "f76885b933cf461f854e8a9cefee0b18",
    "alarm-over": "307215af46ef49b7aaa5926ce7f307d4",
    "stalled": "967a3a031d804e7cb29322021c7de315",
    "worker-restarted": "ac9f49a8b24c4c1f9de326fa14abd7e8",
    "power-cycled": "70b84577ac5743f2873e04fd03863500",
    "reboot-asked": "bc6e66671c12402aa3d49b048fcb8e7c",
}
_FIELDS = {"flow": "PRESSBOX_FLOW", "path": "PRESSBOX_PATH"}
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # syslog(3)


def notify(*states: str) -> bool:
    """Tell the service manager, `READY=1` or `STATUS=…`. False where there is none, or it does not listen."""
    where = os.environ.get(NOTIFY, "")
    if not where:
        return False
    told = "\n".join(states)
    try:
        from systemd import daemon
    except ImportError:
        return _datagram(where, told)
    try:
        return bool(daemon.notify(told))
    except OSError:
        return False


def _datagram(where: str, told: str) -> bool:
    """As sd_notify(3) describes it."""
    address = "\0" + where[1:] if where.startswith("@") else where
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
        try:
            speaker.connect(address)
            speaker.sendall(told.encode())
        except OSError:
            return False
    return True


def ready(status: str) -> bool:
    return notify("READY=1", f"STATUS={one_line(status)}")


def alive(status: str = "") -> bool:
    """Feeds the watchdog. Say it only when something went on: packets, not loops."""
    return notify("WATCHDOG=1", *([f"STATUS={one_line(status)}"] if status else []))


def stopping() -> bool:
    return notify("STOPPING=1")


def one_line(text: str) -> str:
    return " ".join(text.split())


def watchdog_s() -> float | None:
    """How often to say `alive`: half of what the service manager waits. None where it does not wait for this process."""
    wanted, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or not int(wanted) or whose not in ("", str(os.getpid())):
        return None
    return int(wanted) / 2_000_000


class Journal(logging.Handler):
    """Records as fields of the journal: `log.warning("…", extra={"flow": …, "path": …, "event": …})`."""

    def __init__(self) -> None:
        """Raises ImportError without systemd-python."""
        super().__init__()
        from systemd import journal

        self._send = journal.send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(self.format(record), **fields(record))
        except Exception:
            self.handleError(record)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
    found: dict[str, Any] = {
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": "pressbox",
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName,
    }
    found |= {field: str(value) for name, field in _FIELDS.items() if (value := getattr(record, name, ""))}
    event = EVENTS.get(getattr(record, "event", ""))
    return found | ({"MESSAGE_ID": event} if event else {})


def journal(*, inherited: bool = False) -> logging.Handler | None:
    """Where standard error is the journal and systemd-python is installed; None elsewhere.

    `inherited`: for a child whose standard error goes to its parent, where that is under systemd."""
    if not (_is_journal(2) or (inherited and os.environ.get(JOURNAL))):
        return None
    try:
        return Journal()
    except ImportError:
        return None


def _is_journal(descriptor: int) -> bool:
    """systemd.exec(5): the variable is inherited by whoever redirects the stream, so it is compared."""
    try:
        told = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get(JOURNAL, "") == f"{told.st_dev}:{told.st_ino}"
