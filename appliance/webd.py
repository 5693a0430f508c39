"""The web process: the pages under gunicorn, one worker with threads, for this machine alone.

python -m appliance.webd --port 8080
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from appliance.serving import Server, end_with_parent, listen
from firmware.places import Places

DEFAULT_PORT = 8080
EXIT_USAGE, EXIT_NETWORK = 2, 3


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.webd", description="Serve the pages of this box on 127.0.0.1.")
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("PRESSBOX_WEB_PORT", DEFAULT_PORT),
        help="TCP port (default: PRESSBOX_WEB_PORT or 8080; 0 takes a free one)",
    )
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends, however it ends")
    options = parser.parse_args(arguments)
    port: int = options.port
    if options.with_parent:
        end_with_parent()
    logging.basicConfig(format="web: %(message)s")
    if not 0 <= port <= 65535:
        print(f"web: port {port} is not between 0 and 65535", file=sys.stderr)
        return EXIT_USAGE
    try:
        listener = listen("127.0.0.1", port)
    except OSError as error:
        print(f"web: port {port} of 127.0.0.1 cannot be used ({error.strerror}); choose another with --port", file=sys.stderr)
        return EXIT_NETWORK
    places = Places.from_environment()
    print(f"web: http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    Server(lambda: _pages(places), listener).run()
    return 0


def _pages(places: Places) -> Any:
    from appliance.web import create_app

    app = create_app(places)
    app.extensions["watch"].follow()
    return app


if __name__ == "__main__":
    sys.exit(main())
