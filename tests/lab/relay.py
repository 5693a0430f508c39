"""A UDP relay that loses, delays and cuts: the lossy path between two ends of a test.

    with Relay(target=("127.0.0.1", 5000), loss=0.2, seed=7, delay_ms=20) as relay:
        sender.connect(*relay.address)      # to the relay instead of to the target
        relay.cut()                         # nothing passes any more, either way
        relay.restore()
        relay.forward.lost                  # datagrams that it dropped on the way to the target

Every client (source address) gets a socket of its own towards the target, so the target tells clients apart by port. Loss is drawn
once per datagram and direction: with one client, the same datagrams and the same `seed`, the same ones are lost. `drop` chooses
exactly: it is called with (datagram, towards_target) for each datagram that loss spared, and True drops it. `delay_ms` is that of
each way. `python tests/lab/relay.py --help` runs it as a process of its own, so that it takes nothing from what is measured.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

Place = tuple[str, int]
Drop = Callable[[bytes, bool], bool]

BURST = 64  # datagrams from one socket before the others get their turn
BUFFER_BYTES = 4 << 20


@dataclass(slots=True)
class Direction:
    """Counters of one way, and its loss (0 to 1), which may be changed while it runs."""

    loss: float
    random: random.Random
    passed: int = 0
    lost: int = 0


class Relay:
    """Between `address` (of `listen`; port 0 takes a free one) and `target`.

    `loss` counts for both ways, unless `loss_back` says another for the way back.
    """

    def __init__(
        self,
        target: Place,
        *,
        listen: Place = ("127.0.0.1", 0),
        loss: float = 0.0,
        loss_back: float | None = None,
        seed: int = 1,
        delay_ms: float = 0.0,
        drop: Drop | None = None,
    ) -> None:
        self.target = target
        self.delay_ms = delay_ms
        self.drop = drop
        self.forward = Direction(loss, random.Random(f"{seed} forward"))
        self.back = Direction(loss if loss_back is None else loss_back, random.Random(f"{seed} back"))
        self._cut = False
        self._front = _udp(listen)
        self._bell, self._ringer = socket.socketpair()
        self._by_client: dict[Place, socket.socket] = {}
        self._by_number: dict[int, tuple[socket.socket, Place]] = {}
        self._later: list[tuple[float, int, socket.socket, bytes, Place]] = []
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Place:
        host, port = self._front.getsockname()[:2]
        return host, port

    def cut(self) -> None:
        """Let nothing pass, either way; what is delayed on its way is lost too."""
        self._cut = True

    def restore(self) -> None:
        self._cut = False

    def close(self) -> None:
        self._ringer.close()
        self._thread.join()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._front, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        while True:
            wait_ms = max(0.0, self._later[0][0] - time.monotonic()) * 1000 if self._later else None
            for number, _ in poll.poll(wait_ms):
                if number == self._bell.fileno():
                    return self._close_sockets()
                if number == self._front.fileno():
                    self._from_clients(poll)
                else:
                    self._from_target(number)
            self._send_due()

    def _from_clients(self, poll: select.poll) -> None:
        for datagram, client in _burst(self._front):
            way = self._by_client.get(client)
            if way is None:
                way = _udp(("::" if ":" in self.target[0] else "0.0.0.0", 0))
                self._by_client[client] = way
                self._by_number[way.fileno()] = way, client
                poll.register(way, select.POLLIN)
            self._pass(self.forward, way, datagram, self.target)

    def _from_target(self, number: int) -> None:
        way, client = self._by_number[number]
        for datagram, _ in _burst(way):
            self._pass(self.back, self._front, datagram, client)

    def _pass(self, direction: Direction, way: socket.socket, datagram: bytes, to: Place) -> None:
        unlucky = direction.random.random() < direction.loss
        if unlucky or self._cut or (self.drop and self.drop(datagram, direction is self.forward)):
            direction.lost += 1
            return
        direction.passed += 1
        if self.delay_ms:
            heapq.heappush(self._later, (time.monotonic() + self.delay_ms / 1000, next(self._order), way, datagram, to))
        else:
            _send(way, datagram, to)

    def _send_due(self) -> None:
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, _, way, datagram, to = heapq.heappop(self._later)
            if not self._cut:
                _send(way, datagram, to)

    def _close_sockets(self) -> None:
        for open_socket in (self._front, self._bell, *self._by_client.values()):
            open_socket.close()


def _udp(place: Place) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    opened.setblocking(False)
    opened.bind(place)
    return opened


def _burst(source: socket.socket) -> list[tuple[bytes, Place]]:
    taken: list[tuple[bytes, Place]] = []
    while len(taken) < BURST:
        try:
            datagram, sender = source.recvfrom(65536)
        except BlockingIOError:
            break
        except ConnectionRefusedError:  # nobody listens there just now: a network says nothing about it
            continue
        taken.append((datagram, sender))
    return taken


def _send(way: socket.socket, datagram: bytes, to: Place) -> None:
    try:
        way.sendto(datagram, to)
    except (BlockingIOError, ConnectionRefusedError):
        return  # a full buffer or a deaf port loses datagrams, as networks do


def _place(text: str) -> Place:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main() -> None:
    """Run as a process: prints its address, then takes `cut`, `restore`, `loss 0.2` and `counts` as lines; ends with its standard input."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("target", type=_place, help="host:port")
    parser.add_argument("--listen", type=_place, default=("127.0.0.1", 0))
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    wish = parser.parse_args()
    with Relay(wish.target, listen=wish.listen, loss=wish.loss, seed=wish.seed, delay_ms=wish.delay_ms) as relay:
        print(*relay.address, flush=True)
        for line in sys.stdin:
            match line.split():
                case ["cut"]:
                    relay.cut()
                case ["restore"]:
                    relay.restore()
                case ["loss", share]:
                    relay.forward.loss = relay.back.loss = float(share)
                case ["counts"]:
                    print(relay.forward.passed, relay.forward.lost, relay.back.passed, relay.back.lost, flush=True)
                case _:
                    print("cut, restore, loss SHARE or counts", flush=True)


if __name__ == "__main__":
    main()
