"""Finding libsrt, its security floor, and how a process with it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from firmware.net import libsrt

INSTALLED = "Status: install ok installed"


def dpkg_root(root: Path, *packages: tuple[str, str, str, str]) -> Path:
    """A dpkg database of packages (name, architecture, version, file)."""
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    status = "Package: adduser\nStatus: install ok installed\nArchitecture: all\nVersion: 3.134\n\n"
    for name, architecture, version, file in packages:
        status += f"Package: {name}\n{INSTALLED}\nArchitecture: {architecture}\nVersion: {version}\nDescription: SRT\n more words: 1\n\n"
        (info / f"{name}:{architecture}.list").write_text(f"/.\n/usr\n{file}\n{file[:-2]}\n")
    (root / "var/lib/dpkg/status").write_text(status)
    return root


@pytest.mark.parametrize("listed", ["/usr/lib/x/libsrt.so.1.5.1", "/lib/x/libsrt.so.1.5.1"])
def test_the_owning_package_is_found_on_merged_and_older_roots(tmp_path, listed):
    root = dpkg_root(tmp_path, ("libsrt1.5-openssl", "arm64", "1.5.1-1+deb12u2", listed))
    assert libsrt.owning_package(Path("/usr/lib/x/libsrt.so.1.5.1"), root) == "libsrt1.5-openssl 1.5.1-1+deb12u2"


def test_architectures_are_told_apart(tmp_path):
    root = dpkg_root(
        tmp_path,
        ("libsrt1.5-openssl", "armhf", "1.5.1-1+deb12u1", "/usr/lib/arm/libsrt.so.1.5.1"),
        ("libsrt1.5-openssl", "arm64", "1.5.1-1+deb12u2", "/usr/lib/aarch64/libsrt.so.1.5.1"),
    )
    assert libsrt.owning_package(Path("/usr/lib/aarch64/libsrt.so.1.5.1"), root).endswith("u2")
    assert libsrt.owning_package(Path("/usr/lib/arm/libsrt.so.1.5.1"), root).endswith("u1")


def test_a_file_of_no_package_has_none(tmp_path):
    root = dpkg_root(tmp_path, ("libsrt1.5-openssl", "arm64", "1.5.1-1+deb12u2", "/usr/lib/x/libsrt.so.1.5.1"))
    assert libsrt.owning_package(Path("/usr/local/lib/libsrt.so.1.5.1"), root) == ""
    assert libsrt.owning_package(Path("/usr/lib/x/libsrt.so.1.5.1"), tmp_path / "no dpkg here") == ""


def test_a_removed_package_does_not_count(tmp_path):
    root = dpkg_root(tmp_path, ("libsrt1.5-openssl", "arm64", "1.5.1-1+deb12u2", "/usr/lib/x/libsrt.so.1.5.1"))
    status = root / "var/lib/dpkg/status"
    status.write_text(
        status.read_text().replace(INSTALLED + "\nArchitecture: arm64", "Status: deinstall ok config-files\nArchitecture: arm64")
    )
    assert libsrt.owning_package(Path("/usr/lib/x/libsrt.so.1.5.1"), root) == ""


@pytest.mark.parametrize(
    ("version", "package"),
    [
        ("1.5.1", "libsrt1.5-openssl 1.5.1-1+deb12u2"),
        ("1.5.1", "libsrt1.5-gnutls 1.5.1-1+deb12u10"),
        ("1.5.1", "libsrt1.5-openssl 1.5.1-1+deb12u2+b1"),
        ("1.5.4", "libsrt1.5-openssl 1.5.4-1+deb13u1"),
        ("1.5.4", "libsrt1.5-openssl 1.5.4-1+deb13u1+rpi1"),
        ("1.5.7", ""),
        ("1.6.0", "libsrt1.6-openssl 1.6.0-1"),
    ],
)
def test_versions_with_the_fixes(version, package):
    assert libsrt.reason_against(version, package) == ""


@pytest.mark.parametrize(
    ("version", "package"),
    [
        ("1.5.1", "libsrt1.5-openssl 1.5.1-1+deb12u1"),
        ("1.5.1", "libsrt1.5-openssl 1.5.1-1"),
        ("1.5.1", "libsrt1.5-openssl 1.5.1-2"),
        ("1.5.1", "libsrt1.5-openssl 1.5.1-1+deb12u2~rc1"),
        ("1.5.4", "libsrt1.5-openssl 1.5.4-1"),
        ("1.5.3", "libsrt1.5-openssl 1.5.3-1build2"),
        ("1.5.5", "libsrt1.5-openssl 1.5.5-1"),
        ("1.5.6", ""),
        ("1.4.4", ""),
        ("1.5.1", ""),
    ],
)
def test_versions_without_the_fixes(version, package):
    reason = libsrt.reason_against(version, package)
    assert reason.startswith(f"package {package} lacks" if package else f"libsrt {version}, which belongs to no Debian package, lacks")
    assert reason.endswith("install 1.5.7, or Debian's 1.5.1-1+deb12u2 or 1.5.4-1+deb13u1")


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="dpkg is not here to compare with")
def test_dpkg_says_the_same_of_the_library_that_is_loaded():
    library = libsrt.load()
    said = subprocess.run(["dpkg-query", "-S", library.path], capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip(f"no package owns {library.path}")
    name = said.stdout.split(":")[0]
    version = subprocess.check_output(["dpkg-query", "-W", "-f", "${Version}", said.stdout.split(": ")[0]], text=True)
    assert library.package == f"{name} {version}"
    assert str(library) == f"libsrt {library.version} ({name} {version})"
    assert libsrt.load() is library


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


TRY = """
import logging
from firmware.net import srt
logging.basicConfig(format="%(name)s: %(message)s")
try:
    print(srt.load())
