"""What no test inside can see the end of: the board is reset. Watched from outside, through QEMU's monitor.

packets stop ─► no WATCHDOG=1 ─► systemd ends the unit, its FailureAction restarts the machine
the kernel stops ─► nobody feeds i6300esb, which systemd has fed so far ─► the watchdog resets the machine
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.guest.machine import Guest, Monitor
from tests.guest.steps import SetupError, say

RUNTIME_S, UNIT_S = 20, 20
PATIENCE_S = 300.0
SYSTEMD = "org.freedesktop.systemd1"
ARM = f"busctl set-property {SYSTEMD} /org/freedesktop/systemd1 {SYSTEMD}.Manager RuntimeWatchdogUSec t {RUNTIME_S}000000"
UNIT = (
    "systemd-run --unit=media --property=Type=notify --property=NotifyAccess=all --property=TimeoutStartSec=300 "
    f"--property=WatchdogSec={UNIT_S} --property=FailureAction=reboot-force --property=WorkingDirectory={{place}} "
    "--setenv=PRESSBOX_STATE=/tmp/watched/state --setenv=PRESSBOX_RUN=/tmp/watched/run python3 -m appliance.cli run --no-web"
)


class Resets:
    def __init__(self, guest: Guest, place: str) -> None:
        self._guest, self._place = guest, place
        self.lines: list[str] = []
        self.good = True

    def prove(self) -> None:
        self._one("a unit whose work hangs has the board restarted", self._hang_the_unit)
        self._one("the hardware watchdog resets a board whose kernel hangs", self._hang_the_kernel)

    def _one(self, what: str, proof: Callable[[Monitor], str]) -> None:
        say(f"{what} … ")
        began_s = time.monotonic()
        before = self._asked("cat /proc/sys/kernel/random/boot_id")
        try:
            with self._guest.monitor() as monitor:
                seen = proof(monitor)
            self._guest.wait_up(other_than=before)
            verdict = "passed"
        except (SetupError, TimeoutError, ValueError) as error:
            verdict, seen, self.good = "FAILED", str(error), False
        say(f"{verdict}\n")
        self.lines.append(f"{verdict:8}{time.monotonic() - began_s:6.1f} s  resets: {what}  ({seen})")

    def _hang_the_unit(self, monitor: Monitor) -> str:
        self._asked("mkdir -p /tmp/watched", good_if_silent=True)
        self._asked(UNIT.format(place=self._place), good_if_silent=True)
        told = "systemctl show media --property=ActiveState --value"
        self._until(lambda: self._guest.output(told) == "active", "the unit says that it is ready")
        began_s = time.monotonic()
        self._asked("systemctl kill --kill-whom=main --signal=STOP media", good_if_silent=True)
        why = monitor.wait_for("RESET", PATIENCE_S).get("reason", "")
        return f"reset by the {why.replace('-', ' ')} {time.monotonic() - began_s:.0f} s after it hung, WatchdogSec={UNIT_S}"

    def _hang_the_kernel(self, monitor: Monitor) -> str:
        self._asked(ARM, good_if_silent=True)
        folder = "/sys/class/watchdog/watchdog0"
        name = self._asked(f"cat {folder}/identity")
        self._until(lambda: self._guest.output(f"cat {folder}/state") == "active", f"{name} is armed")
        began_s = time.monotonic()
        self._guest.output("echo 0 >/proc/sys/kernel/panic; (sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &", timeout_s=20)
        action = monitor.wait_for("WATCHDOG", PATIENCE_S).get("action", "")
        return f"{name}: {action} {time.monotonic() - began_s:.0f} s after the kernel hung, RuntimeWatchdogSec={RUNTIME_S}"

    def _asked(self, words: str, *, good_if_silent: bool = False) -> str:
        said = self._guest.output(f"{words} && echo done" if good_if_silent else words, timeout_s=120)
        if not said:
            raise SetupError(f"`{words}` failed in the guest")
        return said

    def _until(self, happened: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not happened():
            if time.monotonic() > until_s:
                raise SetupError(f"{what}: not within {PATIENCE_S:g} s")
            time.sleep(0.5)
