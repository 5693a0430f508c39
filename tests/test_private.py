"""For whom files are: their owner alone, or the group that a folder was made for; and what root makes."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from firmware.private import is_shared, make_folder, open_private
from firmware.secrets import Secrets

ROOT = Path(__file__).parent.parent


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def made(path: Path) -> int:
    os.close(open_private(path, os.O_RDWR | os.O_CREAT))
    return mode(path)


@pytest.mark.parametrize(
    ("folder", "file", "inner"), [(0o700, 0o600, 0o700), (0o755, 0o600, 0o700), (0o770, 0o600, 0o700), (0o2770, 0o660, 0o2770)]
)
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o007])
def test_files_are_for_whom_the_folder_is(folder: int, file: int, inner: int, umask: int, tmp_path: Path) -> None:
    home = tmp_path / "state"
    home.mkdir()
    home.chmod(folder)
    before = os.umask(umask)
    try:
        assert made(home / "file") == file
        make_folder(home / "inner")
    finally:
        os.umask(before)
    assert mode(home / "inner") == inner
    assert is_shared(home) == (folder == 0o2770)


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    (tmp_path / "inner").mkdir(mode=0o700)
    make_folder(tmp_path / "inner")
    assert mode(tmp_path / "inner") & 0o777 == 0o700


def test_parents_are_their_owners(tmp_path: Path) -> None:
    make_folder(tmp_path / "a/b")
    assert (mode(tmp_path / "a"), mode(tmp_path / "a/b")) == (0o700, 0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it plays two users")
def test_two_users_of_one_group_share_the_state_but_not_the_secrets(tmp_path: Path) -> None:
    """As systemd's units do: media and web, and root who sets a secret."""
    media, web, group = 61_001, 61_002, 61_003
    for known, number in ((pwd.getpwuid, media), (grp.getgrgid, group)):
        with pytest.raises(KeyError):
            known(number)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    state = tmp_path / "state"
    for folder, folder_mode in ((state, 0o2770), (state / "secrets", 0o700)):
        folder.mkdir()
        os.chown(folder, media, group)
        folder.chmod(folder_mode)
    Secrets(state / "secrets").set("show", "a passphrase set by root")

    def as_user(user: int, line: str, its_group: int = group) -> subprocess.CompletedProcess[str]:
        """Loads everything first: the interpreter may lie where only root can read."""
        lines = f"""
import os, sqlite3
from pathlib import Path
from firmware.audit import Audit
from firmware.model import Camera, Flow
from firmware.secrets import Secrets
from firmware.store import Store
state = Path({str(state)!r})
os.setgroups([])
os.setgid({its_group})
os.setuid({user})
os.umask(0o007)
{line}"""
        return subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=False)

    create = "Store(state / 'pressbox.db').create(Flow(name='{}', sources=[Camera(name='camera')], outputs=[]))"
    listed = "print([one.flow.name for one in Store(state / 'pressbox.db').list()])"
    audit = "Audit(state / 'audit.jsonl').record('{}', 'CreateFlow', 'show', role='administrator')"
    secret = "print(Secrets(state / 'secrets').get('show'))"
    for user, name in ((media, "one"), (web, "two"), (media, "three")):
        told = as_user(user, create.format(name))
        assert told.returncode == 0, told.stderr
        told = as_user(user, audit.format(name))
        assert told.returncode == 0, told.stderr
    assert as_user(web, listed).stdout.strip() == "['one', 'three', 'two']"
    assert as_user(media, secret).stdout.strip() == "a passphrase set by root"
    assert "cannot be read" in as_user(web, secret).stderr
    stranger = as_user(61_009, "(state / 'pressbox.db').read_bytes()", its_group=61_009)
    assert "PermissionError" in stranger.stderr
