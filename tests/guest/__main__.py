"""`python -m tests.guest`: what `scripts/test-guest` starts once the packages are there."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.guest.build import Image, build
from tests.guest.machine import Guest
from tests.guest.report import summary
from tests.guest.resets import Resets
from tests.guest.steps import SetupError, say, step

ROOT = Path(__file__).parent.parent.parent
INSIDE = "/srv/pressbox"
REPORT = "/tmp/junit.xml"
PASSED_ON = ("PRESSBOX_REPLUGS",)
OURS = ROOT / "build/guest"


def main() -> int:
    options, pytest_arguments = _arguments()
    try:
        return _run(options, pytest_arguments)
    except SetupError as error:
        say(f"scripts/test-guest: {error}\n")
        return 2


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="scripts/test-guest", add_help=False, allow_abbrev=False)
    for flag in ("keep", "shell", "stop", "build", "rebuild", "resets"):
        parser.add_argument(f"--{flag}", action="store_true")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pressbox-guest"
    parser.add_argument("--cache", type=Path, default=folder)
    parser.add_argument("--mirror")
    parser.add_argument("--memory", type=int, default=3072)
    return parser.parse_known_args()


def _run(options: argparse.Namespace, pytest_arguments: list[str]) -> int:
    cache = options.cache.expanduser().resolve()
    runs = cache / "run"
    if options.stop:
        Guest(Image(cache / "image"), runs).stop()
        return 0
    image = build(cache, options.mirror, options.rebuild)
    guest = Guest(image, runs)
    if options.build:
        return 0
    _start(guest, options.memory)
    try:
        with step("Copying the checkout in"):
            guest.copy_in(ROOT, INSIDE)
        if options.shell:
            return subprocess.run(guest.ssh(f"cd {INSIDE}; exec bash -l", terminal=True), check=False).returncode
        good = options.resets or _test(guest, pytest_arguments)
        if options.resets or not pytest_arguments:
            good = _reset(guest) and good
        return 0 if good else 1
    finally:
        OURS.mkdir(parents=True, exist_ok=True)
        shutil.copy(guest.serial, OURS / "serial.log")
        if options.keep:
            say("The guest stays up; scripts/test-guest --stop ends it.\n")
        else:
            guest.stop()


def _start(guest: Guest, memory_mb: int) -> None:
    if guest.running():
        if guest.runs_image():
            return
        guest.stop()
    with step("Booting"):
        guest.start(memory_mb)
        guest.wait_up()


def _reset(guest: Guest) -> bool:
    resets = Resets(guest, INSIDE)
    resets.prove()
    say("\n".join(["── resets", *resets.lines]) + "\n")
    return resets.good


def _test(guest: Guest, arguments: list[str]) -> bool:
    colour = "yes" if sys.stdout.isatty() else "no"
    words = [
        "python3",
        "-m",
        "pytest",
        "-m",
        "driver",
        "-p",
        "no:cacheprovider",
        f"--color={colour}",
        "-v",
        f"--junitxml={REPORT}",
        "-ojunit_family=xunit1",
    ]
    places = [] if any(word.startswith("tests/") for word in arguments) else ["tests/driver"]
    ours = shlex.join(["env", "PYTHONDONTWRITEBYTECODE=1", *(f"{name}={os.environ[name]}" for name in os.environ if name in PASSED_ON)])
    line = f"cd {INSIDE} && rm -f {REPORT} && exec {ours} {shlex.join([*words, *places, *arguments])}"
    subprocess.run(guest.ssh(line, terminal=sys.stdin.isatty()), stdin=None if sys.stdin.isatty() else subprocess.DEVNULL, check=False)
    OURS.mkdir(parents=True, exist_ok=True)
    report = OURS / "junit.xml"
    guest.copy_out(REPORT, report)
    good, text = summary(report)
    say(text)
    return good


if __name__ == "__main__":
    sys.exit(main())
