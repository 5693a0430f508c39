"""SRT ends of a flow over real libsrt: gathered sending, many receivers, senders that are there and send nothing, and back-off."""

from __future__ import annotations

import itertools
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from firmware.flow import srtsource
from firmware.flow.sources import RESTART, Arrival
from firmware.flow.srtoutput import SrtCaller
from firmware.flow.srtsource import HELD, SrtCallerLeg, SrtListenerLeg, redial_delay_s, was_refused
from firmware.model import SrtCallerOutput, SrtCallerSource, SrtListenerSource
from firmware.net import srt
from tests.lab.ports import free_ports
from tests.lab.programs import wait_until
from tests.lab.recorder import Recorder
from tests.lab.relay import Relay
from tests.wire.streams import S

from .running import SECRETS, datagrams, running, sender, udp_in, udp_out

HOST = "127.0.0.1"
RATE_BPS = 2_000_000
STREAM = datagrams(700, RATE_BPS)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


class Receiver:
    """Takes what an SRT sender sends, with the times that it gives them."""

    def __init__(self, connection: srt.Socket) -> None:
        self.datagrams: list[bytes] = []
        self.times_us: list[int] = []
        self._connection = connection
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(srt.SrtBroken):
            while True:
                got = self._connection.receive()
                if got is not None:
                    self.datagrams.append(got[0])
                    self.times_us.append(got[2])

    def close(self) -> None:
        self._connection.close()
        self._thread.join()


def calls(port: int, stack: ExitStack, **wish: Any) -> Receiver:
    settings: dict[str, Any] = {"latency_ms": 120, "sending": False} | wish
    caller = srt.open_caller(HOST, port, **settings)
    caller.wait_connected()
    receiver = Receiver(caller)
    stack.callback(receiver.close)
    return receiver


def check_part(got: list[bytes], stream: list[bytes], least: int) -> None:
    first = stream.index(got[0])
    assert got == stream[first : first + len(got)]
    assert len(got) >= least


@pytest.mark.parametrize("gather_ms", [0, 50])
def test_many_receivers_of_a_listener_get_the_same_at_the_stream_s_own_pace(stack, gather_ms):
    """What was gathered leaves in bursts, and is given out as it came: each datagram brings its time."""
    port, into = free_ports(2)
    listener = {"protocol": "srt-listener", "name": "out", "port": port, "clear": True, "gather_ms": gather_ms}
    worker = stack.enter_context(running(sources=[udp_in(into)], outputs=[listener]))
    receivers = [calls(port, stack) for _ in range(12)]
    wait_until(lambda: worker.status().outputs[0].receivers == 12, what="all receivers")
    with sender(STREAM, into, RATE_BPS):
        receivers.pop().close()  # one that leaves disturbs nobody
        wait_until(lambda: all(r.datagrams and r.datagrams[-1] == STREAM[-1] for r in receivers), 30, "the end of the stream")
    for receiver in receivers:
        check_part(receiver.datagrams, STREAM, len(STREAM))
    gaps_us = [b - a for a, b in itertools.pairwise(receivers[0].times_us)]
    assert min(gaps_us) >= 0
    if gather_ms:
        step_us = 1316 * 8e6 / RATE_BPS
        assert 0.5 * step_us < statistics.median(gaps_us) < 1.5 * step_us
    (output,) = worker.status().outputs
    assert (output.receivers, output.dropped, output.lost) == (11, 0, 0)


@pytest.mark.parametrize("gather_ms", [0, 20])
def test_datagrams_too_long_for_srt_leave_in_parts(stack, gather_ms):
    port, into = free_ports(2)
    listener = {"protocol": "srt-listener", "name": "out", "port": port, "clear": True, "gather_ms": gather_ms}
    worker = stack.enter_context(running(sources=[udp_in(into)], outputs=[listener]))
    receiver = calls(port, stack)
    wait_until(lambda: worker.status().outputs[0].receivers == 1, what="the receiver")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feed:
        feed.connect((HOST, into))
        for a, b in zip(STREAM[0:100:2], STREAM[1:100:2], strict=True):
            feed.send(a + b[: 3 * 188])
            feed.send(b[3 * 188 :])
        wait_until(lambda: b"".join(receiver.datagrams) == b"".join(STREAM[:100]), what="all of it")


class EachTwentieth:
    """Drops data packets when they are sent for the first time, by number; knows how many."""

    def __init__(self, *, to_target: bool = True) -> None:
        self.lost: set[int] = set()
        self._to_target = to_target

    def __call__(self, packet: bytes, towards_target: bool) -> bool:
        is_data, resent = not packet[0] & 0x80, packet[4] & 0x04
        number = int.from_bytes(packet[:4], "big")
        if towards_target == self._to_target and is_data and not resent and number % 20 == 7:
            self.lost.add(number)
            return True
        return False


