"""An SRT pair that is not ours: one multicast stream, carried by two `srt-live-transmit` into a flow that merges them."""

from __future__ import annotations

import random
import signal

import msgspec
import pytest

from firmware.status import FlowStatus
from tests.box.lab import RelayProcess
from tests.lab.programs import Program, wait_until
from tests.lab.recorder import Recorder, difference

from .sender import Sender

GROUP = "239.255.42.99"


class Pair:
    """sender --> group --> srt-live-transmit a --> relay a --> pressbox recv --> `got`, and the same with b."""

    def __init__(self, start, ours, udp_port, key, stream: bytes) -> None:
        phrase, reference = key
        legs, self.group = (udp_port(), udp_port()), (GROUP, udp_port())
        self.start = start
        self.phrase = phrase
        self.got = Recorder()
        self.relays = [RelayProcess(("127.0.0.1", port)) for port in legs]
        urls = [f"srt://127.0.0.1:{port}?mode=listener&latency=120&passphrase={reference}" for port in legs]
        out = f"udp://127.0.0.1:{self.got.port}"
        self.flow: Program = ours("recv", urls[0], "--second", urls[1], out, "--window", "300", "--stats", "0.2", "--json")
        self.peers: list[Program] = [self.carry(leg) for leg in range(2)]
        self.sender = Sender(stream, [self.group])

    def carry(self, leg: int) -> Program:
        host, port = self.relays[leg].address
        into = f"udp://{self.group[0]}:{self.group[1]}?adapter=127.0.0.1"
        out = f"srt://{host}:{port}?mode=caller&latency=120&pbkeylen=32&passphrase={self.phrase}"
        return self.start("srt-live-transmit", "-q", "-a:yes", "-c:1316", into, out)

    def status(self) -> FlowStatus | None:
        return msgspec.json.decode(self.flow.out[-1], type=FlowStatus) if self.flow.out else None

    def merged(self) -> bool:
        status = self.status()
        return bool(status and status.merge and status.merge.state == "merged" and self.got.datagrams)

    def delivers_again(self, leg: int) -> None:
        status = self.status()
        assert status
        before = status.sources[leg].packets
        self.wait(lambda: (s := self.status()) and s.sources[leg].packets > before + 30 and self.merged(), "both paths merged again")

    def wait(self, happened, what: str) -> None:
        wait_until(happened, 15, what, [self.flow, *self.peers])

    def flows_on(self, count: int) -> None:
        before = len(self.got.datagrams)
        self.wait(lambda: len(self.got.datagrams) > before + count, "the stream goes on")

    def __enter__(self) -> Pair:
        self.sender.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.sender.__exit__()
        for part in (*self.relays, self.got):
            part.close()


@pytest.fixture
def pair(need, start, ours, udp_port, key, film_of_a_stranger):
    need("srt-live-transmit")
    with Pair(start, ours, udp_port, key, film_of_a_stranger) as pair:
        pair.wait(pair.merged, "both paths merged")
        yield pair


def test_either_path_may_be_cut_again_and_again(pair: Pair):
    chance = random.Random(3)
    for turn in range(4):
        leg = turn % 2
        pair.relays[leg].say("cut")
        pair.flows_on(chance.randrange(60, 150))
        pair.relays[leg].say("restore")
        pair.delivers_again(leg)
    pair.flows_on(60)
    assert not difference(pair.sender.sent, pair.got.datagrams)
    assert difference(pair.sender.sent, pair.got.datagrams).compared > 200


def test_either_sender_may_be_killed_and_started_again(pair: Pair):
    for leg in range(2):
        pair.peers[leg].process.send_signal(signal.SIGKILL)
        pair.flows_on(100)
        pair.peers[leg] = pair.carry(leg)
        pair.delivers_again(leg)
    pair.flows_on(60)
    assert not difference(pair.sender.sent, pair.got.datagrams)
    assert difference(pair.sender.sent, pair.got.datagrams).compared > 200