except srt.SrtUnavailable as error:
    print(type(error).__name__, error)
"""


def test_a_missing_library_names_the_package():
    hidden = "from firmware.net import libsrt\nlibsrt.SONAMES = ('libsrt.so.0.0',)\n"
    said = run(hidden + TRY, PRESSBOX_LIBSRT="").stdout
    assert said.startswith("SrtUnavailable there is no libsrt 1.5 on this machine; install the package libsrt1.5-gnutls")


def test_another_file_may_be_named():
    assert "PRESSBOX_LIBSRT names /no/such/libsrt.so, which cannot be loaded" in run(TRY, PRESSBOX_LIBSRT="/no/such/libsrt.so").stdout
    assert "SrtUnavailable libc.so.6 is no libsrt 1.5: " in run(TRY, PRESSBOX_LIBSRT="libc.so.6").stdout


def test_a_library_below_the_floor_is_refused_unless_allowed(tmp_path):
    """A copy that no package owns has only its version number to show, and that of Debian's is too low."""
    library = libsrt.load()
    if libsrt.reason_against(library.version, "") == "":
        pytest.skip(f"{library} is new enough by its version number alone")
    copy = tmp_path / "libsrt.so.1.5"
    shutil.copy(library.path, copy)
    refused = run(TRY, PRESSBOX_LIBSRT=str(copy))
    assert refused.stdout.startswith(f"LibraryTooOld {copy}: libsrt {library.version}, which belongs to no Debian package, lacks the fixes")
    allowed = run(TRY, PRESSBOX_LIBSRT=str(copy), PRESSBOX_ALLOW_OLD_LIBSRT="1")
    assert allowed.stdout == f"libsrt {library.version} ({copy})\n"
    assert allowed.stderr.startswith(f"pressbox.srt: {copy} is used although it must not be: libsrt {library.version}")


HEED_SIGINT = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # who is started in the background begins by ignoring it
LIVE = """
import os, signal, sys, threading
from firmware.net import srt
listener = srt.open_listener("127.0.0.1", 0, latency_ms=60, sending=False, admit=lambda caller: srt.Admission("abcdefghijklmnop"))
far = listener.address
pairs = []
for number in range(4):
    caller = srt.open_caller(*far, latency_ms=60, sending=True, passphrase="abcdefghijklmnop")
    assert caller.wait_connected()
    pairs.append((caller, listener.accept(5000)))
wrong = [srt.open_caller(*far, latency_ms=60, sending=True, passphrase="wrong passphrase") for _ in range(4)]
def send(caller):
    while caller.send(bytes(1316)):
        threading.Event().wait(0.001)
def receive(accepted):
    while True:
        accepted.receive()
threads = [threading.Thread(target=job, args=(end,), daemon=True) for pair in pairs for job, end in zip((send, receive), pair)]
threads.append(threading.Thread(target=listener.accept, args=(-1,), daemon=True))
for thread in threads:
    thread.start()
threading.Event().wait(0.1)
"""


@pytest.mark.parametrize("repeat", range(3))
@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError('unhandled')", 1),
        ("listener.close(); [end.close() for pair in pairs for end in pair]", 0),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); os.kill(os.getpid(), signal.SIGTERM); threading.Event().wait(5)", 0),
        ("os.kill(os.getpid(), signal.SIGTERM); threading.Event().wait(5)", -signal.SIGTERM),
        (f"{HEED_SIGINT}; os.kill(os.getpid(), signal.SIGINT); threading.Event().wait(5)", -signal.SIGINT),
        ("os._exit(4)", 4),
    ],
    ids=["end", "exit", "exception", "closed first", "SIGTERM handled", "SIGTERM", "SIGINT", "_exit"],
)
def test_no_exit_aborts(end, code, repeat):
    """A process with live sockets, waiting threads and refused callers ends as it was told to, in every way of ending."""
    ended = run(LIVE + end)
    assert ended.returncode == code, ended.stderr
    assert "terminate called" not in ended.stderr
