"""Signed requests, rightly and wrongly, from as many addresses of this machine as it takes: refusals are limited for each."""

from __future__ import annotations

import hashlib
import itertools
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from requests.adapters import HTTPAdapter

from appliance.api.accesskeys import AccessKey
from appliance.api.refusals import BURST
from firmware.places import Places
from firmware.store import Store

REGION = "eu-central-1"
_numbers = itertools.count()


def stored(places: Places) -> bytes:
    """A digest of all that is wanted of this host."""
    digest = hashlib.sha256()
    for kept in Store(places.store).list():
        digest.update(repr(kept).encode())
    return digest.digest()


class Signer(requests.auth.AuthBase):
    """As an SDK signs, each request afresh: a number in it makes it another one than that of the same second."""

    def __init__(self, key: AccessKey, secret: str = "") -> None:
        self._auth = SigV4Auth(Credentials(key.id, secret or key.secret), "mediaconnect", REGION)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-Amz-Meta-Number"] = str(next(_numbers))
        signed = {name: value for name, value in request.headers.items() if name.lower().startswith(("x-amz-", "content-type"))}
        body = request.body if request.body is not None else b""
        own = AWSRequest(str(request.method), str(request.url), signed, body)
        self._auth.add_auth(own)
        request.headers.update({name: own.headers[name] for name in ("X-Amz-Date", "Authorization")})
        return request


class Session(requests.Session):
    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__()
        self.trust_env = False
        self.mount("http://", _From(address))


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, source_address=(self._address, 0))


class Strangers:
    """An address for each refusal that is to be told, and not only counted."""

    def __init__(self) -> None:
        self._taken = itertools.count()
        self._session = Session()

    def address(self) -> str:
        number = next(self._taken) // (BURST - 2)
        return f"127.{1 + number // 62_500 % 250}.{1 + number // 250 % 250}.{1 + number % 250}"

    def session(self) -> Session:
        address = self.address()
        if getattr(self._session, "address", "") != address:
            self._session.close()
            self._session = Session(address)
            self._session.address = address  # type: ignore[attr-defined]
        return self._session


def send(url: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes, address: str) -> tuple[int, bytes]:
    """These very bytes, whatever a client would make of them."""
    parts = urlsplit(url)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30, source_address=(address, 0))
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
