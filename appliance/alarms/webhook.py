"""A webhook: each notice is posted as JSON, signed so that the receiver knows who sent it, and when.

Pressbox-Id: 4c1f…                    the same for each try of one notice
Pressbox-Timestamp: 1800000000        Unix time of this try
Pressbox-Signature: v1=<hex>          HMAC-SHA256 with the secret over timestamp, a full stop, and the body
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from appliance.alarms.shapes import Names, envelope
from appliance.alarms.undelivered import Undelivered, Unwanted, in_words
from firmware.alarms.journal import Notice
from firmware.alarms.settings import Webhook
from firmware.secrets import SecretError, Secrets

TIMEOUT_S = 10.0
LONGEST_S = 30.0
UNWANTED = (400, 413, 415, 422)  # of this notice; everything else may be put right at the far end


class WebhookSender:
    def __init__(self, webhook: Webhook, secrets: Secrets, names: Names, timeout_s: float = TIMEOUT_S) -> None:
        self._webhook = webhook
        self._secrets = secrets
        self._names = names
        self._timeout_s = timeout_s

    def keep(self) -> None:
        """Nothing is kept open."""

    def send(self, notice: Notice) -> None:
        """Undelivered says why the far end did not take it."""
        body = msgspec.json.encode(envelope(notice, self._names))
        try:
            headers = self._headers(notice.id, body)
            status = self._post(body, headers)
        except SecretError as error:
            raise Undelivered(str(error)) from None
        except OSError as error:
            raise Undelivered(in_words(error)) from None
        except http.client.HTTPException:
            raise Undelivered("what answers does not speak HTTP") from None
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise Undelivered(f"it answers {status}; redirects are not followed, so give the address where it leads")
        raise (Unwanted if status in UNWANTED else Undelivered)(f"it answers {status}")

    def close(self) -> None:
        """Nothing is kept open."""

    def _headers(self, notice_id: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(time.time()))
        key = self._secrets.get(self._webhook.secret)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "pressbox",
            "Pressbox-Id": notice_id,
            "Pressbox-Timestamp": timestamp,
            "Pressbox-Signature": signature(key, timestamp, body),
        }
        parts = urlsplit(self._webhook.url)
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        return headers

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        parts = urlsplit(self._webhook.url)
        assert parts.hostname  # noqa: S101
        more: dict[str, Any] = {"timeout": self._timeout_s}
        if parts.scheme == "https":
            trusted = ssl.create_default_context(cafile=self._webhook.ca or None)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(parts.hostname, parts.port or 443, context=trusted, **more)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, **more)
        connection.connect()
        over = threading.Timer(LONGEST_S, _end, [connection.sock])
        over.daemon = True
        over.start()
        try:
            connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
            return connection.getresponse().status
        finally:
            over.cancel()
            connection.close()


def _end(connected: socket.socket) -> None:
    """An answer that drips is none."""
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
