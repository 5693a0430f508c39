"""Who may talk to the pages: browsers on this machine, and forms that these pages made."""

from __future__ import annotations

import hmac
import re
import secrets

from flask import Flask, Response, abort, current_app, request

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_LOCAL = re.compile(r"(?:(?:[a-z0-9-]{1,63}\.)?localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)


def protect(app: Flask) -> None:
    app.config.update(
        SECRET_KEY=secrets.token_bytes(32),
        MAX_CONTENT_LENGTH=64 << 10,
        MAX_FORM_MEMORY_SIZE=16 << 10,
        MAX_FORM_PARTS=50,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    app.before_request(_only_local_names)
    app.after_request(_harden)
    app.jinja_env.globals["form_token"] = form_token


def form_token() -> str:
    """What only a page of this server can know. It changes with the server's start; open pages pick up the new one."""
    return hmac.digest(current_app.config["SECRET_KEY"], b"form", "sha256").hex()


def check_form() -> None:
    """Refuse a form that another site sent, or that has no token of ours."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in (None, "same-origin") or origin not in (None, request.host_url.rstrip("/")):
        abort(403, "This came from another site. Open the page itself and try again.")
    if not hmac.compare_digest(request.form.get("token", "").encode(), form_token().encode()):
        abort(403, "This form is older than the server. Reload the page and try again.")


def _only_local_names() -> None:
    """Or a foreign page could point its own name at this machine and read along. (`TRUSTED_HOSTS` knows no IPv6.)"""
    if not _LOCAL.fullmatch(request.headers.get("Host", "")):
        abort(400, "This box answers to localhost and 127.0.0.1 only.")


def _harden(response: Response) -> Response:
    response.headers.update(HEADERS)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response
