"""A flow worker in this process, with real sockets: what it does while it runs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from firmware.flow.orders import Cut, Job
from firmware.flow.worker import FlowWorker
from firmware.model import parse_flow
from firmware.net.udp import UdpError
from tests.lab.recorder import Recorder
from tests.wire.streams import stream

from .running import in_loop, run


class Sender:
    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))
        self.sent: list[bytes] = []
        self._stream = iter(stream(30))

    def send(self, count: int, wait_for, recorder: Recorder) -> None:
        """A few at a time, each seen at the other end before the next leave: the kernel drops none."""
        for _ in range(count // 20):
            for _ in range(20):
                datagram = next(self._stream)
                self.socket.send(datagram)
                self.sent.append(datagram)
            wait_for(lambda: len(recorder.datagrams) >= len(self.sent), what="all of them")


@pytest.fixture
def sender_to() -> Iterator[Callable[[int], Sender]]:
    senders: list[Sender] = []

    def make(port: int) -> Sender:
        senders.append(Sender(port))
        return senders[-1]

    yield make
    for sender in senders:
        sender.socket.close()


def udp_out(name: str, port: int) -> dict:
    return {"protocol": "udp", "name": name, "host": "127.0.0.1", "port": port}


def test_a_stream_goes_straight_through(udp_port, wait_for, sender_to):
    port = udp_port()
    with Recorder() as got, run({"sources": [{"protocol": "udp", "name": "in", "port": port}], "outputs": [udp_out("a", got.port)]}):
        sender = sender_to(port)
        sender.send(400, wait_for, got)
        assert got.datagrams == sender.sent


def test_outputs_come_and_go_without_touching_the_others(udp_port, wait_for, sender_to):
    port = udp_port()
    source = {"protocol": "udp", "name": "in", "port": port}
    with Recorder() as steady, Recorder() as guest:
        with run({"sources": [source], "outputs": [udp_out("steady", steady.port)]}) as worker:
            sender = sender_to(port)
            sender.send(100, wait_for, steady)
            more = parse_flow(
                {"name": "test", "sources": [source], "outputs": [udp_out("steady", steady.port), udp_out("guest", guest.port)]}
            )
            in_loop(worker, lambda: worker.apply(Job(flow=more), more))
            sender.send(100, wait_for, steady)
            wait_for(lambda: len(guest.datagrams) == 100, what="the guest's share")
            in_loop(
                worker,
                lambda: worker.apply(
                    Job(flow=worker.flow), parse_flow({"name": "test", "sources": [source], "outputs": [udp_out("steady", steady.port)]})
                ),
            )
            sender.send(100, wait_for, steady)
        assert steady.datagrams == sender.sent
        assert guest.datagrams == sender.sent[100:200]


def test_an_end_that_cannot_be_opened_is_told_and_opened_later(udp_port, wait_for, sender_to):
    port, taken = udp_port(), udp_port()
    blocker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    blocker.bind(("127.0.0.1", taken))
    sources = [{"protocol": "udp", "name": "free", "port": port}, {"protocol": "udp", "name": "taken", "port": taken}]
    with Recorder() as got, run({"sources": sources, "outputs": [udp_out("a", got.port)]}) as worker:
        sender = sender_to(port)
        sender.send(100, wait_for, got)
        status = worker.status()
        assert [source.state for source in status.sources] == ["connected", "failed"]
        assert f"UDP port {taken} of 127.0.0.1 is in use" in status.sources[1].message
        blocker.close()
        wait_for(lambda: worker.status().sources[1].state == "waiting", what="the port is taken over")
        assert got.datagrams == sender.sent


def test_in_the_foreground_such_an_end_is_an_error(udp_port):
    taken = udp_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as blocker:
        blocker.bind(("127.0.0.1", taken))
        flow = parse_flow({"name": "test", "sources": [{"protocol": "udp", "name": "in", "port": taken}]})
        with pytest.raises(UdpError, match=f"UDP port {taken} of 127.0.0.1 is in use"):
            FlowWorker(Job(flow=flow), flow, strict=True)


def test_what_is_not_allowed_or_not_a_stream_is_counted_and_dropped(udp_port, wait_for, sender_to):
    port = udp_port()
    source = {"protocol": "udp", "name": "in", "port": port, "allow": ["192.0.2.0/24"]}
    with Recorder() as got, run({"sources": [source], "outputs": [udp_out("a", got.port)]}) as worker:
        intruder = sender_to(port).socket
        for datagram in stream(0.05):
            intruder.send(datagram)
        wait_for(lambda: worker.status().sources[0].refused > 10, what="refusals")
        assert not got.datagrams
    with Recorder() as got, run({"sources": [source | {"allow": ["127.0.0.0/8"]}], "outputs": [udp_out("a", got.port)]}) as worker:
        intruder.send(b"garbage")
        intruder.send(b"\x47" * 188 * 2)
        wait_for(lambda: worker.status().sources[0].dropped == 1 and worker.status().sources[0].packets == 1, what="one dropped, one taken")


def test_a_cut_output_is_silent_for_its_time_alone(udp_port, wait_for, sender_to):
    port = udp_port()
    flow = {"sources": [{"protocol": "udp", "name": "in", "port": port}], "outputs": []}
    with Recorder() as steady, Recorder() as cut:
        flow["outputs"] = [udp_out("steady", steady.port), udp_out("cut", cut.port)]
        with run(flow) as worker:
            sender = sender_to(port)
            sender.send(100, wait_for, steady)
            in_loop(worker, lambda: worker.cut(Cut(output="cut", seconds=0.5)))
            sender.send(100, wait_for, steady)
            wait_for(lambda: worker.status().outputs[1].state == "connected", what="the end of the cut")
            sender.send(100, wait_for, steady)
            wait_for(lambda: len(cut.datagrams) == 200, what="the rest")
        assert cut.datagrams == sender.sent[:100] + sender.sent[200:]


def test_two_plain_udp_sources_fail_over(udp_port, wait_for, sender_to):
    ports = [udp_port(), udp_port()]
    sources = [{"protocol": "udp", "name": name, "port": port} for name, port in zip(("first", "second"), ports, strict=True)]
    with Recorder() as got, run({"sources": sources, "failover_ms": 100, "outputs": [udp_out("a", got.port)]}) as worker:
        first, second = sender_to(ports[0]), sender_to(ports[1])
        first.send(100, wait_for, got)
        assert got.datagrams == first.sent
        datagram = stream(1, seed=9)[5]

        def second_plays() -> bool:
            second.socket.send(datagram)
            return got.datagrams[-1] == datagram

        wait_for(second_plays, what="the second takes over")
        merge = worker.status().merge
        assert merge
        assert (merge.playing, merge.switches) == ("second", 1)


def test_a_name_is_looked_up_beside_the_stream(udp_port, wait_for, sender_to):
    port = udp_port()
    with Recorder() as got:
        try:
            found = socket.gethostbyname("localhost")
        except OSError:
            found = ""
        if found != "127.0.0.1" or socket.getaddrinfo("localhost", 0, type=socket.SOCK_DGRAM)[0][0] != socket.AF_INET:
            pytest.skip("localhost is no IPv4 address here")
        by_name = udp_out("named", got.port) | {"host": "localhost"}
        lost = udp_out("lost", 5000) | {"host": "no-such-host.invalid"}
        with run({"sources": [{"protocol": "udp", "name": "in", "port": port}], "outputs": [by_name, lost]}) as worker:
            wait_for(lambda: [o.state for o in worker.status().outputs] == ["connected", "failed"], what="both looked up")
            sender = sender_to(port)
            sender.send(100, wait_for, got)
            assert "no-such-host.invalid cannot be found" in worker.status().outputs[1].message
        assert got.datagrams == sender.sent


def srt_source(name: str, port: int) -> dict:
    return {"protocol": "srt-listener", "name": name, "port": port, "clear": True, "latency_ms": 20}


def test_sources_are_changed_while_they_deliver(udp_port, wait_for, sender_to):
    """From two SRT legs to one and back: what the threads of former legs still bring is nobody's."""
    ports, into = [udp_port(), udp_port()], udp_port()
    both = {"name": "test", "sources": [srt_source("a", ports[0]), srt_source("b", ports[1])]}
    out = [
        {"protocol": "srt-caller", "name": name, "host": "127.0.0.1", "port": port, "clear": True, "latency_ms": 20}
        for name, port in zip("ab", ports, strict=True)
    ]
    with Recorder() as got:
        played = {"outputs": [udp_out("got", got.port)]}
        with run({"sources": [{"protocol": "udp", "name": "in", "port": into}], "outputs": out}), run(both | played) as worker:
            feed = sender_to(into)
            datagrams = iter(stream(60))

            def delivers(what: str) -> None:
                begun = len(got.datagrams)

                def more() -> bool:
                    for _ in range(5):
                        feed.socket.send(next(datagrams))
                    return len(got.datagrams) > begun + 100

                wait_for(more, what=what, timeout_s=15)

            delivers("the pair delivers")
            for flow in (both | {"sources": both["sources"][:1]}, both):
                changed = parse_flow(flow | played)
                in_loop(worker, lambda: worker.apply(Job(flow=changed), changed))  # noqa: B023
                delivers("the changed sources deliver")
