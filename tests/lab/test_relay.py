"""The relay that other tests lean on."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import relay as relay_module
from tests.lab.channel import Trace, Uniform
from tests.lab.programs import RelayProcess
from tests.lab.relay import Relay, obey


@pytest.fixture
def target():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(5)
        yield opened


@pytest.fixture
def client():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.settimeout(5)
        yield opened


def arrivals(target: socket.socket, relay: Relay, sent: int, wait_for) -> list[int]:
    wait_for(lambda: relay.forward.passed + relay.forward.lost == sent, 5, "every datagram at the relay")
    target.settimeout(0.3)
    numbers = []
    while True:
        try:
            numbers.append(int(target.recv(2000)))
        except TimeoutError:
            return numbers


def send(client: socket.socket, relay: Relay, count: int) -> None:
    for number in range(count):
        client.sendto(b"%d" % number, relay.address)


def test_both_ways_and_clients_apart(target, client):
    with Relay(target.getsockname()) as relay, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(5)
        for end, word in ((client, b"one"), (other, b"two")):
            end.sendto(word, relay.address)
            data, way = target.recvfrom(2000)
            assert data == word
            target.sendto(word.upper(), way)
        assert client.recv(2000) == b"ONE"
        assert other.recv(2000) == b"TWO"
        assert (relay.forward.passed, relay.back.passed) == (2, 2)


def test_a_seed_loses_the_same_ones(target, client, wait_for):
    lost = []
    for seed in (3, 3, 4):
        with Relay(target.getsockname(), loss=0.2, seed=seed) as relay:
            send(client, relay, 1000)
            arrived = arrivals(target, relay, 1000, wait_for)
            lost.append(set(range(1000)) - set(arrived))
            assert relay.forward.lost == len(lost[-1])
    assert 140 < len(lost[0]) < 260
    assert lost[0] == lost[1] != lost[2]


def test_cut_and_restore(target, client, wait_for):
    with Relay(target.getsockname()) as relay:
        relay.cut()
        send(client, relay, 10)
        assert arrivals(target, relay, 10, wait_for) == []
        relay.restore()
        client.sendto(b"10", relay.address)
        assert arrivals(target, relay, 11, wait_for) == [10]


def test_delay_keeps_the_order(target, client):
    with Relay(target.getsockname(), delay_ms=80) as relay:
        began = time.monotonic()
        send(client, relay, 50)
        assert [int(target.recv(2000)) for _ in range(50)] == list(range(50))
        assert 0.08 <= time.monotonic() - began < 1


def test_a_relay_that_stood_still_says_for_how_long(target, client, wait_for):
    relay = RelayProcess(target.getsockname(), "--delay-ms", "100")
    try:
        client.sendto(b"x", relay.address)
        wait_for(lambda: relay.counts()[0])
        os.kill(relay.process.pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        while time.monotonic() < stopped_s + 0.4:
            pass
        os.kill(relay.process.pid, signal.SIGCONT)
        assert target.recv(2000) == b"x"
        assert relay.lateness_ms() >= 300
    finally:
        relay.close()


def test_chosen_datagrams(target, client, wait_for):
    with Relay(target.getsockname(), drop=lambda datagram, forward: forward and datagram in (b"3", b"5")) as relay:
        send(client, relay, 8)
        assert arrivals(target, relay, 8, wait_for) == [0, 1, 2, 4, 6, 7]


def test_a_deaf_target_is_no_end(target, client, udp_port):
    with Relay(("127.0.0.1", udp_port())) as relay:
        send(client, relay, 5)
        relay.target = target.getsockname()
        client.sendto(b"heard", relay.address)
        while target.recv(2000) != b"heard":
            pass


def test_it_carries_more_than_3000_datagrams_a_second_each_way(target, client, wait_for):
    with Relay(target.getsockname()) as relay:
        client.sendto(b"0", relay.address)
        way = target.recvfrom(2000)[1]
        datagram = bytes(1360)
        began = time.process_time()
        for _ in range(300):
            for _ in range(10):
                client.sendto(datagram, relay.address)
                target.sendto(datagram, way)
            time.sleep(0.002)
        wait_for(lambda: relay.forward.passed == 3001 and relay.back.passed == 3000, 5, "6,000 datagrams")
        assert time.process_time() - began < 1


def test_a_black_hole_one_way_says_nothing(target, client, wait_for):
    with Relay(target.getsockname()) as relay:
        client.sendto(b"0", relay.address)
        way = target.recvfrom(2000)[1]
        relay.black_hole(relay.forward)
        client.connect(relay.address)  # so that an ICMP would be an error
        client.send(b"1")
        target.sendto(b"back", way)
        assert client.recv(2000) == b"back"
        wait_for(lambda: relay.forward.lost == 1)
        relay.restore()
        client.send(b"2")
        assert target.recv(2000) == b"2"


def test_some_come_twice_and_some_late(target, client, wait_for):
    with Relay(target.getsockname(), delay_ms=1) as relay:
        relay.forward.duplicate = 0.1
        relay.forward.reorder, relay.forward.reorder_ms = 0.05, 30
        send(client, relay, 500)
        arrived = arrivals(target, relay, 500, wait_for)
        assert set(arrived) == set(range(500))
        assert len(arrived) == 500 + relay.forward.duplicated > 520
        assert sum(b < a for a, b in itertools.pairwise(arrived)) > 0 < relay.forward.late


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ("loss 0.1", ""),
        ("back burst 0.05 8", ""),
        ("rate 5e6", ""),
        ("rate 5e6 50", ""),
        ("jitter 5", ""),
        ("forward blackhole", ""),
        ("restore", ""),
        ("seed 9", ""),
        ("counts", "0 0 0 0"),
        ("lateness", "0"),
        ("back cut", "`back cut` is no order; see --help"),
        ("loss much", "`loss much`: could not convert string to float: 'much'"),
        ("burst 0.9 1", "`burst 0.9 1`: no bursts of 1 datagrams make a loss of 0.9; bursts have at least 1 each"),
        ("trace /nowhere", "`trace /nowhere`: [Errno 2] No such file or directory: '/nowhere'"),
        ("", "`` is no order; see --help"),
    ],
)
def test_orders(udp_port, order, says):
    with Relay(("127.0.0.1", udp_port())) as relay:
        assert obey(relay, order) == says


def test_orders_reach_the_way_they_name(udp_port):
    with Relay(("127.0.0.1", udp_port()), delay_ms=3) as relay:
        for order in ("back delay 7", "forward loss 0.5", "reorder 0.1 15", "back rate 1000000 40", "forward duplicate 0.2"):
            assert obey(relay, order) == ""
        assert (relay.forward.delay_ms, relay.back.delay_ms) == (3, 7)
        assert (relay.forward.loss, relay.back.loss) == (Uniform(0.5), Uniform(0))
        assert relay.forward.reorder == relay.back.reorder == 0.1
        assert (relay.forward.rate_bps, relay.back.rate_bps, relay.back.queue_ms) == (None, 1e6, 40)
        assert (relay.forward.duplicate, relay.back.duplicate) == (0.2, 0)


def test_as_a_process(target, client):
    host, port = target.getsockname()
    with subprocess.Popen(
        [sys.executable, Path(relay_module.__file__), f"{host}:{port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        host, port = process.stdout.readline().split()
        client.sendto(b"x", (host, int(port)))
        assert target.recv(2000) == b"x"
        process.stdin.write("cut\ncounts\n")
        process.stdin.flush()
        assert process.stdout.readline() == "1 0 0 0\n"
        process.stdin.close()
        assert process.wait(5) == 0


def test_ports_beyond_share_the_fate_of_a_path(target, client):
    """What goes to the second port takes its turn in the trace, comes out at the second target, and goes back the same way."""
    port = target.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
        second.settimeout(5)
        try:
            second.bind(("127.0.0.1", port + 2))
        except OSError:
            pytest.skip("the port above is in use")
        with Relay(("127.0.0.1", port), beyond=(2,)) as relay:
            relay.forward.loss = Trace([False, False, True, False])
            host, front = relay.address
            for word, up, end in ((b"one", 0, target), (b"two", 2, second), (b"lost", 2, None), (b"four", 2, second)):
                client.sendto(word, (host, front + up))
                if end is not None:
                    data, way = end.recvfrom(2000)
                    assert data == word
                    end.sendto(word.upper(), way)
                    assert client.recvfrom(2000) == (word.upper(), (host, front + up))
            assert (relay.forward.passed, relay.forward.lost) == (3, 1)
