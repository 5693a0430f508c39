"""SRTP with AES-256-GCM: turns of the numbers, late joiners, forgers, and GStreamer. FFmpeg has the suites of RFC 4568 alone, AES-CM."""

from __future__ import annotations

import os
import shlex
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.net.srtp import ENOUGH, LONGEST, LONGEST_CLEAR, PAUSE_NS, TRAILER, TURNS_A_TRY, Opening, Seal
from tests.lab.programs import Program

KEY = bytes(range(44))
SSRC = 0x5052424F
TURN = 1 << 16


def rtp(index: int, ssrc: int = SSRC, payload: bytes = b"\x47 something" * 9) -> bytes:
    return struct.pack("!BBHII", 0x80, 33, index & 0xFFFF, index * 90 & 0xFFFFFFFF, ssrc) + payload


class Receiver:
    """An opening with a clock of its own: a packet every PAUSE_NS."""

    def __init__(self, key: bytes = KEY) -> None:
        self.opening = Opening(key)
        self.now_ns = 0

    def __call__(self, packet: bytes) -> bytes | None:
        self.now_ns += PAUSE_NS
        return self.opening(packet, self.now_ns)


def sealed(begin: int, count: int, ssrc: int = SSRC) -> Iterator[tuple[bytes, bytes]]:
    """(clear, encrypted), numbered from `begin` on."""
    seal = Seal(KEY, ssrc, begin)
    for index in range(begin, begin + count):
        clear = rtp(index, ssrc)
        yield clear, seal.protect(clear)


def joins_after(receive: Callable[[bytes], bytes | None], packets: Iterator[tuple[bytes, bytes]]) -> int:
    """How many packets are missed until the first is opened; all that follow are opened too."""
    came = [receive(secret) == clear for clear, secret in packets]
    missed = came.index(True)
    assert all(came[missed:])
    return missed


def test_what_is_sealed_is_secret_and_opens():
    receive = Receiver()
    for clear, secret in sealed(7, 20):
        assert secret[:12] == clear[:12]
        assert len(secret) == len(clear) + TRAILER
        assert b"something" not in secret
        assert receive(secret) == clear
    assert receive.opening.refused == 0


def test_numbers_turn_without_a_gap():
    receive = Receiver()
    for clear, secret in sealed(TURN - 50, 100):
        assert receive(secret) == clear


