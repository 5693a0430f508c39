"""The guest's disk, kernel and initial RAM disk, built once into a folder.

    mmdebstrap -> root/ -> forge.sh (drivers, Python packages) -> furnish.sh -> disk.ext4, vmlinuz, initrd

Everything is written beside the last build and put in its place at the end, so that a build that was cut off leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import run

from tests.guest.steps import SetupError, command, step

HERE = Path(__file__).parent
RECIPE = ("build.py", "packages", "forge.sh", "furnish.sh")  # a change of these builds anew
SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DISK_SIZE = "6G"  # sparse
SPARE_GB = 8
HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass
class Image:
    """A built guest."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.ext4"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def fresh(self) -> bool:
        with suppress(OSError):
            return (self.folder / "recipe").read_text() == recipe()
        return False


def recipe() -> str:
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in RECIPE)).hexdigest()


def build(cache: Path, mirror: str | None, rebuild: bool = False) -> Image:
    """The guest of today's recipe; built if it is not there yet."""
    image = Image(cache / "image")
    if image.fresh() and not rebuild:
        return image
    cache.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(cache).free / 1e9
    if free_gb < SPARE_GB:
        raise SetupError(f"{cache} has {free_gb:.1f} GB free and building the guest takes {SPARE_GB}; --cache names another folder")
    new = Image(cache / "new")
    shutil.rmtree(new.folder, ignore_errors=True)
    new.folder.mkdir()
    root = new.folder / "root"
    try:
        _bootstrap(root, mirror or own_mirror())
        _equip(root)
        _pack(root, new)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    (new.folder / "recipe").write_text(recipe())
    shutil.rmtree(image.folder, ignore_errors=True)
    new.folder.rename(image.folder)
    return image


def own_mirror() -> str | None:
    """Of this machine's apt sources, where it is a Debian; None leaves the choice to mmdebstrap."""
    listed = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian", "Label: Debian"]
    found = run(listed, capture_output=True, text=True, check=False).stdout.split()
    return found[0] if found else None


def packages() -> list[str]:
    lines = (line.partition("#")[0] for line in (HERE / "packages").read_text().splitlines())
    return [name for line in lines for name in line.split()]


def _bootstrap(root: Path, mirror: str | None) -> None:
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{kind}/*" for kind in ("man", "doc", "locale")]
    options = ["--variant=minbase", f"--include={','.join(packages())}", f"--keyring={KEYRING}", *left_out, *_apt_proxy()]
    command(
        f"Installing Debian 13 with {len(packages())} packages and what they need",
        ["nice", "mmdebstrap", *options, SUITE, root, *([mirror] if mirror else [])],
    )


def _apt_proxy() -> list[str]:
    told = run(["apt-config", "dump", "--format", "%F=%v%n", "Acquire::http::Proxy"], capture_output=True, text=True, check=False).stdout
    _, _, proxy = told.strip().partition("=")
    return [f'--aptopt=Acquire::http::Proxy "{proxy}"'] if proxy else []


def _equip(root: Path) -> None:
    """pip in there asks the same index as pip out here."""
    kernel = next((root / "lib/modules").iterdir()).name
    lent = {root / "etc/resolv.conf": Path("/etc/resolv.conf"), root / "tmp/certificates.crt": HOST_CERTIFICATES}
    lent |= {root / "etc/pip.conf": Path("/etc/pip.conf")} if Path("/etc/pip.conf").exists() else {}
    for inside, outside in lent.items():
        inside.unlink(missing_ok=True)
        shutil.copyfile(outside, inside)
    env = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.lower().endswith("_proxy")}
    env |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PIP_CERT": "/tmp/certificates.crt", "LC_ALL": "C.UTF-8", "HOME": "/root"}
    _inside(root, "forge.sh", "Building gpio-sim, vicodec, lgpio and picamera2", env, kernel)
    for inside in lent:
        inside.unlink()
    _inside(root, "furnish.sh", "Making it boot", env)


def _inside(root: Path, script: str, what: str, env: dict[str, str], *arguments: str) -> None:
    shutil.copy(HERE / script, root / "tmp" / script)
    mounts = "mount -t proc proc $0/proc; mount -t devtmpfs dev $0/dev 2>/dev/null || mount --bind /dev $0/dev; "
    words = mounts + 'exec nice chroot "$0" "$@"'
    command(what, ["unshare", "--mount", "sh", "-c", words, root, f"/tmp/{script}", *arguments], env)
    (root / "tmp" / script).unlink()


def _pack(root: Path, image: Image) -> None:
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (initrd,) = (root / "boot").glob("initrd.img-*")
    shutil.copy(kernel, image.kernel)
    shutil.copy(initrd, image.initrd)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f", image.key], check=True)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(image.key.with_suffix(".pub"), root / "root/.ssh/authorized_keys")
    with step("Writing its disk"):
        made = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(root), str(image.disk), DISK_SIZE]
        run(made, check=True, capture_output=True)
