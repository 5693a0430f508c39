"""Two ends of real libsrt over loopback."""

from __future__ import annotations

import socket as system
import threading
import time

import pytest

from firmware.net import srt


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%08d" % number + bytes(1308) for number in range(start, start + count)]


def send_all(socket: srt.Socket, datagrams: list[bytes], gap_s: float = 0.0005) -> None:
    for datagram in datagrams:
        assert socket.send(datagram)
        time.sleep(gap_s)  # the pace of a stream, not a wait for something


def until_it_raises(call):
    """Runs `call` until it raises; what it raised comes with the returned function."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            while True:
                call()
        except BaseException as end:
            raised.append(end)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> BaseException:
        thread.join(5)
        assert not thread.is_alive(), "it still waits"
        return raised[0]

    return result


@pytest.mark.parametrize("key_bits", [128, 192, 256])
@pytest.mark.parametrize("caller_sends", [True, False])
def test_encrypted_both_ways(lab, receive, passphrase, key_bits, caller_sends):
    listener = lab.listener(passphrase=passphrase, key_bits=key_bits, sending=not caller_sends)
    caller, accepted = lab.pair(listener, passphrase=passphrase, key_bits=key_bits, sending=caller_sends)
    sender, receiver = (caller, accepted) if caller_sends else (accepted, caller)
    send_all(sender, numbered(50))
    assert [data for data, _, _ in receive(receiver, 50)] == numbered(50)
    for end in (sender, receiver):
        assert end.get("kmstate") == 2
        assert end.get("pbkeylen") == key_bits // 8
    assert receiver.statistics().undecrypted_packets == 0


def test_without_a_passphrase_it_is_clear(lab, receive):
    caller, accepted = lab.pair(lab.listener())
    assert caller.get("kmstate") == accepted.get("kmstate") == 0
    assert caller.send(b"clear")
    assert receive(accepted, 1)[0][0] == b"clear"


def test_the_key_length_of_the_listener_counts(lab, passphrase):
    caller, accepted = lab.pair(lab.listener(passphrase=passphrase, key_bits=256), passphrase=passphrase, key_bits=128)
    assert caller.get("pbkeylen") == accepted.get("pbkeylen") == 32


def test_keys_change_under_way(lab, receive, passphrase):
    often = {"kmpreannounce": 50, "kmrefreshrate": 200}
    caller, accepted = lab.pair(lab.listener(passphrase=passphrase), passphrase=passphrase, options=often)
    stream = threading.Thread(target=send_all, args=(caller, numbered(1000), 0.0002))
    stream.start()
    got = receive(accepted, 1000)
    stream.join()
    assert [data for data, _, _ in got] == numbered(1000)


@pytest.mark.parametrize(
    ("theirs", "code", "words"),
    [("another passphrase", 10, "the passphrase is wrong"), ("", 11, "one side has a passphrase and the other has none")],
)
def test_wrong_callers_are_refused_and_disturb_nobody(lab, receive, passphrase, theirs, code, words):
    listener = lab.listener(passphrase=passphrase)
    right, accepted = lab.pair(listener, passphrase=passphrase)
    stream = threading.Thread(target=send_all, args=(right, numbered(300), 0.001))
    stream.start()
    for _ in range(5):
        refusal = lab.refusal(listener, passphrase=theirs)
        assert (refusal.code, str(refusal)) == (code, f"no connection to {listener.address}: {words}")
    assert [data for data, _, _ in receive(accepted, 300)] == numbered(300)
    stream.join()
    assert listener.accept() is None


def test_a_listener_in_the_clear_takes_no_encrypted_caller(lab, passphrase):
    assert lab.refusal(lab.listener(), passphrase=passphrase).code == 11


def test_nobody_there(lab, udp_port):
    caller = lab.caller(("127.0.0.1", udp_port()), connect_timeout_ms=300)
    assert caller.state is srt.State.CONNECTING
    assert not caller.wait_connected(50)
    with pytest.raises(srt.SrtRefused, match="nobody answers"):
        caller.wait_connected()
    assert caller.reject_reason == "nobody answers"
    with pytest.raises(srt.SrtBroken):
        caller.send(b"x")


def test_stream_id_and_addresses(lab):
    listener = lab.listener()
    caller, accepted = lab.pair(listener, stream_id="#!::r=camera-1,m=publish")
    assert accepted.stream_id == "#!::r=camera-1,m=publish"
    assert accepted.far_end == caller.local_address
    assert caller.far_end == listener.address
    assert str(listener.address) == f"127.0.0.1:{listener.address.port}"


def test_ipv6(lab, receive, passphrase):
    listener = lab.listener(address="::1", passphrase=passphrase)
    caller, accepted = lab.pair(listener, passphrase=passphrase, bind_address="::1")
    assert caller.send(b"six")
    assert receive(accepted, 1)[0][0] == b"six"
    assert str(accepted.far_end).startswith("[::1]:")


def test_a_listener_on_all_ipv6_addresses_takes_ipv4_too(lab):
    listener = lab.listener(address="::")
    _, accepted = _pair_at(lab, listener, "127.0.0.1")
    assert accepted.far_end.host == "127.0.0.1"


def _pair_at(lab, listener, host):
    caller = lab.caller((host, listener.address.port))
    assert caller.wait_connected(5000)
    return caller, lab.accepted(listener)


def test_host_names_are_looked_up(lab):
    listener = lab.listener()
    if not _is_ipv4("localhost"):
        pytest.skip("localhost is no IPv4 address here")
    caller, _ = _pair_at(lab, listener, "localhost")
    assert caller.far_end == listener.address
    with pytest.raises(OSError, match=r"no-such-host\.invalid cannot be found"):
        lab.caller(("no-such-host.invalid", 5000))


def _is_ipv4(name):
    try:
        return system.getaddrinfo(name, 0)[0][0] == system.AF_INET
    except system.gaierror:  # a root without /etc/hosts
        return False


def test_source_address_and_port(lab, udp_port):
    port = udp_port()
    _, accepted = lab.pair(lab.listener(), bind_address="127.0.0.3", bind_port=port)
    assert accepted.far_end == ("127.0.0.3", port)


def test_callers_share_a_port(lab, receive, udp_port):
    port = udp_port()
    ends = [lab.pair(lab.listener(), bind_address="127.0.0.1", bind_port=port) for _ in range(3)]
    for number, (caller, accepted) in enumerate(ends):
        assert caller.local_address.port == port
        assert caller.send(b"%d" % number)
        assert receive(accepted, 1)[0][0] == b"%d" % number


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_binding_to_a_device(lab, receive, address):
    listener = lab.listener(address=address)
    try:
        caller, accepted = lab.pair(listener, bind_device="lo")
    except srt.SrtError as refused:
        pytest.skip(f"needs the right to bind to a device: {refused}")
    assert caller.send(b"lo")
    assert receive(accepted, 1)[0][0] == b"lo"
    with pytest.raises(srt.SrtError, match="network interface nosuch0 cannot be used: No such device"):
        lab.caller(listener, bind_device="nosuch0")


@pytest.mark.parametrize("holder", ["udp", "srt"])
def test_a_busy_port_is_named(lab, holder):
    if holder == "srt":
        port = lab.listener().address.port
    else:
        held = system.socket(system.AF_INET, system.SOCK_DGRAM)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with pytest.raises(srt.SrtError, match=f"UDP port {port} of 127.0.0.1 is in use; choose another port"):
        lab.listener(port=port)
    if holder == "udp":
        held.close()


def test_an_address_of_another_machine_is_named(lab):
    with pytest.raises(srt.SrtError, match=r"192\.0\.2\.1:\d+ cannot be bound: Cannot assign requested address"):
        lab.listener(address="192.0.2.1", port=5000)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"passphrase": "short"}, "an SRT passphrase has 10 to 79 characters; this one has 5"),
        ({"passphrase": "x" * 80}, "an SRT passphrase has 10 to 79 characters; this one has 80"),
        ({"key_bits": 512}, "512 is no AES key length: 128, 192 and 256 bits are"),
        ({"payload_bytes": 1500}, "1500 bytes are no SRT payload: 1 to 1456 are"),
    ],
)
def test_bad_settings(lab, wish, sentence):
    with pytest.raises(ValueError, match="^" + sentence) as caught:
        lab.listener(**wish)
    assert "short" not in str(caught.value)
    with pytest.raises(ValueError, match="^" + sentence):
        lab.caller(("127.0.0.1", 5000), **wish)


def test_passphrases_of_the_shortest_and_longest_length(lab):
    for length in (10, 79):
        lab.pair(lab.listener(passphrase="x" * length), passphrase="x" * length)


def test_a_long_stream_id_and_a_bad_port(lab):
    with pytest.raises(ValueError, match="at most 512 bytes; this one has 513"):
        lab.caller(("127.0.0.1", 5000), stream_id="x" * 513)
    with pytest.raises(ValueError, match="70000 is not a port"):
        lab.caller(("127.0.0.1", 70000))


def test_sending_keeps_to_the_datagram_size(lab, receive):
    caller, accepted = lab.pair(lab.listener(payload_bytes=1456), payload_bytes=1456)
    assert caller.send(bytes(1456))
    assert len(receive(accepted, 1)[0][0]) == 1456
    with pytest.raises(ValueError, match="1457 bytes do not fit into one SRT packet; its payloadsize is 1456"):
        caller.send(bytes(1457))


def test_nothing_to_receive_is_none(lab):
    _, accepted = lab.pair(lab.listener(receive_timeout_ms=50))
    began = time.monotonic()
    assert accepted.receive() is None
    assert 0.03 < time.monotonic() - began < 2


def test_the_source_time_is_the_senders_plus_latency_on_our_clock(lab, receive):
    caller, accepted = lab.pair(lab.listener())
    sent_us = []
    for datagram in numbered(31):
        sent_us.append(time.monotonic_ns() // 1000)
        assert caller.send(datagram)
        time.sleep(0.005)
    delay_us = sorted(source_us - sent for (_, _, source_us), sent in zip(receive(accepted, 31), sent_us, strict=True))
    assert delay_us[0] > 55_000
    assert delay_us[15] - delay_us[0] < 5000
    assert delay_us[15] < 90_000


def test_many_datagrams_at_full_speed(lab, receive, passphrase):
    """The control block of a send must not be used again: with it, libsrt drops most of what is sent fast."""
    caller, accepted = lab.pair(lab.listener(passphrase=passphrase), passphrase=passphrase)

    def send() -> None:
        for datagram in numbered(5000):
            while not caller.send(datagram):
                time.sleep(0.001)

    sender = threading.Thread(target=send)
    sender.start()
    got = receive(accepted, 5000)
    sender.join()
    assert [data for data, _, _ in got] == numbered(5000)
    assert caller.statistics().sent_dropped_packets == 0
    assert accepted.statistics().received_dropped_packets == 0


def test_statistics_move(lab, receive, wait_for):
    caller, accepted = lab.pair(lab.listener(latency_ms=80), latency_ms=80)
    send_all(caller, numbered(200), 0.001)
    assert len(receive(accepted, 200)) == 200
    sent, received = caller.statistics(), accepted.statistics()
    assert sent.sent_packets == received.received_packets == 200
    assert sent.sent_bytes == received.received_bytes == 200 * (1316 + 44)
    assert sent.send_latency_ms == received.receive_latency_ms == 80
    assert received.received_lost_packets == received.received_dropped_packets == received.repaired_packets == 0
    assert received.receive_rate_bps > 100_000
    assert 0 < received.rtt_ms < 200
    assert received.age_ms > 100
    wait_for(lambda: caller.statistics().send_buffer_packets == 0, 5, "acknowledgement of everything")
    accepted.statistics(clear=True)
    assert accepted.statistics().received_packets == 200


def test_the_end_of_the_caller_ends_receiving(lab, receive):
    caller, accepted = lab.pair(lab.listener())
    assert caller.send(b"last")
    assert receive(accepted, 1)[0][0] == b"last"
    caller.close()
    caller.close()
    assert str(until_it_raises(accepted.receive)()) == f"the connection with {accepted.far_end} ended: the far end closed it or went silent"
    with pytest.raises(srt.SrtBroken, match="was closed here"):
        caller.send(b"x")


def test_the_end_of_the_receiver_ends_sending(lab, wait_for):
    caller, accepted = lab.pair(lab.listener())
    accepted.close()
    wait_for(lambda: caller.state is not srt.State.CONNECTED, 5, "the caller to see the end")
    with pytest.raises(srt.SrtBroken, match="ended: the far end closed it or went silent"):
        caller.send(b"x")


def test_close_ends_a_receive_that_waits(lab):
    _, accepted = lab.pair(lab.listener(receive_timeout_ms=60_000))
    end = until_it_raises(accepted.receive)
    accepted.close()
    assert isinstance(end(), srt.SrtBroken)
    assert "was closed here" in str(end())


def test_close_ends_an_accept_that_waits(lab):
    listener = lab.listener()
    end = until_it_raises(lambda: listener.accept(60_000))
    listener.close()
    assert str(end()) == "the listener is closed"
    with pytest.raises(srt.SrtBroken, match="the listener is closed"):
        listener.accept()


def test_close_ends_a_wait_for_the_connection(lab, udp_port):
    caller = lab.caller(("127.0.0.1", udp_port()))
    end = until_it_raises(caller.wait_connected)
    caller.close()
    assert "closed here" in str(end())


def test_a_closed_listener_leaves_its_callers_alone(lab, receive):
    listener = lab.listener()
    caller, accepted = lab.pair(listener)
    listener.close()
    assert caller.send(b"still here")
    assert receive(accepted, 1)[0][0] == b"still here"
    with pytest.raises(srt.SrtRefused, match="nobody answers"):
        lab.caller(caller.far_end, connect_timeout_ms=300).wait_connected()


def test_a_port_is_free_again_after_close(lab, wait_for):
    listener = lab.listener()
    address = listener.address
    listener.close()

    def again() -> srt.Listener | None:
        try:
            return lab.listener(port=address.port)
        except srt.SrtError:
            return None

    lab.pair(wait_for(again, 10, "the port to come free"))
