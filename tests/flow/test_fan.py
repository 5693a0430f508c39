"""One stream to many outputs: the same bytes in the same order however they gather, and nobody waits longer than it says."""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from firmware.flow.batch import MOST_SEGMENTS, Batch
from firmware.flow.ends import open_output
from firmware.flow.fan import Fan
from firmware.flow.outputs import FlowOutput
from firmware.model import Output, RtpFecOutput, RtpOutput, UdpOutput
from firmware.net.srtp import Opening
from firmware.net.udp import enlarge_receive_buffer
from firmware.secrets import generate_srtp_key, parse_srtp_key
from firmware.wire import rtp
from firmware.wire.fec import FecPacket
from firmware.wire.seq import Unwrap
from tests.lab.ports import FEC, free_ports
from tests.lab.programs import wait_until
from tests.wire.streams import MS, S

from .running import change, datagrams, running, sender, udp_in, udp_out

KEY = generate_srtp_key()
STREAM = datagrams(1200, 10_000_000)
MIXED = [datagram[: 188 * (1 + n % 7)] if n // 40 % 3 == 2 else datagram for n, datagram in enumerate(STREAM)]  # runs, and none


class Tap:
    """Receives at a port, and keeps all in its buffer until asked."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        enlarge_receive_buffer(self._socket, 32 << 20)
        self._socket.bind(("127.0.0.1", port))
        self._socket.setblocking(False)
        self.got: list[bytes] = []

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def take(self) -> list[bytes]:
        """What came since the last time."""
        new: list[bytes] = []
        while True:
            try:
                new.append(self._socket.recv(2048))
            except BlockingIOError:
                self.got += new
                return new

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


class Show:
    """A fan with real outputs to taps, in made-up time."""

    def __init__(self, stack: ExitStack) -> None:
        self.fan = Fan()
        self.now_ns = S
        self.outputs: dict[str, FlowOutput] = {}
        self.taps: dict[str, Tap] = {}
        self.left_ns: dict[str, list[int]] = {}
        self._stack = stack

    def add(self, kind: type[UdpOutput | RtpOutput], gather_ms: int, name: str = "", **more: Any) -> str:
        name = name or f"{kind.__name__.lower()}-{gather_ms}-{len(self.outputs)}"
        fec = kind is RtpFecOutput
        port = free_ports(1, FEC)[0] if fec else 0
        self.taps[name] = self._tap(port)
        for beyond in FEC if fec else ():
            self.taps[f"{name}+{beyond}"] = self._tap(port + beyond)
        spec: Output = kind(name=name, host="127.0.0.1", port=self.taps[name].port, gather_ms=gather_ms, **more)
        self.outputs[name] = open_output(spec, KEY if "secret" in more else "", self.fan, in_background=False)
        self._stack.callback(self.outputs[name].close)
        self.left_ns[name] = []
        self.fan.arrange(self.outputs.values())
        return name

    def _tap(self, port: int) -> Tap:
        tap = Tap(port)
        self._stack.callback(tap.close)
        return tap

    def remove(self, name: str) -> None:
        self.outputs.pop(name).close()
        self.fan.arrange(self.outputs.values())

    def send(self, stream: list[bytes], seed: int = 1) -> None:
        """In lists of up to 12, 1 to 9 ms apart; the loop wakes when something is due."""
        chance = random.Random(seed)
        at = 0
        while at < len(stream):
            count = chance.randrange(1, 12)
            self.fan.send(stream[at : at + count], self.now_ns)
            at += count
            self._wait_until(self.now_ns + chance.randrange(1, 10) * MS)
        self._wait_until(self.now_ns + 100 * MS)

    def _wait_until(self, then_ns: int) -> None:
        self._look()
        while (due_ns := self.fan.due_ns()) is not None and due_ns <= then_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.fan.serve(self.now_ns)
            self._look()
        self.now_ns = then_ns

    def _look(self) -> None:
        for name, tap in self.taps.items():
            self.left_ns.setdefault(name, []).extend([self.now_ns] * len(tap.take()))

    def status(self, name: str) -> Any:
        return self.outputs[name].status(self.now_ns)


def opened(packets: list[bytes]) -> list[bytes | None]:
    opening = Opening(parse_srtp_key(KEY))
    return [opening(packet, 0) for packet in packets]


def payloads(packets: list[bytes]) -> list[bytes]:
    return [rtp.parse(packet).payload for packet in packets]


SRTP = {"secret": "key"}


@pytest.mark.parametrize("stream", [STREAM, MIXED], ids=["whole", "mixed sizes"])
def test_the_same_bytes_in_the_same_order_however_they_gather(stack, stream):
    show = Show(stack)
    udp, clear, secret, fec = (
        [show.add(kind, gather_ms, **more) for gather_ms in (0, 5, 20, 50)]
        for kind, more in ((UdpOutput, {}), (RtpOutput, {}), (RtpOutput, SRTP), (RtpFecOutput, SRTP))
    )
    show.send(stream)
    for name in udp:
        assert show.taps[name].got == stream
    packets = show.taps[clear[0]].got
    assert payloads(packets) == stream
    numbers = list(map(Unwrap(16), (rtp.parse(packet).sequence for packet in packets)))
    assert numbers == list(range(numbers[0], numbers[0] + len(stream)))
    for name in clear:
        assert show.taps[name].got == packets
    for name in (*secret, *fec):
        assert show.taps[name].got == show.taps[secret[0]].got  # one seal: both paths carry the same packets
    assert opened(show.taps[secret[0]].got) == packets
    for name in (*udp, *clear, *secret):
        assert (show.status(name).packets, show.status(name).dropped) == (len(stream), 0)


@pytest.mark.parametrize("gather_ms", [0, 20])
def test_fec_has_streams_and_ssrcs_of_its_own(stack, gather_ms):
    show = Show(stack)
    names = [show.add(RtpFecOutput, gather_ms, columns=5, rows=5, **SRTP) for _ in range(2)]
    show.send(STREAM)
    ssrcs: list[int] = []
    for name in names:
        media, columns, rows = (opened(show.taps[f"{name}{beyond}"].got) for beyond in ("", "+2", "+4"))
        assert len(media) == len(STREAM)
        assert (len(columns), len(rows)) == (len(STREAM) // 5 - 5, len(STREAM) // 5)
        for stream, is_row in ((columns, False), (rows, True)):
            fec = [FecPacket.parse(packet) for packet in stream if packet]
            assert len(fec) == len(stream)
            assert {packet.row for packet in fec} == {is_row}
            assert [packet.sequence for packet in fec] == list(range(len(fec)))
            ssrcs += {packet.ssrc for packet in fec}
        ssrcs += {rtp.parse(packet).ssrc for packet in media if packet}
    assert len(set(ssrcs)) == 5  # one of the media, and two of each output's FEC


@pytest.mark.parametrize("gather_ms", [1, 5, 20, 50])
def test_no_datagram_waits_longer_than_it_says(stack, gather_ms):
    show = Show(stack)
    at_once = show.add(UdpOutput, 0)
    later = [show.add(kind, gather_ms) for kind in (UdpOutput, RtpOutput)]
    show.add(UdpOutput, 33)
    show.send(STREAM)
    for name in later:
        waited = [late - early for early, late in zip(show.left_ns[at_once], show.left_ns[name], strict=True)]
        assert 0 <= max(waited) <= gather_ms * MS
        assert max(waited) >= (gather_ms - 1) * MS


def test_runs_are_cut_where_sizes_change_and_where_the_kernel_ends():
    sizes = [7] * (MOST_SEGMENTS * 2 + 5) + [3] + [7] * 3 + [1, 2, 3]
    batch = Batch([bytes([n % 256]) * (188 * size) for n, size in enumerate(sizes)])
    runs = batch.runs()
    assert b"".join(run.data for run in runs) == b"".join(batch)
    assert [run.count for run in runs] == [MOST_SEGMENTS, MOST_SEGMENTS, 5, 1, 3, 1, 1, 1]
    assert all(len(run.data) == run.count * run.size and len(run.data) <= 65_507 for run in runs)
    assert batch.runs() is runs


def test_outputs_come_and_go_without_touching_their_neighbours(stack):
    """In every group; and what a group has gathered stays for those that stay."""
    show = Show(stack)
    steady = [show.add(kind, gather_ms, **more) for kind, more in ((UdpOutput, {}), (RtpOutput, SRTP)) for gather_ms in (0, 5, 50)]
    parts = [STREAM[at : at + 100] for at in range(0, 1200, 100)]
    for n, part in enumerate(parts):
        guest = show.add((UdpOutput, RtpOutput, RtpFecOutput)[n % 3], (0, 5, 50)[n % 2], f"guest-{n}", **(SRTP if n % 3 else {}))
        for datagram in part:
            show.fan.send([datagram], show.now_ns)
            show._wait_until(show.now_ns + MS)
        if n % 4:  # some stay
            show.remove(guest)
    show._wait_until(show.now_ns + 100 * MS)
    assert show.taps[steady[0]].got == show.taps[steady[1]].got == show.taps[steady[2]].got == STREAM
    first, *others = (show.taps[name].got for name in steady[3:])
    assert others == [first, first]
    assert payloads([packet for packet in opened(first) if packet]) == STREAM


def test_a_key_that_comes_back_goes_on_where_the_numbers_are(stack):
    show = Show(stack)
    clear = show.add(RtpOutput, 0)
    for _ in range(3):
        name = show.add(RtpOutput, 20, "secret", **SRTP)
        for datagram in STREAM[:200]:
            show.fan.send([datagram], show.now_ns)
            show._wait_until(show.now_ns + MS)
        show._wait_until(show.now_ns + 50 * MS)
        assert opened(show.taps[name].got) == show.taps[clear].got[-200:]
        show.remove(name)
        show.send(STREAM[:100])


@pytest.mark.parametrize(("kind", "more"), [(UdpOutput, {}), (RtpOutput, SRTP), (RtpFecOutput, SRTP)])
@pytest.mark.parametrize("gather_ms", [0, 20])
def test_datagrams_of_odd_sizes_end_nothing(stack, kind, more, gather_ms):
    """Ten packets in one are more than SRTP takes: dropped and counted, and what follows goes on."""
    show = Show(stack)
    name = show.add(kind, gather_ms, **more)
    large = STREAM[0] + STREAM[1][: 3 * 188]
    show.send([STREAM[0]] * 20 + [large, b"", large[:188]] * 20 + STREAM)
    status = show.status(name)
    took_all = not more
    assert status.dropped == (0 if took_all else 20)
    came = show.taps[name].got if took_all else payloads([packet for packet in opened(show.taps[name].got) if packet])
    assert came[-len(STREAM) :] == STREAM
    assert came.count(large) == (20 if took_all else 0)


# a worker, really run

RATE_BPS = 2_000_000


def test_fifty_outputs_and_their_changes(stack):
    """Guests are added, changed, disabled and removed while the stream flows; 40 neighbours of three kinds get every datagram."""
    port = free_ports(1)[0]
    taps = [Tap() for _ in range(44)]
    for tap in taps:
        stack.callback(tap.close)
    kinds: list[dict[str, Any]] = [{"protocol": "udp"}, {"protocol": "rtp"}, {"protocol": "rtp", "secret": "srtp"}, {"protocol": "udp"}]
    steady = [udp_out(f"s{n}", tap.port, gather_ms=(0, 5, 20)[n % 3]) | kinds[n % 4] for n, tap in enumerate(taps[:40])]
    guests = [udp_out(f"g{n}", tap.port, gather_ms=(0, 5, 20, 0)[n]) | kinds[n] for n, tap in enumerate(taps[40:])]
    listener = {"protocol": "srt-listener", "name": "srt", "port": free_ports(1)[0], "clear": True, "gather_ms": 20}
    steps = [
        steady + guests,
        [*steady, listener, *guests[:2]],
        steady + [{**guest, "gather_ms": 50} for guest in guests],
        steady + [{**guest, "enabled": False} for guest in guests],
        [*steady, {**guests[0], "host": "no-such-host.invalid"}, {**guests[1], "bind_device": "nosuch0"}],
        steady[::-1] + guests,
        steady,
    ]
    stream = datagrams(700, RATE_BPS)
    worker = stack.enter_context(running(sources=[udp_in(port)], outputs=steady))
    with sender(stream, port, RATE_BPS) as feed:
        for outputs in itertools.cycle(steps):
            change(worker, sources=[udp_in(port)], outputs=outputs)
            if len(feed.sent) == len(stream):
                break

    def came() -> bool:
        for tap in taps[:40]:
            tap.take()
        return all(len(tap.got) >= len(stream) for tap in taps[:40])

    wait_until(came, what="all of it at every output")
    for n, tap in enumerate(taps[:40]):
        kind = kinds[n % 4]
        if "secret" in kind:
            assert tap.got == taps[2].got, f"output {n}"
            assert len(tap.got) == len(stream)
        else:
            assert (payloads(tap.got) if kind["protocol"] == "rtp" else tap.got) == stream, f"output {n}"
    assert len(taps[40].take()) > 50


def test_a_stream_that_pauses_leaves_nothing_waiting(stack):
    """Beside an output that takes everything at once, one that gathers gets a lone datagram in its time."""
    port = free_ports(1)[0]
    at_once, later = Tap(), Tap()
    for tap in (at_once, later):
        stack.callback(tap.close)
    stack.enter_context(running(sources=[udp_in(port)], outputs=[udp_out("a", at_once.port), udp_out("b", later.port, gather_ms=20)]))
    waits: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feed:
        feed.connect(("127.0.0.1", port))
        for datagram in STREAM[:10]:
            feed.send(datagram)
            wait_until(at_once.take)
            began = time.monotonic()
            wait_until(later.take)
            waits.append(time.monotonic() - began)
    assert later.got == STREAM[:10]
    assert min(waits) < 0.06


def test_a_smoothed_output_takes_bursts_away_and_loses_nothing(stack):
    """Ten datagrams at once every 10 ms, as gathered elsewhere: behind the smoothing no two leave at once, in the same order."""
    fan, taps = Fan(), [Tap(), Tap(), Tap()]
    specs = [
        UdpOutput(name="plain", host="127.0.0.1", port=taps[0].port),
        UdpOutput(name="smooth", host="127.0.0.1", port=taps[1].port, smooth_ms=100),
        RtpOutput(name="numbered", host="127.0.0.1", port=taps[2].port, smooth_ms=100),
    ]
    outputs = [open_output(spec, "", fan, in_background=False) for spec in specs]
    for closing in (*outputs, *taps):
        stack.callback(closing.close)
    fan.arrange(outputs)
    stream = STREAM[:600]
    step_ns, left_ns, now_ns = 10_520_000, [], S
    for at in range(0, len(stream), 10):
        until_ns = now_ns + step_ns
        fan.send(stream[at : at + 10], now_ns)
        while fan.due_ns() is not None and fan.due_ns() < until_ns:
            fan.serve(fan.due_ns())
            left_ns.append(len(taps[1].take()))
        now_ns = until_ns
    while fan.due_ns() is not None:
        fan.serve(fan.due_ns())
        taps[1].take()
    for tap in taps:
        tap.take()
    assert taps[0].got == stream
    assert taps[1].got == stream[: len(taps[1].got)]
    assert len(stream) - len(taps[1].got) < 60  # since the last PCR
    assert max(left_ns) <= 2
    assert [packet[12:] for packet in taps[2].got] == taps[1].got
