"""Named secrets, one file each, for their owner alone. The store and the flows know only the names."""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from pathlib import Path
from secrets import token_bytes

import msgspec

from firmware.private import open_private

PASSPHRASE_BYTES = range(10, 80)  # what SRT takes
SRTP_KEY_BYTES = 44  # 32 of master key, 12 of master salt (RFC 7714, 12)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}")


class SecretError(ValueError):
    """A secret that is missing or cannot be one. The message never holds its value."""


def generate() -> str:
    """A passphrase of 160 bits in 32 letters and digits: libsrt stretches keys so little that a human one can be guessed."""
    return base64.b32encode(token_bytes(20)).decode().lower()


def generate_srtp_key() -> str:
    """Master key and salt for AES-256-GCM, as `parse_srtp_key` reads them: 60 letters."""
    return base64.b64encode(token_bytes(SRTP_KEY_BYTES)).decode()


def parse_srtp_key(text: str) -> bytes:
    """Master key and salt from the text of a secret, base64 as in SDES (RFC 4568)."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != SRTP_KEY_BYTES:
        raise SecretError(
            f"no SRTP key, which is {SRTP_KEY_BYTES} random bytes in base64; "
            f"`pressbox secret generate NAME --srtp` makes one, or `openssl rand -base64 {SRTP_KEY_BYTES}`"
        )
    return key


def check_secret_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SecretError("the name of a secret is 1 to 127 of a-z, 0-9, `-`, `_` and `.`, and starts with a letter or a digit")
    return name


def check_passphrase(value: str) -> str:
    length = len(value.encode(errors="replace"))
    if length not in PASSPHRASE_BYTES:
        raise SecretError(f"it has {length} bytes; a passphrase takes {PASSPHRASE_BYTES[0]} to {PASSPHRASE_BYTES[-1]}")
    if not value.isprintable():
        raise SecretError("it holds a character that cannot be printed; take it out")
    return value


class Former(msgspec.Struct, frozen=True):
    """What a secret was before, and until when (Unix time) that is taken as well."""

    until_s: float
    value: str

    def __repr__(self) -> str:
        return f"Former(until_s={self.until_s})"


class Secrets:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / check_secret_name(name)

    def get(self, name: str) -> str:
        path = self.path(name)
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                value = file.read(4096)
        except FileNotFoundError:
            raise SecretError(f"the secret `{name}` is missing; set it with: pressbox secret set {name}") from None
        except OSError as error:
            raise SecretError(f"the secret `{name}` cannot be read from {path}: {error.strerror}") from None
        if mode & 0o077:
            raise SecretError(f"the secret `{name}` can be read by others; change it, then: chmod 600 {path}")
        try:
            return check_passphrase(value.decode())
        except ValueError as error:
            why = str(error) if isinstance(error, SecretError) else "it is not text"
            raise SecretError(f"the secret `{name}` cannot be used: {why}; set it with: pressbox secret set {name}") from None

    def set(self, name: str, value: str) -> None:
        """Keep the secret; whoever reads meanwhile gets the old value or the new one."""
        path = self.path(name)
        self.check(name, value)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.folder / f".{name}.{os.getpid()}.{token_bytes(4).hex()}"
        try:
            write_private(fresh, value.encode())
            os.replace(fresh, path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise SecretError(f"the secret `{name}` cannot be written to {path}: {error.strerror}") from None
        sync_folder(self.folder)

    def check(self, name: str, value: str) -> None:
        try:
            check_passphrase(value)
        except SecretError as error:
            raise SecretError(f"the secret `{name}` is not set: {error}") from None

    def replace(self, name: str, value: str, *, former_for_s: float = 0) -> None:
        """As `set`; the value that it had is taken, too, for so long."""
        self.check(name, value)
        if former_for_s:
            former = Former(until_s=time.time() + former_for_s, value=self.get(name))
            fresh = self.folder / f".{name}.{os.getpid()}.{token_bytes(4).hex()}"
            write_private(fresh, msgspec.json.encode(former))
            os.replace(fresh, self._former(name))
        else:
            self._former(name).unlink(missing_ok=True)
        self.set(name, value)

    def former(self, name: str) -> Former | None:
        """The value before, while it is taken."""
        try:
            found = msgspec.json.decode(self._former(name).read_bytes(), type=Former)
        except (OSError, msgspec.DecodeError):
            return None
        return found if time.time() < found.until_s else None

    def _former(self, name: str) -> Path:
        return self.folder / f".{check_secret_name(name)}.former"

    def expire(self) -> None:
        """Take away what is over."""
        for path in self.folder.glob(".*.former"):
            if self.former(path.name[1:].removesuffix(".former")) is None:
                path.unlink(missing_ok=True)

    @property
    def stamp(self) -> int:
        """Another one whenever a secret is another one."""
        try:
            return self.folder.stat().st_mtime_ns
        except OSError:
            return 0

    def delete(self, name: str) -> None:
        self._former(name).unlink(missing_ok=True)
        self.path(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if _NAME.fullmatch(entry.name))


def write_private(path: Path, data: bytes) -> None:
    """A new file for whom the folder is, mostly its owner alone, on the disk when this returns."""
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
