"""A Debian system with the units of image-build/rootfs in it, booted by systemd-nspawn: real users, real sandboxes, seconds to start."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.lab.programs import wait_until

CHECKOUT = Path(__file__).parent.parent.parent
PACKAGES = ("appliance", "firmware", "hw")
UNITS = ("pressbox-media.service", "pressbox-web.service", "pressbox-panel.service", "pressbox-rescue.path")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Booted:
    """`rootfs` is changed: the units and the program of this checkout are put into it. What happens while it runs is not kept."""

    def __init__(self, rootfs: Path) -> None:
        self.rootfs = rootfs
        self.log = rootfs.with_name(f"{rootfs.name}.boot.log")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        self._install()
        name = f"pressbox-{os.getpid()}"
        command = ["systemd-nspawn", "--quiet", f"--directory={self.rootfs}", "--volatile=overlay", "--register=no", "--keep-unit"]
        command += ["--private-network", f"--machine={name}", "--console=pipe", "--boot"]
        with self.log.open("wb") as log:
            self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(self._has_booted, 60, f"a booted system, see {self.log}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._leader and Path(f"/proc/{self._leader}").exists():
            os.kill(self._leader, signal.SIGKILL)  # the first process of its PID namespace takes all others with it
        if self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait()

    def _install(self) -> None:
        shutil.copytree(CHECKOUT / "image-build/rootfs", self.rootfs, dirs_exist_ok=True)
        for package in PACKAGES:
            there = self.rootfs / "usr/lib/pressbox" / package
            shutil.rmtree(there, ignore_errors=True)
            shutil.copytree(CHECKOUT / package, there, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["systemctl", f"--root={self.rootfs}", "preset", "--quiet", *UNITS], check=True, capture_output=True)

    def _has_booted(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, self.log.read_text(errors="replace")
        self._leader = self._leader or self._find()
        return bool(self._leader) and self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def _find(self) -> int:
        """The child that is the first process of a PID namespace; others are helpers that end soon."""
        assert self._nspawn is not None
        for number in Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split():
            with suppress(OSError):
                if re.search(r"^NSpid:.*\s1$", Path(f"/proc/{number}/status").read_text(), re.MULTILINE):
                    return int(number)
        return 0

    def run(self, *command: str, check: bool = True, user: str = "", told: str = "") -> subprocess.CompletedProcess[str]:
        """In the booted system; as root, or as one of its users."""
        done = subprocess.run(self._inside(command, user), input=told, capture_output=True, text=True, check=False, timeout=120)
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._inside(command, ""), stdin=subprocess.DEVNULL)

    def _inside(self, command: tuple[str, ...], user: str) -> list[str]:
        whose = ["setpriv", f"--reuid={user}", "--regid=pressbox", "--clear-groups"] if user else []
        return ["nsenter", f"--target={self._leader}", "--all", "env", "-i", f"PATH={PATH}", "HOME=/tmp", "LANG=C.UTF-8", *whose, *command]

    def show(self, unit: str, setting: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={setting}", unit).stdout.strip()

    def processes(self, unit: str) -> list[int]:
        """As the system itself numbers them."""
        group = self.show(unit, "ControlGroup")
        lists = f"/sys/fs/cgroup{group}/cgroup.procs /sys/fs/cgroup/systemd{group}/cgroup.procs"  # of either layout
        found = self.run("sh", "-c", f"cat {lists} 2>/dev/null", check=False)
        return [int(number) for number in found.stdout.split()]

    def status(self, process: int) -> dict[str, str]:
        lines = self.run("cat", f"/proc/{process}/status").stdout.splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def within(self, process: int, *command: str) -> subprocess.CompletedProcess[str]:
        """In the namespaces of one of its processes, as root: what its file system looks like to it."""
        return self.run("nsenter", f"--target={process}", "--mount", *command, check=False)
