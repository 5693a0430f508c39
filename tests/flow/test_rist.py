"""A RIST leg and a RIST output as a flow drives them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from firmware.flow.rist import RistLeg, RistSend
from firmware.flow.sources import RESTART, Arrival
from firmware.model import RistOutput, RistSource
from firmware.net import rist
from firmware.wire.ts import DATAGRAM
from tests.lab.programs import wait_until
from tests.lab.relay import Relay
from tests.net.ristlab import FORGERIES, HOST, PASSPHRASE, RistLab, forge
from tests.wire.streams import stream

SECRET = {"secret": "key"}
CLEAR = {"clear": True}
SIMPLE = {"clear": True, "profile": "simple"}
MODES = pytest.mark.parametrize("mode", [SECRET, SIMPLE], ids=["main", "simple"])
STREAM = stream(40, nulls=0)  # no two datagrams alike, so that the first to arrive says where it was in the stream


class Leg:
    """A leg and what it brought."""

    def __init__(self, port: int, passphrase: str, **wish: Any) -> None:
        self.inbox: deque[Arrival] = deque()
        self.woken = 0
        self.leg = RistLeg(RistSource(name="in", port=port, **wish), 1, passphrase, self.inbox, self._wake)

    def _wake(self, _now_ns: int) -> None:
        self.woken += 1

    @property
    def datagrams(self) -> list[bytes]:
        return [data for _, number, data, _ in tuple(self.inbox) if number != RESTART]

    @property
    def numbers(self) -> list[int]:
        """Since the last restart."""
        numbers = [number for _, number, _, _ in tuple(self.inbox)]
        return numbers[len(numbers) - numbers[::-1].index(RESTART) :] if RESTART in numbers else numbers

    @property
    def status(self):  # type: ignore[no-untyped-def]
        return self.leg.status(time.monotonic_ns())


class Loop:
    """Gives an output ten datagrams every 25 ms (4.2 Mb/s), as a flow's loop does, until closed; `longest_s` is its slowest `send`."""

    def __init__(self, output: RistSend) -> None:
        self.output = output
        self.sent: list[bytes] = []
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for at in itertools.count(0, 10):
            if self._stop.wait(0.025):
                return
            datagrams = [STREAM[place % len(STREAM)] for place in range(at, at + 10)]
            began = time.monotonic()
            self.output.send(datagrams, time.monotonic_ns())
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.sent += datagrams
            self.output.tick(time.monotonic_ns())

    @property
    def status(self):  # type: ignore[no-untyped-def]
        return self.output.status(time.monotonic_ns())

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.output.close()


class Ends:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.lab = RistLab(stack)

    def leg(self, port: int, **wish: Any) -> Leg:
        leg = Leg(port, PASSPHRASE if "secret" in wish else "", latency_ms=150, **wish)
        self._stack.callback(leg.leg.close)
        return leg

    def send(self, port: int, **wish: Any) -> Loop:
        settings = {"host": HOST, "latency_ms": 150} | wish
        loop = Loop(RistSend(RistOutput(name="out", port=port, **settings), PASSPHRASE if "secret" in wish else ""))
        self._stack.callback(loop.close)
        return loop


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


def arrived(leg: Leg, more: int) -> Callable[[], bool]:
    goal = len(leg.datagrams) + more
    return lambda: len(leg.datagrams) >= goal


