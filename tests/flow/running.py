"""Flow workers in this process, with real sockets, and what feeds them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any

from firmware.flow.orders import Job
from firmware.flow.worker import FlowWorker
from firmware.model import parse_flow
from firmware.secrets import generate, generate_srtp_key
from tests.interop.sender import Sender
from tests.lab import feed

SECRETS = {"srtp": generate_srtp_key(), "srt": generate()}


def running(**flow: Any) -> AbstractContextManager[FlowWorker]:
    return run(flow)


@contextmanager
def run(flow: dict[str, Any], *, strict: bool = False) -> Iterator[FlowWorker]:
    parsed = parse_flow({"name": "test", **flow})
    worker = FlowWorker(Job(flow=parsed, secrets=SECRETS), parsed, strict=strict)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()
        worker.close()


def change(worker: FlowWorker, **flow: Any) -> None:
    """Apply it in the worker's own thread, as an order from the parent would be."""
    parsed = parse_flow({"name": "test", **flow})
    in_loop(worker, lambda: worker.apply(Job(flow=parsed, secrets=SECRETS), parsed))


def in_loop(worker: FlowWorker, act: Callable[[], None]) -> None:
    done = threading.Event()

    def once(_now_ns: int) -> None:
        if not done.is_set():
            act()
            done.set()

    worker.on_tick = once
    assert done.wait(10)


def udp_in(port: int) -> dict[str, Any]:
    return {"protocol": "udp", "name": "in", "port": port}


def udp_out(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"protocol": "udp", "name": name, "host": "127.0.0.1", "port": port, **more}


def datagrams(count: int, rate_bps: float, skip: int = 0) -> list[bytes]:
    """Of a constant-rate stream, no two alike."""
    return list(islice(feed.stream(rate_bps), skip, skip + count))


def sender(stream: list[bytes], port: int, rate_bps: float) -> Sender:
    return Sender(b"".join(stream), [("127.0.0.1", port)], rate_bps)
