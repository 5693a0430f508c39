"""Other hosts whose entitlements this one may use: where their API answers, and the access key that they issued to us.

A peer is known by a name of our own. The secret of its key is a secret of this host, `peer-NAME`; `peers.json` names it and holds none.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import secrets
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from appliance.api.signing import ALGORITHM, Scope, canonical_request, signature
from firmware.alone import alone
from firmware.places import Places
from firmware.secrets import SecretError, Secrets, write_private

PATIENCE_S = 4.0
LONGEST_ANSWER = 1 << 20
DEFAULT_PORT = 8443
REGION, SERVICE = "local", "mediaconnect"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY_ID = re.compile(r"PBOX[A-Z2-7]{16}")


class PeerError(ValueError):
    """A peer that cannot be one, cannot be reached or says no. `status` is that of its answer, 0 where there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Peer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    url: str
    key_id: str
    certificate: str = ""  # PEM, of the authority that vouches for it or of itself; empty: the authorities that this system trusts

    @property
    def host(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def secret(self) -> str:
        """Name of the secret that holds its key's."""
        return f"peer-{self.name}"


class Peers:
    def __init__(self, places: Places) -> None:
        self.path = places.state / "peers.json"
        self.secrets = Secrets(places.secrets)

    def list(self) -> Sequence[Peer]:
        try:
            return sorted(msgspec.json.decode(self.path.read_bytes(), type=list[Peer]), key=lambda peer: peer.name)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            raise PeerError(f"{self.path} cannot be read: {error}") from None

    def get(self, name: str) -> Peer:
        every = self.list()
        found = next((peer for peer in every if peer.name == name), None)
        if found is None:
            raise PeerError(f"there is no peer `{name}`; there are {', '.join(peer.name for peer in every) or 'none'}")
        return found

    def keep(self, peer: Peer, secret: str) -> None:
        """Add it, or replace the one of this name."""
        check_peer(peer)
        try:
            self.secrets.set(peer.secret, secret)
        except SecretError as error:
            raise PeerError(f"the secret access key: {error}") from None
        self._write(lambda others: [*others, peer], peer.name)

    def remove(self, name: str) -> Peer:
        peer = self.get(name)
        self._write(lambda others: others, name)
        self.secrets.delete(peer.secret)
        return peer

    def _write(self, become: Any, name: str) -> None:
        with alone(self.path.with_name("peers.lock"), PATIENCE_S, PeerError):
            peers = become([peer for peer in self.list() if peer.name != name])
            fresh = self.path.with_name(f".peers.{os.getpid()}.{secrets.token_hex(4)}")
            try:
                write_private(fresh, msgspec.json.encode(peers))
                os.replace(fresh, self.path)
            except OSError as error:
                fresh.unlink(missing_ok=True)
                raise PeerError(f"{self.path} cannot be written: {error.strerror}") from None

    def ask(self, peer: Peer, method: str, path: str) -> Any:
        """What its API answers, signed with our key; PeerError with a sentence where that is nothing good."""
        try:
            secret = self.secrets.get(peer.secret)
        except SecretError as error:
            raise PeerError(f"{peer.name} cannot be asked: {error}") from None
        return ask(peer, secret, method, path)


def ask(peer: Peer, secret: str, method: str, path: str) -> Any:
    try:
        status, body = _exchange(peer, secret, method, path)
        answer = msgspec.json.decode(body) if body else {}
    except ssl.SSLCertVerificationError as error:
        raise PeerError(f"{peer.name} is not trusted: {error.verify_message}; name its certificate with `pressbox peer add --ca`") from None
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise PeerError(f"{peer.name} cannot be reached at {peer.url}: {_reason(error)}") from None
    if status >= 300:
        raise PeerError(f"{peer.name} says: {str(answer.get('message', status))[:500]}", status)
    return answer


def check_peer(peer: Peer) -> Peer:
    if not _NAME.fullmatch(peer.name):
        raise PeerError("name: 1 to 63 of a-z, 0-9 and -, beginning with a letter or a digit")
    if not _KEY_ID.fullmatch(peer.key_id):
        raise PeerError("key: the id of an access key is PBOX and 16 more letters and digits, as its issuer printed it")
    try:
        parts = urlsplit(peer.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("https", "http") or parts.username or parts.path.strip("/") or parts.query:
        raise PeerError(f"url: `https://HOST:{DEFAULT_PORT}`, with nothing behind the port")
    if parts.scheme == "http" and not _is_loopback(host):
        raise PeerError("url: over a network it is https")
    if peer.certificate:
        try:
            ssl.create_default_context(cadata=peer.certificate)
        except ssl.SSLError:
            raise PeerError("ca: no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----") from None
    return peer


def _exchange(peer: Peer, secret: str, method: str, path: str) -> tuple[int, bytes]:
    parts = urlsplit(peer.url)
    connection = _connection(peer, str(parts.hostname), parts.port)
    try:
        connection.request(method, path, headers=_signed(peer, secret, method, path, parts.netloc))
        answer = connection.getresponse()
        return answer.status, answer.read(LONGEST_ANSWER)
    finally:
        connection.close()


def _connection(peer: Peer, host: str, port: int | None) -> http.client.HTTPConnection:
    if peer.url.startswith("http:"):
        return http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    context = ssl.create_default_context(cadata=peer.certificate or None)
    return http.client.HTTPSConnection(host, port or DEFAULT_PORT, timeout=PATIENCE_S, context=context)


def _signed(peer: Peer, secret: str, method: str, path: str, host: str) -> dict[str, str]:
    date = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    scope = Scope(date[:8], REGION, SERVICE)
    own = {"host": host, "x-amz-date": date, "x-amz-nonce": secrets.token_hex(16)}  # two alike within a second are no replay
    names = sorted(own)
    empty = hashlib.sha256(b"").hexdigest()
    canonical = canonical_request(method, path, "", {name: [value] for name, value in own.items()}, names, empty)
    credential = f"Credential={peer.key_id}/{scope}, SignedHeaders={';'.join(names)}"
    return own | {"authorization": f"{ALGORITHM} {credential}, Signature={signature(secret, date, scope, canonical)}"}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def certificate_in(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PeerError(f"ca: {path} cannot be read: {_reason(error)}") from None
