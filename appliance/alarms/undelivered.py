"""How a delivery fails. The words are for people: they hold no address, user or token of the destination."""

from __future__ import annotations

import socket
import ssl


class Undelivered(Exception):
    """It is tried again."""


class Unwanted(Undelivered):
    """The far end does not take this very notice, and will not the next time."""


def in_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no TLS there'}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    return error.strerror or type(error).__name__
