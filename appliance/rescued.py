"""The rescue service: takes up what media asked for, as root, does it if it may be, and writes down what was done.

python -m appliance.rescued     once, for the request that lies in the run folder; a systemd path unit starts it
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import msgspec

from firmware.places import Places
from firmware.rescue import Done, Need, Request
from firmware.status import Event, read_snapshot, write_snapshot
from hw import systemd
from hw.usbport import Step, reboot, wake

LARGEST = 1 << 14
STALE_S = 60.0  # what was asked for before that is not what is needed now
CYCLES_APART_S = 60.0
REBOOTS_AN_HOUR = 3
HOUR_S = 3600.0
EVENTS_KEPT = 20

DONE: dict[Need, str] = {"power-cycle": "power-cycled", "reboot": "reboot-asked"}  # the journal's event

log = logging.getLogger("pressbox.rescue")


class Past(msgspec.Struct, kw_only=True):
    """Unix times; a clock that jumps forgives, or holds back for an hour at most."""

    reboots: list[float] = []
    cycles: dict[str, float] = {}


def answer(places: Places, kept: Path, now: float, root: Path = Path("/")) -> list[str]:
    """Do what the request asks for; what was done, in words. The request is taken away first: whatever fails is not tried for ever."""
    request = _take(places.rescue)
    if request is None or not -STALE_S < now - request.at < STALE_S:
        return []
    past = read_snapshot(kept, Past) or Past()
    past.reboots = [at for at in past.reboots if 0 <= now - at < HOUR_S]
    past.cycles = {camera: at for camera, at in past.cycles.items() if 0 <= now - at < CYCLES_APART_S}
    steps = _reboot(request, past, kept, now) if request.need == "reboot" else _cycle(request, past, kept, now, root)
    said = [step.words for step in steps]
    for step in steps:
        log.warning("%s", step.words, extra={"event": DONE[request.need] if step.done else ""})
    done = read_snapshot(places.rescued, Done) or Done()
    done.events = [*done.events, *(Event(at=now, text=words) for words in said)][-EVENTS_KEPT:]
    write_snapshot(places.rescued, done)
    return said


def _take(path: Path) -> Request | None:
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST)
        path.unlink()
        return msgspec.json.decode(text, type=Request)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        log.warning("a request that is none: %s", error)
        return None


def _reboot(request: Request, past: Past, kept: Path, now: float) -> list[Step]:
    if len(past.reboots) >= REBOOTS_AN_HOUR:
        return [Step(False, f"{request.camera}: no restart, for there were {len(past.reboots)} within the hour; the slate stays up.")]
    past.reboots.append(now)
    write_snapshot(kept, past)  # first: what is not written down is not counted
    return [reboot(f"{request.camera} gives no picture")]


def _cycle(request: Request, past: Past, kept: Path, now: float, root: Path) -> list[Step]:
    if request.camera in past.cycles:
        return [Step(False, f"{request.camera}: its port was switched a minute ago, and is left alone now.")]
    past.cycles[request.camera] = now
    write_snapshot(kept, past)
    return wake(request.camera, root)


def main() -> int:
    journal = systemd.journal()
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[journal] if journal else None)
    folder = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/pressbox-rescue"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    answer(Places.from_environment(), folder / "past.json", time.time())
    return 0


if __name__ == "__main__":
    sys.exit(main())
