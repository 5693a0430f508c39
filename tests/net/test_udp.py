"""UDP sockets of a flow, multicast included."""

from __future__ import annotations

import socket

import pytest

from firmware.net.udp import UdpError, open_receiver, open_sender


def heard(receiver: socket.socket, wait_for) -> bytes:
    def receive() -> bytes:
        try:
            return receiver.recv(2048)
        except BlockingIOError:
            return b""

    return wait_for(receive, what="a datagram")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_to_an_address(host, wait_for):
    with open_receiver(host, 0) as receiver, open_sender(host, receiver.getsockname()[1]) as sender:
        sender.send(b"hello")
        assert heard(receiver, wait_for) == b"hello"


def test_to_a_multicast_group_on_a_chosen_interface(udp_port, wait_for):
    port = udp_port()
    with open_receiver("239.255.77.1", port, "127.0.0.1") as first, open_receiver("239.255.77.1", port, "127.0.0.1") as second:
        with open_sender("239.255.77.1", port, bind_address="127.0.0.1") as sender:
            sender.send(b"to all")
        assert heard(first, wait_for) == heard(second, wait_for) == b"to all"


@pytest.mark.parametrize(
    ("open_it", "sentence"),
    [
        (lambda: open_receiver("192.0.2.1", 5000), "192.0.2.1 is no address of this machine"),
        (lambda: open_sender("no-such-host.invalid", 5000), "no-such-host.invalid cannot be found"),
        (lambda: open_sender("127.0.0.1", 5000, bind_device="nosuch0"), "interface nosuch0"),
        (lambda: open_sender("127.0.0.1", 5000, bind_address="192.0.2.1"), "192.0.2.1 is no address of this machine"),
    ],
)
def test_what_cannot_be_is_one_sentence(open_it, sentence):
    with pytest.raises(UdpError, match=sentence):
        open_it()


def test_a_port_in_use_is_named():
    with open_receiver("127.0.0.1", 0) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(UdpError, match=f"UDP port {port} of 127.0.0.1 is in use; choose another port"):
            open_receiver("127.0.0.1", port)


def test_what_is_cut_up_and_what_is_not():
    with open_receiver("127.0.0.1", 0) as receiver, open_sender("127.0.0.1", receiver.getsockname()[1]) as sender:
        receiver.settimeout(2)
        for size in (188, 100, 188):
            assert sender.send_cut_up(bytes(3 * size + 7), size) == 3 * size + 7
            assert [len(receiver.recv(2000)) for _ in range(4)] == [size, size, size, 7]
        for size in (50, 1000, 188):
            assert sender.send_one(bytes(size)) == size
            assert len(receiver.recv(2000)) == size
