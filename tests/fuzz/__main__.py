"""`scripts/fuzz`: the targets under atheris, one after another, each in a process of its own."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

MISSING = "atheris is not installed for this Python ({}); `pip install atheris` brings it where there is a wheel (Python 3.11 to 3.13)"
LONGEST = 4096
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED = re.compile(r"cov: (\d+)")


def run_one(name: str, seconds: int, corpus: Path) -> None:
    """Never comes back: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["firmware"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup(
        ["fuzz", str(corpus), f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-artifact_prefix={corpus.parent}/"], TARGETS[name]
    )
    atheris.Fuzz()


def run(name: str, seconds: int, folder: Path) -> bool:
    from tests.fuzz.targets import seeds

    corpus = folder / name
    corpus.mkdir()
    for place, seed in enumerate(seeds(name)):
        (corpus / f"seed-{place}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--seconds", str(seconds), "--corpus", str(corpus)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    done, covered = _DONE.search(ended.stderr), _COVERED.findall(ended.stderr)
    if ended.returncode == 0 and done:
        print(
            f"{name:<18} {int(done[1]):>9} runs in {done[2]:>4} s, {covered[-1] if covered else '?':>5} branches: nothing found", flush=True
        )
        return True
    print(f"{name:<18} FOUND:\n{(ended.stdout + ended.stderr)[-3000:]}", flush=True)
    for found in folder.glob("crash-*"):
        print(f"the bytes, in hexadecimal: {found.read_bytes().hex()}")
        found.unlink()
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="those alone; without any, all of them")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if find_spec("atheris") is None:
        print(MISSING.format(sys.version.split()[0]), file=sys.stderr)
        return 2
    if given.one:
        run_one(given.one, given.seconds, given.corpus)
    from tests.fuzz.targets import TARGETS

    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown:
        print(f"there is no target {unknown[0]}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="pb-fuzz-") as folder:
        fine = [run(name, given.seconds, Path(folder)) for name in given.targets or TARGETS]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
