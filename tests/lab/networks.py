"""A venue and a studio in network namespaces of their own, with two real paths between them. Needs root.

    venue                       router                       studio
    path-a 10.77.1.2 ---- 10.77.1.1 | 10.77.101.1 ---- 10.77.101.2 path-a
    path-b 10.77.2.2 ---- 10.77.2.1 | 10.77.102.1 ---- 10.77.102.2 path-b

    with Networks() as networks:
        networks.run("venue", ["ip", "route"])
        networks.loss("a", 0.05)          # of what the router forwards, each way, drawn by nft
        networks.link("a", up=False)      # the venue's cable is pulled; the studio's is not
        networks.move_address("a")        # as a DHCP server that gives another lease

The venue has a default route over either path, A's preferred, as a network daemon would set them; `link` and `move_address` set
them again. A kernel without `sch_tbf` gets its rate limit from nft, which polices where tbf queues. `python tests/lab/networks.py`
says what this machine can do.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

if not __package__:  # run as a script
    sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.lab.programs import Program

Side = Literal["venue", "router", "studio"]
Lane = Literal["a", "b"]

SIDES: tuple[Side, ...] = ("venue", "router", "studio")
ENDS: tuple[tuple[Side, int], ...] = (("venue", 0), ("studio", 100))  # and what is added to the third number of its addresses
NUMBER: dict[Lane, int] = {"a": 1, "b": 2}
STUDIO: dict[Lane, str] = {"a": "10.77.101.2", "b": "10.77.102.2"}
CLONE_NEWNET = 0x40000000
QUEUE = ["burst", "32kb", "latency", "100ms"]

_counter = itertools.count()


class NetworkError(RuntimeError):
    """A command that this machine did not obey, in its own words."""


def missing() -> str:
    """Why there can be no namespaces here; empty where there can."""
    name = f"pb-probe-{os.getpid()}"
    try:
        _run(["nft", "--version"])
        _run(["ip", "netns", "add", name])
    except FileNotFoundError as error:
        return f"{error.filename} is missing; it is in Debian's iproute2 or nftables"
    except NetworkError as error:
        return f"network namespaces are not permitted here: {error}"
    try:
        _run(["ip", "netns", "exec", name, "nft", "list", "tables"])
    except NetworkError as error:
        return f"nft does not work in a network namespace here: {error}"
    finally:
        _run(["ip", "netns", "delete", name])
    return ""


class Networks:
    def __init__(self) -> None:
        number = next(_counter)
        self.names: dict[Side, str] = {side: f"pb-{os.getpid()}-{number}-{side}" for side in SIDES}
        self.address: dict[Lane, str] = {"a": "10.77.1.2", "b": "10.77.2.2"}  # of the venue, now
        self._loss: dict[Lane, float] = {"a": 0.0, "b": 0.0}
        self._swallowed: dict[Lane, tuple[str, ...]] = {"a": (), "b": ()}
        self._policed: dict[Lane, float] = {}
        _sweep()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _build(self) -> None:
        for side in SIDES:
            _run(["ip", "netns", "add", self.names[side]])
            self.ip(side, "link set lo up")
            for key in ("default", "all"):  # a reply may come by the other path
                self._sysctl(side, f"ipv4/conf/{key}/rp_filter", 0)
        for path, number in NUMBER.items():
            for side, more in ENDS:
                peer = ["peer", "name", f"{side}-{path}", "netns", self.names["router"]]
                _run(["ip", "link", "add", f"path-{path}", "netns", self.names[side], "type", "veth", *peer])
                for at, name, host in self._plugs(side, path):
                    self.ip(at, f"address add 10.77.{more + number}.{host}/24 dev {name}")
                    self.ip(at, f"link set {name} up")
            self.ip("studio", f"route add 10.77.{number}.0/24 via 10.77.{100 + number}.1")
            self._default_route(path)
        self._sysctl("router", "ipv4/ip_forward", 1)

    @staticmethod
    def _plugs(side: Side, path: Lane) -> tuple[tuple[Side, str, int], ...]:
        """Both ends of one cable: where, its name there, and the last number of its address."""
        return ("router", f"{side}-{path}", 1), (side, f"path-{path}", 2)

    # commands on a side

    def ip(self, side: Side, words: str) -> str:
        return _run(["ip", "-n", self.names[side], *words.split()])

    def run(self, side: Side, argv: Sequence[str]) -> str:
        """What the command prints; NetworkError with its words when it fails."""
        return _run([*self._inside(side), *argv])

    def program(self, side: Side, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Program:
        return Program([*self._inside(side), *argv], env)

    @contextmanager
    def inside(self, side: Side) -> Iterator[None]:
        """This thread is on that side: sockets and programs that it opens belong there for good."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(path: str | int) -> None:
            descriptor = os.open(path, os.O_RDONLY) if isinstance(path, str) else path
            try:
                if libc.setns(descriptor, CLONE_NEWNET) != 0:
                    raise NetworkError(f"setns: {os.strerror(ctypes.get_errno())}")
            finally:
                os.close(descriptor)

        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        enter(f"/run/netns/{self.names[side]}")
        try:
            yield
        finally:
            enter(before)

    def _inside(self, side: Side) -> list[str]:
        return ["ip", "netns", "exec", self.names[side]]

    def _sysctl(self, side: Side, key: str, value: int) -> None:
        self.run(side, ["sh", "-c", f"echo {value} > /proc/sys/net/{key}"])

    # what happens to a path

    def loss(self, path: Lane, share: float) -> None:
        """Of each way. nft draws without a seed: no two runs lose the same packets."""
        self._loss[path] = share
        self._apply()

    def black_hole(self, path: Lane, *ways: Literal["out", "back"]) -> None:
        """Swallow everything to the studio (`out`) or from it, and tell nobody; no way at all lets it pass again."""
        self._swallowed[path] = ways
        self._apply()

    def swallowed(self) -> int:
        """Packets that loss, a black hole and a policed rate have taken since the last change of any of them."""
        words = self.run("router", ["nft", "list", "table", "inet", "lab"]).split()
        return sum(int(words[at + 2]) for at, word in enumerate(words) if word == "counter" and words[at + 1] == "packets")

    def rate(self, path: Lane, mbit: float | None) -> str:
        """Limit each way, None lifts it. What does it: `tbf`, which queues 100 ms, or `nft`, which drops at once."""
        for end in (f"venue-{path}", f"studio-{path}"):
            subprocess.run(["tc", "-n", self.names["router"], "qdisc", "delete", "dev", end, "root"], capture_output=True, check=False)
        self._policed.pop(path, None)
        by = "tbf"
        if mbit is not None:
            try:
                for end in (f"venue-{path}", f"studio-{path}"):
                    _run(["tc", "-n", self.names["router"], *f"qdisc add dev {end} root tbf rate {mbit:g}mbit".split(), *QUEUE])
            except NetworkError:
                self._policed[path] = mbit
                by = "nft"
        self._apply()
        return by

    def delay(self, path: Lane, delay_ms: float) -> None:
        """Each way, where the kernel has netem; NetworkError where it has not (then let a relay do it)."""
        for side, _ in ENDS:
            _run(["tc", "-n", self.names[side], *f"qdisc replace dev path-{path} root netem delay {delay_ms:g}ms limit 10000".split()])

    def link(self, path: Lane, *, up: bool) -> None:
        """The venue's cable. What comes back has its address and default route again."""
        self.ip("venue", f"link set path-{path} {'up' if up else 'down'}")
        if up:
            self._default_route(path)

    def mend(self, path: Lane) -> None:
        """Nothing is wrong with this path any more."""
        self._loss[path], self._swallowed[path] = 0.0, ()
        self.rate(path, None)
        self.link(path, up=True)

    def move_address(self, path: Lane) -> str:
        """The venue's lease is gone and another one there: the new address."""
        number, old = NUMBER[path], self.address[path]
        new = f"10.77.{number}.{int(old.rsplit('.', 1)[1]) % 200 + 1}"
        self.ip("venue", f"address delete {old}/24 dev path-{path}")
        self.ip("venue", f"address add {new}/24 dev path-{path}")
        self.address[path] = new
        self._default_route(path)
        return new

    def _default_route(self, path: Lane) -> None:
        number = NUMBER[path]
        self.ip("venue", f"route replace default via 10.77.{number}.1 dev path-{path} metric {number * 100}")

    def _apply(self) -> None:
        """One table, replaced as a whole, so that there is no moment without it."""
        rules = []
        for path in NUMBER:
            ways = {"out": f'iifname "venue-{path}"', "back": f'iifname "studio-{path}"'}
            for way, packets in ways.items():
                if way in self._swallowed[path]:
                    rules.append(f"{packets} counter drop")
                if self._loss[path]:
                    rules.append(f"{packets} numgen random mod 100000 < {round(self._loss[path] * 100_000)} counter drop")
                if path in self._policed:
                    bytes_per_s = round(self._policed[path] * 125_000)
                    rules.append(f"{packets} limit rate over {bytes_per_s} bytes/second burst 32768 bytes counter drop")
        chain = "\n".join(["type filter hook forward priority 0;", *rules])
        table = f"table inet lab\ndelete table inet lab\ntable inet lab {{\nchain paths {{\n{chain}\n}}\n}}\n"
        subprocess.run([*self._inside("router"), "nft", "-f", "-"], input=table, text=True, check=True)


def _sweep() -> None:
    """Namespaces that a killed run left."""
    for line in _run(["ip", "netns", "list"]).splitlines():
        name = line.split()[0]
        owner = re.fullmatch(r"pb-(\d+)-\d+-\w+", name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _run(argv: Sequence[str]) -> str:
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NetworkError(f"{' '.join(argv)}: {(ended.stderr or ended.stdout).strip()}")
    return ended.stdout


def main() -> None:
    why = missing()
    if why:
        sys.exit(why)
    with Networks() as networks:
        print("rate limit by", networks.rate("a", 10))
        networks.loss("a", 0.5)
        print("loss by nft numgen")
        try:
            networks.delay("a", 10)
            print("delay by netem")
        except NetworkError:
            print("no delay: this kernel has no netem")


if __name__ == "__main__":
    main()