def consecutive(numbers: list[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@MODES
def test_a_stream_crosses_and_both_ends_say_so(ends, mode):
    port = ends.lab.port()
    leg, loop = ends.leg(port, **mode), ends.send(port, **mode)
    wait_until(arrived(leg, 300), what="the stream arrives")
    wait_until(lambda: loop.status.state == "connected" and loop.status.rtt_ms is not None, what="the output is connected")
    got = leg.datagrams
    first = loop.sent.index(got[0])
    assert got == loop.sent[first : first + len(got)]
    assert consecutive(leg.numbers)
    assert leg.inbox[0][:3] == (1, RESTART, b"")
    status = leg.status
    assert (status.state, status.protocol, status.message, status.peer) == ("connected", "rist", "", HOST)
    assert (status.lost, status.dropped, status.refused, status.latency_ms) == (0, 0, 0, 150)
    assert status.bytes == status.packets * DATAGRAM
    assert 0 < leg.woken <= status.packets
    status = loop.status
    assert (status.state, status.message, status.peer, status.dropped) == ("connected", "", f"{HOST}:{port}", 0)
    assert status.packets >= 300
    loop.close()
    wait_until(lambda: leg.status.state == "waiting", what="the leg notices the silence")


def test_what_is_no_stream_is_dropped_and_counted(ends):
    port = ends.lab.port()
    leg = ends.leg(port, **CLEAR)
    loop = ends.send(port, **CLEAR)
    wait_until(arrived(leg, 20), what="the stream arrives")
    loop.output.send([b"no stream", b""], time.monotonic_ns())
    assert loop.status.dropped == 2
    loop.close()
    wait_until(lambda: leg.status.state == "waiting", what="the first sender is silent")
    taken = leg.status.packets
    ends.lab.feed(ends.lab.sender(port))  # not MPEG-TS
    wait_until(lambda: leg.status.dropped > 50, what="noise is dropped")
    assert leg.status.packets == taken
    assert leg.status.state == "waiting"


def test_two_paths_and_one_is_cut(ends):
    ports = ends.lab.port(), ends.lab.port()
    leg = ends.leg(ports[0], second_port=ports[1], **SECRET)
    with Relay((HOST, ports[0])) as first, Relay((HOST, ports[1]), delay_ms=20) as second:
        loop = ends.send(first.address[1], second_port=second.address[1], **SECRET)
        wait_until(arrived(leg, 200), what="the stream arrives")
        wait_until(lambda: loop.status.state == "connected" and not loop.status.message, what="both paths answer")
        first.cut()
        wait_until(lambda: f"nobody answers at {HOST}:{first.address[1]};" in loop.status.message, what="the dead path is said")
        assert loop.status.state == "connected"
        wait_until(arrived(leg, 200), what="the stream goes on")
        assert consecutive(leg.numbers)
        assert leg.status.lost == 0
        first.restore()
        wait_until(lambda: not loop.status.message, what="the path is back")


def test_two_paths_of_simple_profile_are_two_sources():
    with pytest.raises(ValueError, match="second_port: librist joins two paths in main profile alone"):
        Leg(5000, "", second_port=5004, **SIMPLE)


@MODES
def test_a_second_sender_does_not_disturb_the_first(ends, mode):
    port = ends.lab.port()
    leg = ends.leg(port, **mode)
    first = ends.send(port, **mode)
    wait_until(arrived(leg, 200), what="the stream arrives")
    second = ends.send(port, bind_address="127.0.0.9", **mode)
    wait_until(lambda: leg.status.refused > 100, what="the second sender is refused")
    got = leg.datagrams
    at = first.sent.index(got[0])
    assert got == first.sent[at : at + len(got)]
    first.close()
    wait_until(arrived(leg, 200), what="the second sender takes over")
    wait_until(lambda: second.status.state == "connected", what="it knows")


@MODES
def test_a_sender_that_comes_again_is_taken_soon(ends, mode):
    """librist alone holds on to the one before for seven seconds in simple profile."""
    port = ends.lab.port()
    leg = ends.leg(port, **mode)
    loop = ends.send(port, **mode)
    wait_until(arrived(leg, 100), what="the stream arrives")
    loop.close()
    ends.send(port, **mode)
    wait_until(arrived(leg, 200), timeout_s=5, what="the new sender's stream")


@MODES
def test_a_link_that_was_gone_comes_back_by_itself(ends, mode):
    """Longer than librist's session timeout of 2 s: both ends gave each other up."""
    port, entry = ends.lab.port(), ends.lab.port()
    leg = ends.leg(port, **mode)
    with Relay((HOST, port), listen=(HOST, entry)) as data, Relay((HOST, port + 1), listen=(HOST, entry + 1)) as rtcp:
        ends.send(entry, **mode)
        wait_until(arrived(leg, 200), what="the stream arrives")
        for relay in (data, rtcp):
            relay.cut()
        wait_until(lambda: leg.status.state == "waiting", what="the cut is seen")
        wait_until(lambda: time.monotonic_ns() - leg.leg._heard_ns > 2_600_000_000, what="a cut that is long enough")
        for relay in (data, rtcp):
            relay.restore()
        wait_until(arrived(leg, 200), what="the stream is back")


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [
        (SECRET, CLEAR, "what comes is not encrypted"),
        (CLEAR, SECRET, "what comes is encrypted, and this source has no passphrase"),
        (CLEAR, SIMPLE, "what comes is of another RIST profile, or no RIST"),
        (SIMPLE, CLEAR, "somebody sends with another passphrase, or no RIST"),
        (CLEAR | {"allow": ["192.0.2.0/24"]}, CLEAR, "who sends is not on the allowlist"),
        (SIMPLE | {"allow": ["192.0.2.0/24"]}, SIMPLE, "who sends is not on the allowlist"),
    ],
    ids=["sender lacks the secret", "source lacks the secret", "simple to main", "main to simple", "not allowed", "not allowed, simple"],
)
def test_why_nothing_comes_is_said(ends, source, output, words):
    port = ends.lab.port()
    leg = ends.leg(port, **source)
    loop = ends.send(port, **output)
    wait_until(lambda: leg.status.message.startswith(words), what=words)
    wait_until(lambda: "nobody answers at" in loop.status.message, what="the sender says so too")
    assert leg.datagrams == []
    assert (leg.status.state, loop.status.state) == ("waiting", "connecting")


def test_a_wrong_secret_is_said(ends):
    port = ends.lab.port()
    leg = ends.leg(port, **SECRET)
    ends.lab.feed(ends.lab.sender(port, passphrase="another passphrase"))
    wait_until(lambda: "another passphrase" in leg.status.message, what="the wrong secret is said")
    assert leg.datagrams == []


def test_forged_packets_are_counted_and_not_taken(ends):
    port = ends.lab.port()
    leg = ends.leg(port, **SECRET)
    ends.send(port, **SECRET)
    wait_until(arrived(leg, 50), what="the stream arrives")
    for kind in FORGERIES:
        forge(kind, port, 40)
    wait_until(lambda: leg.status.refused >= 3 * 40, what="the forgeries are counted")
    wait_until(arrived(leg, 100), what="the stream goes on")
    assert set(leg.datagrams) <= set(STREAM)
    assert consecutive(leg.numbers)


@MODES
def test_an_output_waits_for_its_receiver_and_finds_it_again(ends, mode):
    port = ends.lab.port()
    loop = ends.send(port, **mode)
    wait_until(lambda: loop.status.message.startswith(f"nobody answers at {HOST}:{port}"), what="the missing receiver is said")
    assert loop.status.state == "connecting"
    leg = ends.leg(port, **mode)
    wait_until(arrived(leg, 100), what="the stream arrives")
    wait_until(lambda: loop.status.state == "connected", what="the output notices")
    leg.leg.close()
    wait_until(lambda: loop.status.state == "connecting", what="the output notices that the receiver is gone")
    wait_until(arrived(ends.leg(port, **mode), 100), what="the stream arrives at the next receiver")
    assert loop.longest_s < 0.5


def test_a_cut_output_is_silent_and_comes_back(ends):
    port = ends.lab.port()
    leg, loop = ends.leg(port, **SECRET), ends.send(port, **SECRET)
    wait_until(arrived(leg, 100), what="the stream arrives")
    loop.output.cut(time.monotonic_ns() + 1_500_000_000)
    assert loop.status.state == "off"
    wait_until(lambda: leg.status.state == "waiting", what="the leg hears nothing")
    assert loop.status.message == "cut on purpose"
    assert loop.status.dropped > 0
    wait_until(arrived(leg, 100), what="the stream is back")
    assert [number for _, number, _, _ in leg.inbox].count(RESTART) == 2
    assert consecutive(leg.numbers)


def test_a_name_that_is_not_found_is_said_and_tried_again(ends):
    loop = ends.send(5000, host="no-such-host.invalid", **CLEAR)
    wait_until(lambda: loop.status.state == "failed", what="the missing name is said")
    assert "no-such-host.invalid cannot be found" in loop.status.message
    assert loop.status.dropped == 0  # nothing was missed: nobody ever listened


def test_what_cannot_be_opened_is_said_at_once(ends):
    port = ends.lab.port()
    ends.leg(port, **CLEAR)
    with pytest.raises(rist.RistError, match=f"UDP port {port} of {HOST} is in use"):
        ends.leg(port, **CLEAR)
    with pytest.raises(rist.RistError, match="the passphrase has 200 bytes"):
        RistSend(RistOutput(name="out", host=HOST, port=port, secret="key"), "x" * 200)


@MODES
def test_a_closed_leg_gives_its_port_back_at_once(ends, mode):
    port = ends.lab.port()
    for _ in range(3):
        ends.leg(port, **mode).leg.close()
