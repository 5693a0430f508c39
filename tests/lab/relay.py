"""A UDP relay that loses, delays and cuts: the lossy path between two ends of a test.

    with Relay(target=("127.0.0.1", 5000), loss=0.2, seed=7, delay_ms=20) as relay:
        sender.connect(*relay.address)      # to the relay instead of to the target
        relay.cut()                         # nothing passes any more, either way
        relay.restore()
        relay.forward.lost                  # datagrams that it dropped on the way to the target
        relay.back.loss = GilbertElliott(mean_loss=0.05, mean_burst=8)

`forward` and `back` are channels (see `channel.py`), and all that is public in them may be changed while it runs. Every client
(source address) gets a socket of its own towards the target, so the target tells clients apart by port. With one client, the same
datagrams and the same `seed`, the same ones are lost. `drop` chooses exactly: it is called with (datagram, towards_target) for each
datagram that loss spared, and True drops it. With `beyond`, ports further up are relayed as well, as parts of the same path: media
and its FEC share one channel, and a burst takes of both. `python tests/lab/relay.py --help` runs it as a process of its own, so
that it takes nothing from what is measured.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[2]))
from firmware.net.udp import enlarge_receive_buffer
from tests.lab.channel import Channel, GilbertElliott, Loss, Trace
from tests.lab.ports import free_ports

Place = tuple[str, int]
Drop = Callable[[bytes, bool], bool]

BURST = 64  # datagrams from one socket before the others get their turn
BUFFER_BYTES = 4 << 20


class Relay:
    """Between `address` (of `listen`; port 0 takes a free one) and `target`.

    `loss` counts for both ways, unless `loss_back` says another for the way back; so does `delay_ms`.
    """

    def __init__(
        self,
        target: Place,
        *,
        listen: Place = ("127.0.0.1", 0),
        loss: float | Loss = 0.0,
        loss_back: float | Loss | None = None,
        seed: int = 1,
        delay_ms: float = 0.0,
        drop: Drop | None = None,
        beyond: tuple[int, ...] = (),
    ) -> None:
        self.target = target
        self.drop = drop
        self.forward = Channel("forward", seed, loss, delay_ms)
        self.back = Channel("back", seed, loss if loss_back is None else loss_back, delay_ms)
        self.latest_s = 0.0  # how much later than it was due a delayed datagram left at most: this machine's fault, and no network's
        self._cut = False
        self._fronts = _row(listen, beyond)
        self._bell, self._ringer = socket.socketpair()
        self._by_client: dict[tuple[int, Place], socket.socket] = {}
        self._by_socket: dict[socket.socket, tuple[socket.socket, Place]] = {}  # the front and the client behind it
        self._later: list[tuple[float, int, socket.socket, bytes, Place]] = []
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    @property
    def address(self) -> Place:
        host, port = next(iter(self._fronts)).getsockname()[:2]
        return host, port

    def cut(self) -> None:
        """Let nothing pass, either way; what is delayed on its way is lost too."""
        self._cut = True

    def black_hole(self, *ways: Channel) -> None:
        """Swallow all that comes from now on, both ways or this one, and say nothing: no port is closed, no ICMP sent."""
        for way in ways or (self.forward, self.back):
            way.swallows = True

    def restore(self) -> None:
        """End the cut and the black hole."""
        self._cut = self.forward.swallows = self.back.swallows = False

    def close(self) -> None:
        self._ringer.close()
        self._thread.join()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            wait_s = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
            # select, for it alone waits for less than a millisecond
            for ready in select.select([*self._fronts, self._bell, *self._by_socket], [], [], wait_s)[0]:
                if ready is self._bell:
                    return self._close_sockets()
                if ready in self._fronts:
                    self._from_clients(ready, self._fronts[ready])
                else:
                    self._from_target(ready)
            self._send_due()

    def _from_clients(self, front: socket.socket, beyond: int) -> None:
        target = (self.target[0], self.target[1] + beyond)
        for datagram, client in _burst(front):
            way = self._by_client.get((beyond, client))
            if way is None:
                way = self._by_client[beyond, client] = _udp(("::" if ":" in self.target[0] else "0.0.0.0", 0))
                self._by_socket[way] = front, client
            self._pass(self.forward, way, datagram, target)

    def _from_target(self, way: socket.socket) -> None:
        front, client = self._by_socket[way]
        for datagram, _ in _burst(way):
            self._pass(self.back, front, datagram, client)

    def _pass(self, channel: Channel, way: socket.socket, datagram: bytes, to: Place) -> None:
        fate = channel.draw()
        if fate.lost or self._cut or channel.swallows or (self.drop and self.drop(datagram, channel is self.forward)):
            channel.lost += 1
            return
        now_s = time.monotonic()
        due_s = channel.due_s(fate, len(datagram), now_s)
        if due_s is None:
            return
        for _ in range(2 if fate.twice else 1):
            if due_s <= now_s and not self._later:
                _send(way, datagram, to)
            else:
                heapq.heappush(self._later, (due_s, next(self._order), way, datagram, to))

    def _send_due(self) -> None:
        now_s = time.monotonic()
        while self._later and self._later[0][0] <= now_s:
            due_s, _, way, datagram, to = heapq.heappop(self._later)
            self.latest_s = max(self.latest_s, now_s - due_s)
            if not self._cut:
                _send(way, datagram, to)

    def _close_sockets(self) -> None:
        for open_socket in (*self._fronts, self._bell, *self._by_socket):
            open_socket.close()


def _udp(place: Place) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_DGRAM)
    enlarge_receive_buffer(opened, BUFFER_BYTES)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    opened.setblocking(False)
    opened.bind(place)
    return opened


def _row(first: Place, beyond: tuple[int, ...]) -> dict[socket.socket, int]:
    """A socket there, and one at each port so far `beyond`: that distance by socket."""
    host, port = first
    if beyond and not port:
        port = free_ports(1, beyond, host)[0]
    return {_udp((host, port + distance)): distance for distance in (0, *beyond)}


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


ORDERS = """\
orders, one a line on standard input or each in a --say; `forward` or `back` before one means that way alone:
  cut                  nothing passes, and what is on its way is lost
  blackhole            swallow everything that comes, and say nothing
  restore              end of both
  loss SHARE           independent losses, 0 to 1
  burst SHARE LENGTH   Gilbert-Elliott: mean loss, and mean length of a burst in datagrams
  trace FILE           exactly these: 0 arrives, 1 is lost, again and again
  delay MS             of each way
  jitter MS            up to so much more, drawn anew for each; the order stays
  reorder SHARE MS     this share comes so much later than the others
  duplicate SHARE      this share comes twice
  rate BPS [QUEUE_MS]  a bottleneck with a queue (default: 100 ms); 0 lifts it
  seed N               begin the draws of another seed
  counts               passed and lost forward, passed and lost back
  counts all           the same and more as JSON
  lateness             how many ms later than it was due a delayed datagram left at most
