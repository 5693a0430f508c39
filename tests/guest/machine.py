"""The guest as it runs: QEMU, its monitor, and ssh into it.

QEMU writes to a snapshot of the disk that is gone when it ends. It runs in a session of its own, so that a guest can be kept; what is
needed to find it again is in the run folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.guest.build import Image
from tests.guest.steps import SetupError

BOOT_S = 400
COMMAND_LINE = (
    "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off nowatchdog panic=0 "
    "systemd.show_status=1 loglevel=4 systemd.debug_shell=ttyS1"
)


class Guest:
    def __init__(self, image: Image, runs: Path) -> None:
        self.image, self.runs = image, runs
        self.serial = runs / "serial.log"
        self._started_from = runs / "recipe"
        self._pid, self._port, self._monitor = runs / "pid", runs / "port", runs / "monitor"

    def runs_image(self) -> bool:
        """Of a kept guest: whether it is of the build that is there now."""
        with suppress(OSError):
            return self._started_from.read_text() == (self.image.folder / "recipe").read_text()
        return False

    def running(self) -> bool:
        with suppress(OSError, ValueError):
            line = Path(f"/proc/{int(self._pid.read_text())}/cmdline").read_bytes()
            return str(self._monitor).encode() in line
        return False

    def start(self, memory_mb: int) -> None:
        self.runs.mkdir(parents=True, exist_ok=True)
        self.serial.write_bytes(b"")
        shutil.copy(self.image.folder / "recipe", self._started_from)
        port = _free_port()
        self._port.write_text(str(port))
        machine = ["-machine", "q35,usb=off,vmport=off,hpet=off", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem", "-smp", "2"]
        machine += ["-m", str(memory_mb), "-display", "none", "-nodefaults", "-no-user-config"]
        boot = ["-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", COMMAND_LINE]
        disk = ["-drive", f"if=virtio,format=raw,file={self.image.disk},cache=unsafe,snapshot=on,discard=unmap"]
        network = ["-nic", f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
        devices = ["-device", "virtio-rng-pci", "-device", "i6300esb", "-watchdog-action", "reset"]
        control = [
            "-qmp",
            f"unix:{self._monitor},server=on,wait=off",
            "-serial",
            f"file:{self.serial}",
            "-serial",
            f"unix:{self.runs / 'shell'},server=on,wait=off",
            "-pidfile",
            str(self._pid),
        ]
        told = self.runs / "qemu.log"
        with told.open("wb") as log:
            command = ["nice", "-n", "10", "qemu-system-x86_64", *machine, *boot, *disk, *network, *devices, *control]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 30
        while not self.running():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SetupError(f"QEMU does not start: {told.read_text().strip()}")
            time.sleep(0.05)

    def wait_up(self, timeout_s: float = BOOT_S, other_than: str = "") -> str:
        """Until ssh answers in a boot that is not `other_than`; gives the id of that boot."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self.running():
                raise SetupError(f"the guest is gone; see {self.serial}")
            boot = self.output("cat /proc/sys/kernel/random/boot_id", timeout_s=20)
            if boot and boot != other_than:
                return boot
            time.sleep(0.5)
        raise SetupError(f"the guest does not answer within {timeout_s:g} s; {self.serial} ends with:\n{self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        return "\n".join(self.serial.read_text(errors="replace").splitlines()[-count:])

    def ssh(self, *words: str, terminal: bool = False) -> list[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=10", "LogLevel=ERROR", "IdentitiesOnly=yes"]
        line = [
            "ssh",
            "-F",
            "none",
            "-i",
            str(self.image.key),
            "-p",
            self._port.read_text(),
            *(part for o in options for part in ("-o", o)),
        ]
        return [*line, *(["-t"] if terminal else []), "root@127.0.0.1", *words]

    def output(self, words: str, timeout_s: float = 60) -> str:
        """What a command says, without the last newline; nothing if it fails."""
        with suppress(subprocess.TimeoutExpired):
            ended = subprocess.run(
                self.ssh(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
            )
            return ended.stdout.strip() if ended.returncode == 0 else ""
        return ""

    def copy_in(self, root: Path, target: str) -> None:
        """The checkout as it is: what git knows and what is new."""
        listed = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"]
        names = subprocess.run(listed, capture_output=True, check=True).stdout.split(b"\0")
        there = b"\0".join(name for name in names if name and (root / os.fsdecode(name)).is_file())
        into = self.ssh(f"rm -rf {target} && mkdir -p {target} && tar -x -f - -C {target} --no-same-owner -m")
        packed = subprocess.Popen(
            ["tar", "-c", "-f", "-", "-C", str(root), "--null", "-T", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        sent = subprocess.Popen(into, stdin=packed.stdout)
        assert packed.stdin
        assert packed.stdout
        packed.stdout.close()
        packed.stdin.write(there)
        packed.stdin.close()
        if packed.wait() or sent.wait():
            raise SetupError("the checkout could not be copied into the guest")

    def copy_out(self, name: str, target: Path) -> None:
        target.write_bytes(subprocess.run(self.ssh("cat", name), stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout)

    @contextmanager
    def monitor(self) -> Iterator[Monitor]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._monitor))
            yield Monitor(connection)

    def stop(self) -> None:
        if not self.running():
            return
        pid = int(self._pid.read_text())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 10
            while self.running() and time.monotonic() < deadline:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
                time.sleep(0.05)
            if self.running():
                os.kill(pid, signal.SIGKILL)


class Monitor:
    """QEMU's machine protocol: what happens to the machine, seen from outside."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._lines = connection, connection.makefile("r")
        self._lines.readline()
        self._connection.sendall(b'{"execute": "qmp_capabilities"}\n')
        self._lines.readline()

    def wait_for(self, event: str, timeout_s: float) -> dict[str, Any]:
        """The next event of that name; raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._connection.settimeout(max(0.01, deadline - time.monotonic()))
            told = json.loads(self._lines.readline())
            if told.get("event") == event:
                return dict(told.get("data", {}))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
