"""Secrets replaced while the stream flows: both values are good for a while, and nothing is lost."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from firmware.flow.orders import Job
from firmware.flow.passphrases import WAIT_NS, Passphrases
from firmware.flow.worker import FlowWorker
from firmware.model import parse_flow
from firmware.net import srt
from firmware.secrets import generate, generate_srtp_key
from tests.lab.ports import free_ports
from tests.lab.programs import wait_until
from tests.lab.recorder import Recorder

from .running import SECRETS, datagrams, in_loop, run, sender, udp_in, udp_out

RATE = 2_000_000


def rekey(worker: FlowWorker, name: str, current: str, former: str = "") -> None:
    job = Job(flow=worker.flow, secrets=SECRETS | {name: current}, former={name: former} if former else {})
    in_loop(worker, lambda: worker.apply(job, worker.flow))


def states(worker: FlowWorker) -> list[str]:
    status = worker.status()
    return [end.state for end in (*status.sources, *status.outputs)]


def listens(name: str, port: int) -> dict[str, Any]:
    return {"protocol": "srt-listener", "name": name, "port": port, "secret": "srt", "latency_ms": 60}


def dials(name: str, port: int) -> dict[str, Any]:
    return {"protocol": "srt-caller", "name": name, "host": "127.0.0.1", "port": port, "secret": "srt", "latency_ms": 60}


@pytest.mark.parametrize("receiver_first", [True, False])
def test_two_srt_paths_take_another_passphrase_without_a_gap(receiver_first, monkeypatch):
    monkeypatch.setattr("firmware.flow.passphrases.RENEW_NS", 500_000_000)
    monkeypatch.setattr("firmware.flow.passphrases.WAIT_NS", 1_000_000_000)
    port, a, b = free_ports(3)
    new, old, stream = generate(), SECRETS["srt"], datagrams(1200, RATE)
    with ExitStack() as stack:
        got = stack.enter_context(Recorder())
        studio = stack.enter_context(run({"sources": [listens("a", a), listens("b", b)], "outputs": [udp_out("out", got.port)]}))
        box = stack.enter_context(run({"sources": [udp_in(port)], "outputs": [dials("a", a), dials("b", b)]}))
        wait_until(lambda: states(studio)[:2] == ["connected"] * 2, what="both paths")
        sending = stack.enter_context(sender(stream, port, RATE))
        wait_until(lambda: got.datagrams, what="the stream")
        for worker in (studio, box) if receiver_first else (box, studio):
            rekey(worker, "srt", new, old)
        renewed = [*box._running._outputs.values()]
        wait_until(lambda: all(output._in_use == new for output in renewed), what="both paths by the new passphrase")
        for worker in (studio, box):
            rekey(worker, "srt", new)  # the former one is over
        wait_until(lambda: len(sending.sent) == len(stream), what="all is sent")
        wait_until(lambda: got.datagrams[-1:] == stream[-1:], what="the last datagram")
        assert got.datagrams == stream[stream.index(got.datagrams[0]) :]
        assert states(studio)[:2] == ["connected"] * 2


def test_an_srt_listener_takes_both_and_ends_what_came_by_the_former_one():
    port, into = free_ports(2)
    new, old = generate(), SECRETS["srt"]
    with run({"sources": [udp_in(into)], "outputs": [listens("out", port)]}) as worker:
        rekey(worker, "srt", new, old)
        with dialled(port, new), dialled(port, old):
            wait_until(lambda: worker.status().outputs[0].receivers == 2, what="two receivers")
            rekey(worker, "srt", new)
            wait_until(lambda: worker.status().outputs[0].receivers == 1, what="one of them is gone")
        for _ in range(3):
            with pytest.raises(srt.SrtRefused):
                dial(port, old)


def dial(port: int, passphrase: str) -> srt.Socket:
    caller = srt.open_caller("127.0.0.1", port, sending=False, passphrase=passphrase, latency_ms=60)
    caller.wait_connected(3000)
    return caller


def dialled(port: int, passphrase: str) -> srt.Socket:
    """The second time at the latest."""
    try:
        return dial(port, passphrase)
    except srt.SrtRefused:
        return dial(port, passphrase)


def test_a_secret_that_comes_with_its_output_disturbs_nothing():
    """A receiver that takes one connection and ends with it gets the stream from the first one on."""
    port, into = free_ports(2)
    with (
        srt.open_listener("127.0.0.1", port, sending=False, latency_ms=60, passphrase="a-new-passphrase") as listener,
        ExitStack() as stack,
    ):
        worker = stack.enter_context(run({"sources": [udp_in(into)], "outputs": []}))
        flow = parse_flow({"name": "test", "sources": [udp_in(into)], "outputs": [dials("out", port) | {"secret": "new"}]})
        in_loop(worker, lambda: worker.apply(Job(flow=flow, secrets=SECRETS | {"new": "a-new-passphrase"}), flow))
        connection = listener.accept(10_000)
        assert connection
        stack.enter_context(sender(datagrams(2000, RATE), into, RATE))
        wait_until(lambda: connection.receive() and connection.statistics().received_packets > 50, what="the stream on that connection")


@pytest.mark.parametrize("protocol", ["rtp", "rtp-fec"])
def test_srtp_takes_another_key_without_a_gap(protocol):
    port = free_ports(1)[0]
    through = free_ports(1)[0] & ~1
    new, old, stream = generate_srtp_key(), SECRETS["srtp"], datagrams(800, RATE)
    end = {"protocol": protocol, "port": through, "secret": "srtp"}
    with ExitStack() as stack:
        got = stack.enter_context(Recorder())
        studio = stack.enter_context(run({"sources": [{"name": "in", **end}], "outputs": [udp_out("out", got.port)]}))
        box = stack.enter_context(run({"sources": [udp_in(port)], "outputs": [{"name": "out", "host": "127.0.0.1", **end}]}))
        sending = stack.enter_context(sender(stream, port, RATE))
        wait_until(lambda: len(got.datagrams) > 100, what="the stream")
        rekey(studio, "srtp", new, old)
        rekey(box, "srtp", new)
        wait_until(lambda: len(got.datagrams) > 300, what="the stream goes on")
        rekey(studio, "srtp", new)
        wait_until(lambda: len(sending.sent) == len(stream), what="all is sent")
        wait_until(lambda: got.datagrams[-1:] == stream[-1:], what="the last datagram")
        assert got.datagrams == stream[stream.index(got.datagrams[0]) :]


def test_a_caller_is_offered_both_by_turns():
    passphrases = Passphrases("new-passphrase")
    assert [passphrases.to_offer("192.0.2.1", port) for port in (1, 2)] == ["new-passphrase"] * 2
    passphrases.become("newer-passphrase", "new-passphrase")
    offered = [passphrases.to_offer("192.0.2.2", port) for port in (1, 2, 3)]
    assert offered == ["newer-passphrase", "new-passphrase", "newer-passphrase"]
    assert passphrases.let_in("192.0.2.2", 2) == "new-passphrase"
    passphrases.become("newer-passphrase", "")
    assert [passphrases.to_offer("192.0.2.2", port) for port in (4, 5)] == ["newer-passphrase"] * 2


def test_one_that_dials_goes_back_to_the_former_one_only_where_the_other_is_wrong():
    passphrases = Passphrases("old")
    passphrases.become("new", "old")
    assert (passphrases.to_dial(), passphrases.is_outdated("old"), passphrases.is_outdated("new")) == ("new", True, False)
    assert not passphrases.refused("new", 1403)
    assert passphrases.to_dial() == "new"
    assert passphrases.refused("new", 10)
    assert (passphrases.to_dial(), passphrases.is_outdated("old")) == ("old", False)
    assert not passphrases.refused("old", 10)
    assert WAIT_NS > 0