@pytest.mark.parametrize("turn", [1, 2, TURNS_A_TRY, TURNS_A_TRY + 1, 63, 64, 65, 300])
@pytest.mark.parametrize("number", [0, 1, TURN // 2, TURN - 1])
def test_a_late_joiner_finds_the_turn(turn, number):
    allowed = ENOUGH + turn * 2 // TURNS_A_TRY + 64  # passes of 64, 256 … turns
    assert joins_after(Receiver(), sealed(turn * TURN + number, allowed)) < allowed


def test_within_the_first_turns_it_joins_at_the_third_packet():
    assert joins_after(Receiver(), sealed(5 * TURN + 9, 20)) == ENOUGH - 1


def test_one_that_was_away_for_more_than_a_turn_is_refused_and_not_let_in_by_chance():
    """Nothing but the sender's next restart, or ours, helps: told as refused, never as other packets."""
    receive = Receiver()
    assert joins_after(receive, sealed(0, 5)) == 0
    assert [receive(secret) for _, secret in sealed(3 * TURN, 20)] == [None] * 20
    assert receive.opening.refused == 20


@pytest.mark.parametrize("lead", [0, 3, 200])
def test_forged_packets_of_the_right_stream_keep_nobody_out(lead):
    """They lead the search past the right turn; it begins again."""
    receive = Receiver()
    for index in range(lead):
        assert receive(rtp(index) + os.urandom(TRAILER)) is None
    assert joins_after(receive, sealed(6 * TURN + 100, 600)) < 500


def test_a_late_packet_of_the_turn_before_keeps_nobody_out():
    receive = Receiver()
    old = [secret for _, secret in sealed(5 * TURN - 5, 5)]
    new = list(sealed(5 * TURN, 400))
    for secret in (old[0], old[1], new[0][1], old[4], old[3]):
        receive(secret)
    assert joins_after(receive, iter(new[1:])) < 300


def test_a_flood_of_strangers_keeps_nobody_out_and_fills_nothing():
    opening = Opening(KEY)
    packets = sealed(20 * TURN, 400)
    for n in range(400):
        now_ns = n * 1_000_000
        for _ in range(16):
            junk = rtp(n, int.from_bytes(os.urandom(4), "big")) + os.urandom(TRAILER)
            assert opening(junk, now_ns) is None
        clear, secret = next(packets)
        if opening(secret, now_ns) == clear:
            break
    else:
        pytest.fail("the right sender was not let in")
    assert len(opening._strangers) <= 256
    assert len(opening._known) == 1


def test_another_sender_and_the_same_one_again():
    receive = Receiver()
    assert joins_after(receive, sealed(40_000, 10, ssrc=1)) == 0
    assert joins_after(receive, sealed(100, 10, ssrc=2)) == 0
    assert joins_after(receive, sealed(40_010, 10, ssrc=1)) == 0


def test_a_wrong_key_opens_nothing():
    receive = Receiver(bytes(44))
    assert [receive(secret) for _, secret in sealed(0, 50)] == [None] * 50
    assert receive.opening.refused == 50


def test_copies_and_changed_packets_are_refused():
    receive = Receiver()
    packets = list(sealed(3 * TURN, 40))
    assert joins_after(receive, iter(packets)) == ENOUGH - 1
    refused = receive.opening.refused
    for _, secret in packets[ENOUGH - 1 :]:
        assert receive(secret) is None
    fresh = next(sealed(3 * TURN + 40, 1))[1]
    for at in range(0, len(fresh), 7):
        assert receive(fresh[:at] + bytes((fresh[at] ^ 1,)) + fresh[at + 1 :]) is None
    assert receive.opening.refused > refused + 38
    assert receive(fresh) is not None


def test_packets_out_of_order_are_opened_once_each():
    receive = Receiver()
    packets = list(sealed(TURN - 40, 80))
    order = sorted(range(80), key=lambda n: n ^ 7)
    assert [receive(packets[n][1]) for n in order] == [packets[n][0] for n in order]


def test_a_seal_begins_where_the_numbers_are_and_seals_again_what_waited():
    """Two groups of outputs with one key send the same packets, one later than the other."""
    begin = 9 * TURN + 30_000
    seal = Seal(KEY, SSRC, begin)
    later = Seal(KEY, SSRC, begin + 60)  # the key came back when the numbers had gone on, and some packets still waited
    clear = [rtp(index) for index in range(begin, begin + 100)]
    first = [seal.protect(packet) for packet in clear]
    assert [seal.protect(packet) for packet in clear] == first
    assert [later.protect(packet) for packet in clear] == first


def test_two_streams_under_one_key_share_no_key_stream():
    """Media and FEC have an SSRC each: the same number and payload do not look the same."""
    seal = Seal(KEY, 2, 0)
    assert seal.protect(rtp(5, 2))[12:] != seal.protect(rtp(5, 3))[12:]


@given(st.binary(max_size=LONGEST + 600))
def test_no_bytes_raise_anything(junk):
    opening = Opening(KEY)
    for n in range(ENOUGH + 1):
        assert opening(junk, n * PAUSE_NS) is None


def test_the_longest_packets():
    receive = Receiver()
    seal = Seal(KEY, SSRC, 0)
    longest = rtp(0, payload=bytes(LONGEST_CLEAR - 12))
    assert receive(seal.protect(longest)) == longest
    with pytest.raises(ValueError, match="too long"):
        seal.protect(longest + b"!")


# GStreamer

CIPHERS = {"srtp-cipher": "aes-256-gcm", "srtp-auth": "null", "srtcp-cipher": "aes-256-gcm", "srtcp-auth": "null"}
MEDIA = "media=video,clock-rate=90000,encoding-name=MP2T,payload=33"


@pytest.fixture(scope="module")
def gstreamer() -> None:
    try:
        found = [subprocess.run(["gst-inspect-1.0", "--exists", name], check=False).returncode == 0 for name in ("srtpenc", "udpsrc")]
    except FileNotFoundError:
        found = []
    if not found or not all(found):
        pytest.skip("GStreamer's srtpenc is missing; apt install gstreamer1.0-tools gstreamer1.0-plugins-bad gstreamer1.0-plugins-good")


class Peer:
    """A GStreamer pipeline from one port to another: what goes in, one by one, and what comes out."""

    def __init__(self, port: int, pipeline: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self._to = ("127.0.0.1", port)
        source, sink = f"udpsrc address=127.0.0.1 port={port} caps=", "udpsink host=127.0.0.1 sync=false async=false port="
        self.program = Program(shlex.split(f'gst-launch-1.0 -q {source}"{pipeline} ! {sink}{self._socket.getsockname()[1]}'))

    def answer(self, packet: bytes) -> bytes:
        with suppress(ConnectionRefusedError):
            self._socket.sendto(packet, self._to)
        with suppress(TimeoutError):
            return self._socket.recv(2048)
        return b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.close()
        self._socket.close()


@pytest.mark.parametrize("turn", [0, 5])
def test_gstreamer_opens_ours(gstreamer, udp_port, wait_for, turn):
    key = ",".join(f"{name}=(string){value}" for name, value in CIPHERS.items()) + f",srtp-key=(buffer){KEY.hex()},roc=(uint){turn}"
    with Peer(udp_port(), f'application/x-srtp,{MEDIA},ssrc=(uint){SSRC},{key}" ! srtpdec') as peer:
        packets = sealed(turn * TURN + 500, 2000)

        def opened() -> bool:
            clear, secret = next(packets)
            return peer.answer(secret) == clear

        wait_for(opened, what=f"GStreamer opens it: {peer.program}")
        for _ in range(20):
            wait_for(opened, what="and goes on")


def test_ours_opens_gstreamers(gstreamer, udp_port, wait_for):
    enc = f"srtpenc key={KEY.hex()} rtp-cipher=aes-256-gcm rtp-auth=null rtcp-cipher=aes-256-gcm rtcp-auth=null"
    receive = Receiver()
    with Peer(udp_port(), f'application/x-rtp,{MEDIA},ssrc=(uint){SSRC}" ! {enc}') as peer:
        numbers = iter(range(TURN - 1200, TURN + 5000))

        def opened() -> bool:
            clear = rtp(next(numbers))
            secret = peer.answer(clear)
            return bool(secret) and secret != clear and receive(secret) == clear

        wait_for(opened, what=f"what GStreamer seals: {peer.program}")
        for _ in range(20):
            wait_for(opened, what="and goes on")
