"""The API process: MediaConnect's REST API over this host's flows, with TLS where others than this machine may ask.

python -m appliance.apid --port 8443 --address 192.0.2.7 --cert host.pem --key host.key
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import ssl
import sys
from collections.abc import Callable
from typing import Any

from firmware.places import Places

DEFAULT_PORT = 8443
EXIT_USAGE, EXIT_NETWORK = 2, 3
LONGEST_REQUEST_LINE = 8190  # bytes: the keys of fifty tags are in a query


def main(arguments: list[str] | None = None) -> int:
    from appliance import serving  # and gunicorn, which whoever only checks arguments does without

    options = _parser().parse_args(arguments)
    if options.with_parent:
        serving.end_with_parent()
    logging.basicConfig(format="api: %(message)s")
    wrong, settings = _settings(options)
    if wrong:
        print(f"api: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    try:
        listener = serving.listen(options.address, options.port)
    except OSError as error:
        print(f"api: port {options.port} of {options.address} cannot be used ({error.strerror}); choose another", file=sys.stderr)
        return EXIT_NETWORK
    places = Places.from_environment()
    scheme = "https" if settings else "http"
    print(f"api: {scheme}://{options.address}:{listener.getsockname()[1]}", flush=True)
    serving.Server(lambda: _api(places), listener, limit_request_line=LONGEST_REQUEST_LINE, **settings).run()
    return 0


def wrong_with(arguments: list[str]) -> str:
    """What is wrong with these, in a sentence; "" where nothing is."""
    return _settings(_parser().parse_args(arguments))[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m appliance.apid", description="Serve MediaConnect's API over the flows of this host.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"TCP port (default: {DEFAULT_PORT}; 0 takes a free one)")
    parser.add_argument("--address", default="127.0.0.1", help="local address that listens (default: 127.0.0.1, for this machine alone)")
    parser.add_argument("--cert", default="", help="PEM file of the certificate, and those that vouch for it")
    parser.add_argument("--key", default="", help="PEM file of its key")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends, however it ends")
    return parser


def _settings(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """What is wrong, if anything, and gunicorn's settings for TLS."""
    try:
        loopback = ipaddress.ip_address(options.address).is_loopback
    except ValueError:
        return f"--address: `{options.address}` is no IP address; write one of this machine", {}
    if not 0 <= options.port <= 65535:
        return f"--port: {options.port} is not between 0 and 65535", {}
    if bool(options.cert) != bool(options.key):
        return "--cert and --key: give both or neither", {}
    if not options.cert:
        return ("" if loopback else "--cert: on an address that others reach, the API takes TLS alone; give --cert and --key"), {}
    try:
        return "", _tls(options.cert, options.key)
    except (ssl.SSLError, OSError) as error:
        return f"--cert and --key: {options.cert} and {options.key} cannot be used together ({error.strerror or error})", {}


def _tls(certificate: str, key: str) -> dict[str, Any]:
    """Gunicorn's, for TLS 1.2 and later; ssl.SSLError or OSError where the files are no pair."""
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)

    def context(config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        made = default()
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        return made

    return {"certfile": certificate, "keyfile": key, "ssl_context": context}


def _api(places: Places) -> Any:
    from appliance.api import create_api

    app = create_api(places)
    app.extensions["peering"].follow()
    return app


if __name__ == "__main__":
    sys.exit(main())