def test_what_retransmission_repaired_is_counted_to_the_packet(stack):
    port, into = free_ports(2)
    drop = EachTwentieth()
    got = stack.enter_context(Recorder())
    relay = stack.enter_context(Relay((HOST, port), drop=drop))
    settings: dict[str, Any] = {"secret": "srt", "latency_ms": 1500}
    source = {"protocol": "srt-listener", "name": "in", "port": port, **settings}
    receiver = stack.enter_context(running(sources=[source], outputs=[udp_out("got", got.port)]))
    output = {"protocol": "srt-caller", "name": "out", "host": HOST, "port": relay.address[1], **settings}
    worker = stack.enter_context(running(sources=[udp_in(into)], outputs=[output]))
    wait_until(lambda: worker.status().outputs[0].state == "connected", what="the connection")
    with sender(STREAM, into, RATE_BPS):
        wait_until(lambda: got.datagrams and got.datagrams[-1] == STREAM[-1], 30, "the end of the stream")
    assert got.datagrams == STREAM
    status = receiver.status()
    assert status.account
    assert len(drop.lost) >= 30
    assert (status.account.carried, status.account.lost, status.account.by_retransmission) == (len(STREAM), 0, len(drop.lost))
    (sent,) = worker.status().outputs
    assert sent.repaired >= len(drop.lost)
    assert (status.sources[0].asked, sent.asked) >= (len(drop.lost), len(drop.lost))
    assert (sent.lost, sent.dropped, sent.encryption) == (0, 0, "SRT, AES-256")


def test_what_was_sent_again_to_a_receiver_stays_counted_when_it_leaves(stack):
    port, into = free_ports(2)
    drop = EachTwentieth(to_target=False)
    relay = stack.enter_context(Relay((HOST, port), drop=drop))
    output = {"protocol": "srt-listener", "name": "out", "port": port, "clear": True, "latency_ms": 1500}
    worker = stack.enter_context(running(sources=[udp_in(into)], outputs=[output]))
    told: list[int] = []

    def resent() -> int:
        told.append(worker.status().outputs[0].repaired)
        return told[-1]

    with sender(STREAM * 3, into, RATE_BPS):
        with ExitStack() as first:
            calls(relay.address[1], first, latency_ms=1500)
            wait_until(lambda: resent() >= 5, what="some that were sent again")
        wait_until(lambda: worker.status().outputs[0].receivers == 0, what="the receiver is gone")
        before = resent()
        calls(relay.address[1], stack, latency_ms=1500)
        wait_until(lambda: resent() >= before + 5, what="more that were sent again, to the next one")
    assert told == sorted(told)


# back-off


def test_back_off_doubles_to_half_a_minute_and_never_ends():
    for refusals, delay_s in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (1025, 30), (1_000_000, 30)):
        drawn = [redial_delay_s(refusals) for _ in range(200)]
        assert 0.8 * delay_s <= min(drawn)
        assert max(drawn) <= 1.2 * delay_s
        assert max(drawn) - min(drawn) > 0.2 * delay_s  # many boxes do not come back at once
    assert all(redial_delay_s(refusals) <= 0.5 for refusals in (HELD, -1, 0))


def test_nobody_there_is_no_refusal():
    assert not was_refused(srt.SrtRefused("", srt.REJ_TIMEOUT))
    assert not was_refused(OSError())
    assert was_refused(srt.SrtRefused("", 1403))


class Door:
    """An SRT listener that says no, or lets in and sends nothing; counts who came."""

    def __init__(self, stack: ExitStack, *, admits: bool, sending: bool, port: int = 0) -> None:
        self.calls: dict[int, float] = {}  # by port: a call is heard again while its answer is on the way
        self.inside: list[srt.Socket] = []
        self.admits = admits
        self.listener = stack.enter_context(srt.open_listener(HOST, port, latency_ms=20, sending=sending, admit=self._admit))

    @property
    def port(self) -> int:
        return self.listener.address[1]

    def _admit(self, caller: srt.Caller) -> srt.Admission | srt.Reject:
        self.calls.setdefault(caller.port, time.monotonic())
        return srt.Admission() if self.admits else srt.Reject(1403)


def calling_source(stack: ExitStack, port: int) -> SrtCallerLeg:
    spec = SrtCallerSource(name="in", host=HOST, port=port, clear=True, latency_ms=20)
    leg = SrtCallerLeg(spec, 0, "", deque(), lambda _now_ns: None)
    stack.callback(leg.close)
    return leg


def calling_output(stack: ExitStack, port: int) -> SrtCaller:
    output = SrtCaller(SrtCallerOutput(name="out", host=HOST, port=port, clear=True, latency_ms=20), "")
    stack.callback(output.close)
    return output


