"""Files for their owner alone, or, in a folder that was made for a group, for that group too.

systemd runs media and the pages as different users. They share a group, and the state and run folders that are made for it say so: mode
2770. Everywhere else a folder is its owner's, and so is what is made in it. What root makes (a person with sudo) is given to the owner
of the folder, who has to read it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_FOR_A_GROUP = stat.S_ISGID | stat.S_IWGRP


def is_shared(folder: Path) -> bool:
    return folder.stat().st_mode & _FOR_A_GROUP == _FOR_A_GROUP


def open_private(path: Path, flags: int) -> int:
    """As os.open; a file that it makes is for whom the folder is. Raises OSError."""
    home = path.parent.stat()
    mode = 0o660 if home.st_mode & _FOR_A_GROUP == _FOR_A_GROUP else 0o600
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        _belong(descriptor, mode, home)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def make_folder(folder: Path) -> None:
    """As it is where it is there already."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    home = folder.parent.stat()
    shared = home.st_mode & _FOR_A_GROUP == _FOR_A_GROUP
    try:
        folder.mkdir(mode=0o770 if shared else 0o700)
    except FileExistsError:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _belong(descriptor, 0o2770 if shared else 0o700, home)
    finally:
        os.close(descriptor)


def _belong(descriptor: int, mode: int, home: os.stat_result) -> None:
    """What is ours gets its mode, whatever the umask took; what root made gets the owner of the folder."""
    told = os.fstat(descriptor)
    if told.st_uid == os.geteuid() and mode & 0o777 & ~told.st_mode:  # setgid comes from the folder above; a sandbox may forbid to set it
        os.fchmod(descriptor, mode)
    if told.st_uid == 0 != home.st_uid and os.geteuid() == 0:
        os.fchown(descriptor, home.st_uid, -1)
