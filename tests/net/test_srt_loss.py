"""Real libsrt over a path that loses: repaired, given up, cut."""

from __future__ import annotations

import threading
import time

from firmware.net import srt
from tests.lab.relay import Relay

NUMBERS = 2**31


def stream(socket: srt.Socket, count: int, gap_s: float = 0.002) -> threading.Thread:
    """Numbered datagrams at a steady pace."""

    def run() -> None:
        for number in range(count):
            assert socket.send(b"%08d" % number + bytes(1308))
            time.sleep(gap_s)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def offsets(got: list[tuple[bytes, int, int]]) -> set[int]:
    """Packet number less what was written into the datagram."""
    return {(number - int(data[:8])) % NUMBERS for data, number, _ in got}


def test_loss_is_repaired_and_counted(lab, receive, passphrase):
    listener = lab.listener(passphrase=passphrase, latency_ms=800)
    with Relay(listener.address, loss=0.1, loss_back=0.02, seed=5, delay_ms=5) as relay:
        caller = lab.caller(relay.address, passphrase=passphrase, latency_ms=800)
        assert caller.wait_connected(5000)
        accepted = lab.accepted(listener)
        thread = stream(caller, 550)  # more than are looked at: nothing tells a receiver that the very last one is missing
        got = receive(accepted, 500)
        thread.join()
        assert [int(data[:8]) for data, _, _ in got] == list(range(500))
        assert len(offsets(got)) == 1
        sent, received = caller.statistics(), accepted.statistics()
    assert sent.resent_packets > 20
    assert received.received_lost_packets > 20
    assert received.repaired_packets == received.received_lost_packets
    assert received.received_dropped_packets == 0
    assert received.rtt_ms > 9


def test_packet_numbers_jump_over_what_is_lost_for_good(lab, receive):
    """A constant offset to what was sent, whatever is missing: what the merge of two legs rests on."""
    wanted = set(range(100, 110)) | set(range(150, 250, 7))
    first: list[int] = []

    def never_arrives(datagram: bytes, towards_target: bool) -> bool:
        if not towards_target or datagram[0] & 0x80:  # a control packet
            return False
        number = int.from_bytes(datagram[:4], "big")
        first.append(number)
        return (number - first[0]) % NUMBERS in wanted

    listener = lab.listener()
    with Relay(listener.address, drop=never_arrives) as relay:
        caller = lab.caller(relay.address)
        assert caller.wait_connected(5000)
        accepted = lab.accepted(listener)
        thread = stream(caller, 300)
        got = receive(accepted, 300 - len(wanted))
        thread.join()
    assert {int(data[:8]) for data, _, _ in got} == set(range(300)) - wanted
    assert len(offsets(got)) == 1
    assert accepted.statistics().received_dropped_packets == len(wanted)


def test_a_full_send_buffer_says_so_and_numbers_nothing(lab, receive, wait_for):
    """What `send` turns down leaves no gap in the packet numbers."""
    listener = lab.listener()
    with Relay(listener.address) as relay:
        caller = lab.caller(relay.address, options={"sndbuf": 100 * 1472, "snddropdelay": -1})
        assert caller.wait_connected(5000)
        accepted = lab.accepted(listener)
        relay.cut()
        taken = 0
        while caller.send(b"%08d" % taken + bytes(1308)):
            taken += 1
            assert taken < 1000
        assert 50 < taken <= 100
        assert not caller.send(bytes(1316))
        relay.restore()
        wait_for(lambda: caller.send(b"%08d" % taken + bytes(1308)), 5, "room in the buffer")
        got = receive(accepted, taken + 1)
    assert int(got[-1][0][:8]) == taken
    assert len(offsets(got)) == 1


def test_a_cut_path_ends_the_connection_at_both_ends(lab, wait_for):
    """libsrt asks 16 times, at least 300 ms apart, before it believes the silence: 5 s, however short `peer_idle_ms` is."""
    listener = lab.listener(peer_idle_ms=1000)
    with Relay(listener.address) as relay:
        caller = lab.caller(relay.address, peer_idle_ms=1000)
        assert caller.wait_connected(5000)
        accepted = lab.accepted(listener)
        relay.cut()
        began = time.monotonic()
        for end in (caller, accepted):
            wait_for(
                lambda end=end: end.state in (srt.State.BROKEN, srt.State.CLOSED, srt.State.NONEXISTENT), 10, "the end of the connection"
            )
        assert 4 < time.monotonic() - began < 8
        relay.restore()
        assert lab.caller(relay.address).wait_connected(5000)


def test_a_short_cut_is_survived(lab, receive, wait_for):
    listener = lab.listener(latency_ms=1500)
    with Relay(listener.address) as relay:
        caller = lab.caller(relay.address, latency_ms=1500)
        assert caller.wait_connected(5000)
        accepted = lab.accepted(listener)
        thread = stream(caller, 400)
        assert len(receive(accepted, 1)) == 1
        relay.cut()
        wait_for(lambda: relay.forward.lost > 100, 5, "a hole of a fifth of a second")
        relay.restore()
        got = receive(accepted, 399)
        thread.join()
    assert [int(data[:8]) for data, _, _ in got] == list(range(1, 400))
    assert relay.forward.lost > 0