@pytest.mark.parametrize(("opens", "sending"), [(calling_source, True), (calling_output, False)], ids=["source", "output"])
def test_a_changed_network_dials_at_once_and_once(stack, opens: Callable[..., Any], sending):
    """While the far end refuses. After it the back-off goes on: a change must not open a flood of calls."""
    door = Door(stack, admits=False, sending=sending)
    end = opens(stack, door.port)
    wait_until(lambda: len(door.calls) >= 3, 30, "three refused calls")  # the next would come after 3.2 s at the least
    wait_until(lambda: end.status(time.monotonic_ns()).state == "failed", what="told as failed")
    refused, changed = len(door.calls), time.monotonic()
    end.network_changed()
    wait_until(lambda: len(door.calls) > refused, 2, "a call at once")
    wait_until(lambda: time.monotonic() > changed + 1.5)
    assert len(door.calls) - refused <= 2


def test_after_a_loss_the_first_refusals_are_no_reason_to_wait(stack):
    """A far end may hold the lost connection for a moment, and refuse its own caller meanwhile."""
    door = Door(stack, admits=True, sending=False)
    output = calling_output(stack, door.port)
    wait_until(lambda: len(door.calls) == 1 and output.status(time.monotonic_ns()).state == "connected", what="connected")
    door.admits = False
    output.cut(time.monotonic_ns())
    wait_until(lambda: output.tick(time.monotonic_ns()) or output.status(time.monotonic_ns()).state == "failed", 30, "told as failed")
    assert len(door.calls) >= 1 + -HELD + 1


def test_nor_are_they_after_a_while_without_an_answer(stack):
    """A cable that was out: the call that began meanwhile gets no answer, and the far end still holds the connection."""
    door = Door(stack, admits=True, sending=False)
    output = calling_output(stack, port := door.port)
    connected = wait_until(lambda: door.listener.accept(), what="connected")
    door.listener.close()
    connected.close()
    wait_until(lambda: output.tick(time.monotonic_ns()) or "no connection" in output.status(time.monotonic_ns()).message, 30, "no answer")
    closed = Door(stack, admits=False, sending=False, port=port)
    wait_until(lambda: output.status(time.monotonic_ns()).state == "failed", 30, "told as failed")
    assert len(closed.calls) >= -HELD + 1


# alive is who brings transport stream


@pytest.fixture
def soon(monkeypatch) -> None:
    """Half a second in place of five."""
    monkeypatch.setattr(srtsource, "DEAD_NS", S // 2)


@pytest.mark.parametrize("sends", [None, b"no transport stream"], ids=["nothing", "something else"])
def test_a_source_that_dials_leaves_a_sender_that_sends_no_stream(stack, soon, sends):
    door = Door(stack, admits=True, sending=True)
    leg = calling_source(stack, door.port)
    wait_until(lambda: len(door.calls) >= 1, what="the first call")

    def left() -> bool:
        inside = door.listener.accept()
        if inside is not None:
            door.inside.append(inside)
        for one in door.inside:
            with suppress(srt.SrtBroken):
                if sends:
                    one.send(sends)
        return len(door.calls) >= 3

    wait_until(left, 30, "it leaves and calls again, and again")
    status = leg.status(time.monotonic_ns())
    assert status.packets == 0
    assert status.dropped > 0 if sends else status.dropped == 0
    for one in door.inside:
        one.close()


def test_a_listening_source_leaves_a_sender_that_sends_no_stream(stack, soon):
    (port,) = free_ports(1)
    inbox: deque[Arrival] = deque()
    spec = SrtListenerSource(name="in", port=port, latency_ms=20, secret="srt")
    leg = SrtListenerLeg(spec, 0, SECRETS["srt"], inbox, lambda _now_ns: None)
    stack.callback(leg.close)
    caller = stack.enter_context(srt.open_caller(HOST, port, latency_ms=20, sending=True, passphrase=SECRETS["srt"]))
    caller.wait_connected()
    feed = iter(STREAM)

    def delivers() -> bool:
        caller.send(next(feed))
        return len(inbox) > 5

    wait_until(delivers, what="the stream")
    assert leg.status(time.monotonic_ns()).state == "connected"
    wait_until(lambda: "has sent no transport stream" in leg.message, what="silence is noticed")
    wait_until(lambda: leg.status(time.monotonic_ns()).state == "waiting", what="it waits again")
    again = stack.enter_context(srt.open_caller(HOST, port, latency_ms=20, sending=True, passphrase=SECRETS["srt"]))
    again.wait_connected()
    wait_until(lambda: [number for _, number, _, _ in inbox].count(RESTART) == 2, what="the next sender is let in")
