"""RTP with FEC from flow worker to flow worker, over relays that lose what they are told to."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from firmware.wire.fec import COLUMN, ROW
from tests.lab.ports import FEC, free_ports
from tests.lab.programs import wait_until
from tests.lab.recorder import Recorder
from tests.lab.relay import Relay

from .running import datagrams, running, sender, udp_in, udp_out

RATE_BPS = 1_200_000  # 9 ms a datagram: a matrix, and with it the wait for repairs, outlasts the stalls of a busy machine
HOST = "127.0.0.1"
BEGIN, END = 80, 480  # datagrams before the first loss: the receiver knows the matrix and the rate
TAIL = 40
SRTP = {"secret": "srtp"}
MATRIX = {"columns": 5, "rows": 5}


class Losses:
    """Drops media by their place in the stream, and a share of the FEC; knows what it did. Media are told by their payload type."""

    def __init__(self, lost: set[int] | None = None, fec_loss: float = 0.0) -> None:
        self.dropped = 0
        self.begin(lost or set())
        self._fec_loss = fec_loss

    def begin(self, lost: set[int]) -> None:
        """The places of another stream."""
        self.lost = lost
        self._media = 0

    def __call__(self, packet: bytes, towards_target: bool) -> bool:
        if packet[1] & 0x7F != 33:
            # By number and stream: the two streams have ports of their own, and overtake each other
            return random.Random(f"{packet[2:4].hex()} {packet[11] & 1}").random() < self._fec_loss
        drop = self._media in self.lost
        self._media += 1
        self.dropped += drop
        return drop


def bursts(length: int, every: int, begin: int = BEGIN, end: int = END) -> set[int]:
    return {at + k for at in range(begin, end, every) for k in range(length)}


def fec_out(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"protocol": "rtp-fec", "name": name, "host": HOST, "port": port, **MATRIX, **more}


def fec_in(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"protocol": "rtp-fec", "name": name, "port": port, **more}


class Lab:
    """A sending flow, a relay for each of its paths, a receiving flow, and what comes out of it."""

    def __init__(self, stack: ExitStack, losses: list[Losses], more: dict[str, Any], sources: dict[str, Any], **flow: Any) -> None:
        into = free_ports(len(losses), FEC)
        self.got = stack.enter_context(Recorder())
        self.relays = [
            stack.enter_context(Relay((HOST, port), listen=(HOST, free_ports(1, FEC)[0]), drop=lost, beyond=FEC))
            for port, lost in zip(into, losses, strict=True)
        ]
        key = {"secret": more["secret"]} if "secret" in more else {}
        self.receiver = stack.enter_context(
            running(
                sources=[fec_in(f"path-{n}", port, **key) for n, port in enumerate(into)],
                outputs=[udp_out("got", self.got.port)],
                **sources,
            )
        )
        self.port = free_ports(1)[0]
        outputs = [fec_out(f"path-{n}", relay.address[1], **more) for n, relay in enumerate(self.relays)]
        self.sender = stack.enter_context(running(sources=[udp_in(self.port)], outputs=outputs, **flow))

    def merged(self) -> bool:
        merge = self.receiver.status().merge
        return bool(merge and merge.state == "merged")

    def send(self, stream: list[bytes]) -> None:
        """All of it; its end is not lost, and so comes out last."""
        with sender(stream, self.port, RATE_BPS):
            wait_until(lambda: self.got.datagrams and self.got.datagrams[-1] == stream[-1], 30, "the end of the stream")


@pytest.fixture
def lab() -> Iterator[Callable[..., Lab]]:
    with ExitStack() as stack:
        yield lambda losses, more, **sources: Lab(stack, losses, more, sources)


@pytest.mark.parametrize(("more", "aligned"), [({}, True), (SRTP, False)], ids=["clear, aligned", "srtp, staggered"])
def test_bursts_of_a_row_are_repaired_and_told(lab, more, aligned):
    losses = Losses(bursts(5, every=40))
    net = lab([losses], {**more, "aligned": aligned})
    stream = datagrams(END + TAIL, RATE_BPS)
    net.send(stream)
    assert net.got.datagrams == stream
    words = "SRTP, AES-256-GCM" if more else "in the clear"
    (source,) = net.receiver.status().sources
    assert (source.fec_matrix, source.fec_repaired, source.lost) == ("5x5", losses.dropped, 0)
    assert len(stream) // 5 <= source.fec_packets <= len(stream) // 5 * 2
    assert (source.encryption, source.refused, source.dropped) == (words, 0, 0)
    (output,) = net.sender.status().outputs
    assert (output.fec_matrix, output.encryption, output.dropped) == ("5x5", words, 0)
    account = net.receiver.status().account
    assert account
    assert (account.carried, account.lost, account.by_fec, account.without_fec) == (len(stream), 0, losses.dropped, losses.dropped)


def test_what_is_beyond_repair_is_counted_to_the_packet(lab):
    chance = random.Random(8).random
    losses = Losses({n for n in range(BEGIN, END) if chance() < 0.15}, fec_loss=0.3)
    net = lab([losses], SRTP)
    stream = datagrams(END + TAIL, RATE_BPS)
    net.send(stream)
    missing = [n for n, datagram in enumerate(stream) if datagram not in set(net.got.datagrams)]
    assert set(missing) <= losses.lost
    assert net.got.datagrams == [datagram for n, datagram in enumerate(stream) if n not in set(missing)]
    assert 0 < len(missing) < losses.dropped / 2
    status = net.receiver.status()
    (source,) = status.sources
    assert (source.lost, source.fec_repaired) == (len(missing), losses.dropped - len(missing))
    assert status.account
    assert (status.account.lost, status.account.by_fec) == (len(missing), losses.dropped - len(missing))
    assert (status.account.carried, status.account.without_fec) == (len(net.got.datagrams), losses.dropped)


def test_fec_that_comes_late_and_out_of_order_repairs():
    losses = Losses({n for n in range(BEGIN, END, 7)})
    stream = datagrams(END + TAIL, RATE_BPS)
    into, front = free_ports(2, FEC)
    port = free_ports(1)[0]
    with ExitStack() as stack:
        got = stack.enter_context(Recorder())
        stack.enter_context(Relay((HOST, into), listen=(HOST, front), drop=losses))
        for beyond in (COLUMN, ROW):
            late = stack.enter_context(Relay((HOST, into + beyond), listen=(HOST, front + beyond), delay_ms=100))
            late.forward.reorder, late.forward.reorder_ms = 0.3, 50
        receiver = stack.enter_context(running(sources=[fec_in("in", into)], outputs=[udp_out("got", got.port)]))
        stack.enter_context(running(sources=[udp_in(port)], outputs=[fec_out("out", front)]))
        with sender(stream, port, RATE_BPS):
            wait_until(lambda: got.datagrams and got.datagrams[-1] == stream[-1], 30, "the end of the stream")
        (source,) = receiver.status().sources
        assert (source.fec_repaired, source.lost) == (losses.dropped, 0)
    assert got.datagrams == stream


def test_a_pair_repairs_each_path_and_then_merges(lab):
    """Holes of both paths overlap: what FEC cannot repair on one, the other has."""
    losses = [Losses(bursts(5, every=60) | bursts(60, every=500, begin=250)), Losses(bursts(5, every=60))]
    net = lab(losses, SRTP, window_ms=2000)
    net.relays[1].forward.delay_ms = 25
    stream = datagrams(END + TAIL, RATE_BPS)
    net.send(stream)
    assert net.got.datagrams == stream
    status = net.receiver.status()
    assert status.account
    assert (status.account.carried, status.account.lost) == (len(stream), 0)
    on_both = losses[0].lost & losses[1].lost
    assert status.account.without_fec == len(on_both)
    assert status.account.alone["path-1"] == 0
    alone = status.account.alone["path-0"]
    assert 0 < alone <= 60 + 10
    assert status.account.by_merge == alone
    assert [source.lost for source in status.sources] == [alone, 0]
    assert [source.fec_repaired for source in status.sources] == [losses[0].dropped - alone, losses[1].dropped]
    assert not [alarm for alarm in status.alarms if "window_ms" in alarm]


def test_a_window_that_is_too_short_for_the_matrix_is_an_alarm(lab):
    net = lab([Losses(), Losses()], {"columns": 10, "rows": 10}, window_ms=500)
    with sender(datagrams(4000, RATE_BPS), net.port, RATE_BPS):
        wait_until(
            lambda: len([alarm for alarm in net.receiver.status().alarms if "set window_ms higher" in alarm]) == 2, what="the alarms"
        )
    told = net.receiver.status()
    assert [source.fec_matrix for source in told.sources] == ["10x10", "10x10"]
    assert told.merge
    assert told.merge.state == "merged"


def test_a_skew_above_the_window_is_an_alarm(lab):
    net = lab([Losses(), Losses()], {}, window_ms=500)
    net.relays[1].forward.delay_ms = 100  # path-0 is first, and sets the clock

    def behind() -> list[str]:
        return [alarm for alarm in net.receiver.status().alarms if "it cannot help" in alarm]

    with sender(datagrams(4000, RATE_BPS), net.port, RATE_BPS):
        wait_until(net.merged, what="both paths are merged")
        assert behind() == []
        net.relays[1].forward.delay_ms = 1100
        wait_until(behind, 25, "the alarm")
        assert all("path-1: " in alarm and "path-0: " not in alarm for alarm in behind())


def test_the_next_sender_takes_over_and_nothing_counts_as_lost():
    (into,) = free_ports(1, FEC)
    first, second = datagrams(200, RATE_BPS), datagrams(500, RATE_BPS, skip=10_000)
    losses = Losses()
    with ExitStack() as stack:
        got = stack.enter_context(Recorder())
        receiver = stack.enter_context(running(sources=[fec_in("in", into, **SRTP)], outputs=[udp_out("got", got.port)]))
        relay = stack.enter_context(Relay((HOST, into), drop=losses, beyond=FEC))
        for stream, begin in ((first, 100), (second, 300)):
            losses.begin(bursts(5, every=50, begin=begin, end=len(stream) - TAIL))
            port = free_ports(1)[0]
            with running(sources=[udp_in(port)], outputs=[fec_out("out", relay.address[1], **SRTP)]), sender(stream, port, RATE_BPS):
                wait_until(lambda: got.datagrams and got.datagrams[-1] == stream[-1], 30, "the end of this sender's stream")  # noqa: B023
        came = got.datagrams[len(first) :]
        assert got.datagrams[: len(first)] == first
        assert came == second[len(second) - len(came) :]
        assert len(came) > 300
        status = receiver.status()
        (source,) = status.sources
        assert (source.lost, source.fec_repaired, source.fec_matrix) == (0, losses.dropped, "5x5")
        assert status.account
        assert status.account.lost == 0
