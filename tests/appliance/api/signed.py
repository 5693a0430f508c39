"""Requests that botocore signs, as they stand on the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from appliance.api.accesskeys import AccessKey
from appliance.api.sigv4 import Denied, HttpRequest, Verifier

HOST = "box.example:8443"
ARN = "arn%3Apressbox%3Amediaconnect%3Alocal%3A000000000000%3Aflow%3A1-23aBC45dEF67hiJ8-12AbC34DE5fG%3AAwards_Show"
FLOW = f"/v1/flows/{ARN}"


def signed(
    key: AccessKey,
    method: str = "GET",
    target: str = FLOW,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    region: str = "us-east-1",
    service: str = "mediaconnect",
    token: str | None = None,
) -> HttpRequest:
    """The request as it leaves botocore, with the clock of this moment."""
    request = AWSRequest(method, f"https://{HOST}{target}", headers or {}, body)
    SigV4Auth(Credentials(key.id, key.secret, token), service, region).add_auth(request)
    sent = {"Host": HOST, **{name: _text(value) for name, value in request.headers.items()}}
    parts = urlsplit(request.url)
    return HttpRequest(method, parts.path, parts.query, list(sent.items()), body, "192.0.2.7")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def header(request: HttpRequest, wanted: str) -> str:
    return next(value for name, value in request.headers if name.lower() == wanted.lower())


@contextmanager
def server(verifier: Verifier, refused: list[str] | None = None) -> Iterator[str]:
    """A web server that answers `{}` to who may, and else as an AWS service does; its URL."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                verifier.check(HttpRequest(self.command, path, query, self.headers.items(), body, self.client_address[0]))
            except Denied as denied:
                if refused is not None:
                    refused.append(f"{denied.status} {denied.kind}")
                self.tell(denied.status, {"message": str(denied)}, denied.kind, denied.retry_after_s)
            else:
                self.tell(200, {}, "", 0)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def tell(self, status: int, answer: dict[str, str], kind: str, retry_after_s: int) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if kind:
                self.send_header("x-amzn-ErrorType", kind)
            if retry_after_s:
                self.send_header("Retry-After", str(retry_after_s))
                self.send_header("x-amz-retry-after", str(retry_after_s * 1000))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{web.server_port}"
    finally:
        web.shutdown()
        thread.join()
        web.server_close()
