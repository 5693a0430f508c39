"""Access keys: who may speak to the API, and as what. One file each, for its owner alone.

The secret is kept as it is, not as a hash: Signature Version 4 proves that the client knows the secret by an HMAC under it, so whoever
checks needs the secret itself. A hash would be no better, because it would then be what one signs with. What protects it is the mode of
the file, and that nothing but `issue` ever gives it out.

When a key was last used stands beside it as the time of an empty file, `ID.used`, written once an hour at most: to note a use never
rewrites the key, so it cannot undo a `disable` that happens at the same moment.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import get_args

import msgspec

from appliance.api.roles import ROLES, Role
from firmware.secrets import sync_folder, write_private

ACCOUNT = "000000000000"
USE_NOTED_EVERY_S = 3600
_ID = re.compile(r"PBOX[A-Z2-7]{16}")
_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_FILE_BYTES = 4096


class AccessKeyError(ValueError):
    """A key that is missing, damaged or cannot be one. The message never holds its secret."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    id: str
    secret: str = field(repr=False)
    role: Role
    name: str
    created: datetime
    account: str = ACCOUNT
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """What may be shown of a key. `problem` says why one cannot be used, and then only the id is sure."""

    id: str
    name: str = ""
    role: Role | None = None
    account: str = ""
    created: datetime | None = None
    last_used: datetime | None = None
    disabled: bool = False
    problem: str = ""


class AccessKeys:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._noted: dict[str, float] = {}

    def issue(self, name: str, role: str, account: str = ACCOUNT) -> AccessKey:
        """A new key. Its secret is in what this returns and is not shown again."""
        if not _NAME.fullmatch(name):
            raise AccessKeyError("name: 1 to 64 letters, digits and any of + = , . @ _ - as in `truck` or `anna@studio`")
        if role not in ROLES:
            raise AccessKeyError(f"role: one of {', '.join(get_args(Role))}")
        if not _ACCOUNT.fullmatch(account):
            raise AccessKeyError("account: 12 digits")
        key = AccessKey(
            id="PBOX" + base64.b32encode(token_bytes(10)).decode(),
            secret=base64.b64encode(token_bytes(30)).decode(),
            role=next(each for each in ROLES if each == role),
            name=name,
            created=datetime.now(UTC).replace(microsecond=0),
            account=account,
        )
        with self._changing():
            self._write(key)
        return key

    def get(self, key_id: str) -> AccessKey | None:
        """The key, read afresh, so that a change holds from the next request on; None where there is none."""
        if not _ID.fullmatch(key_id):
            return None
        try:
            with (self.folder / key_id).open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(_FILE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AccessKeyError(f"the access key {key_id} cannot be read: {error.strerror}") from None
        if mode & 0o077:
            raise AccessKeyError(f"the access key {key_id} can be read by others; delete it and issue another")
        return _parse(key_id, data)

    def list(self) -> list[Listed]:
        """All keys, oldest first, damaged ones too."""
        if not self.folder.is_dir():
            return []
        listed = [self._listed(entry.name) for entry in self.folder.iterdir() if _ID.fullmatch(entry.name)]
        return sorted(listed, key=lambda key: (key.created or datetime.min.replace(tzinfo=UTC), key.name, key.id))

    def find(self, key_id: str) -> Listed:
        """One of the list; AccessKeyError where there is none."""
        if not (self.folder / _check_id(key_id)).exists():
            raise _missing(key_id)
        return self._listed(key_id)

    def disable(self, key_id: str) -> Listed:
        return self._switch(key_id, disabled=True)

    def enable(self, key_id: str) -> Listed:
        return self._switch(key_id, disabled=False)

    def delete(self, key_id: str) -> Listed:
        with self._changing():
            gone = self._listed(_check_id(key_id))
            try:
                (self.folder / key_id).unlink()
            except FileNotFoundError:
                raise _missing(key_id) from None
            self._use_of(key_id).unlink(missing_ok=True)
            sync_folder(self.folder)
        return gone

    def note_use(self, key_id: str, now_s: float | None = None) -> None:
        """A disk that is full or read-only keeps nobody out: the use is then not noted."""
        now_s = time.time() if now_s is None else now_s
        if abs(now_s - self._noted.get(key_id, -1e12)) < USE_NOTED_EVERY_S:
            return
        self._noted[key_id] = now_s
        with suppress(OSError):
            os.close(os.open(self._use_of(key_id), os.O_WRONLY | os.O_CREAT, 0o600))
            os.utime(self._use_of(key_id), (now_s, now_s))

    def _use_of(self, key_id: str) -> Path:
        return self.folder / f"{key_id}.used"

    def _listed(self, key_id: str) -> Listed:
        try:
            key = self.get(key_id)
        except AccessKeyError as error:
            return Listed(key_id, problem=str(error))
        if key is None:
            return Listed(key_id, problem=f"the access key {key_id} is gone")
        try:
            used = datetime.fromtimestamp(int(self._use_of(key_id).stat().st_mtime), UTC)
        except OSError:
            used = None
        return Listed(key.id, key.name, key.role, key.account, key.created, used, key.disabled)

    def _switch(self, key_id: str, *, disabled: bool) -> Listed:
        with self._changing():
            key = self.get(_check_id(key_id))
            if key is None:
                raise _missing(key_id)
            if key.disabled != disabled:
                self._write(replace(key, disabled=disabled))
            return self._listed(key_id)

    def _write(self, key: AccessKey) -> None:
        fresh = self.folder / f".{key.id}.{os.getpid()}.{token_bytes(4).hex()}"
        try:
            write_private(fresh, msgspec.json.encode(key))
            os.replace(fresh, self.folder / key.id)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise AccessKeyError(f"the access key {key.id} cannot be written to {self.folder}: {error.strerror}") from None
        sync_folder(self.folder)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, whichever process makes it: two at once could bring a deleted key back."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise AccessKeyError(f"the access keys in {self.folder} cannot be changed: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _parse(key_id: str, data: bytes) -> AccessKey:
    try:
        key = msgspec.json.decode(data, type=AccessKey)
    except (msgspec.DecodeError, UnicodeDecodeError):
        key = None
    if key is None or key.id != key_id or not key.secret or not _ACCOUNT.fullmatch(key.account) or not _NAME.fullmatch(key.name):
        raise AccessKeyError(f"the file of the access key {key_id} is damaged; delete the key and issue another")
    return key


def _check_id(key_id: str) -> str:
    if not _ID.fullmatch(key_id):
        raise AccessKeyError("the id of an access key is PBOX and 16 more letters and digits; `pressbox key list` shows them")
    return key_id


def _missing(key_id: str) -> AccessKeyError:
    return AccessKeyError(f"there is no access key {key_id}; `pressbox key list` shows those there are")