"""


def obey(relay: Relay, line: str) -> str:
    """Carry out one order; what to answer, which is most often nothing."""
    try:
        return _obey(relay, line)
    except (ValueError, OSError) as error:
        return f"`{line.strip()}`: {error}"


def _obey(relay: Relay, line: str) -> str:
    words = line.split()
    named = {"forward": [relay.forward], "back": [relay.back]}.get(words[0]) if words else None
    for way in named or [relay.forward, relay.back]:
        match words[1:] if named else words:
            case ["cut"] if not named:
                relay.cut()
            case ["restore"] if not named:
                relay.restore()
            case ["blackhole"]:
                relay.black_hole(way)
            case ["loss", share]:
                way.loss = float(share)
            case ["burst", share, length]:
                way.loss = GilbertElliott(float(share), float(length))
            case ["trace", file]:
                way.loss = Trace.load(file)
            case ["delay", ms]:
                way.delay_ms = float(ms)
            case ["jitter", ms]:
                way.jitter_ms = float(ms)
            case ["reorder", share, ms]:
                way.reorder, way.reorder_ms = float(share), float(ms)
            case ["duplicate", share]:
                way.duplicate = float(share)
            case ["rate", bps, *queue] if len(queue) < 2:
                way.rate_bps, way.queue_ms = float(bps) or None, float(queue[0] if queue else 100)
            case ["seed", number]:
                way.seed(int(number))
            case ["counts"] if not named:
                return f"{relay.forward.passed} {relay.forward.lost} {relay.back.passed} {relay.back.lost}"
            case ["lateness"] if not named:
                return f"{relay.latest_s * 1000:.0f}"
            case ["counts", "all"] if not named:
                return json.dumps({"forward": relay.forward.counts(), "back": relay.back.counts()})
            case _:
                return f"`{line.strip()}` is no order; see --help"
    return ""


def _place(text: str) -> Place:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main() -> None:
    """Run as a process: prints its address, then obeys orders, and ends with its standard input."""
    parser = argparse.ArgumentParser(description=main.__doc__, epilog=ORDERS, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=_place, help="host:port")
    parser.add_argument("--listen", type=_place, default=("127.0.0.1", 0), help="host:port (default: a free port of 127.0.0.1)")
    parser.add_argument("--loss", type=float, default=0.0, help="share, 0 to 1, both ways (default: 0)")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="of each way (default: 0)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn (default: 1)")
    parser.add_argument("--beyond", type=int, nargs="*", default=[], metavar="N", help="ports so much further up belong to the path too")
    parser.add_argument("--say", action="append", default=[], metavar="ORDER", help="an order to begin with, again and again")
    wish = parser.parse_args()
    given = {name: getattr(wish, name) for name in ("listen", "loss", "seed", "delay_ms")}
    with Relay(wish.target, **given, beyond=tuple(wish.beyond)) as relay:
        for order in wish.say:
            wrong = obey(relay, order)
            if wrong:
                parser.error(wrong)
        print(*relay.address, flush=True)
        for line in sys.stdin:
            answer = obey(relay, line)
            if answer:
                print(answer, flush=True)


if __name__ == "__main__":
    main()
