"""Everything that takes bytes from outside, each as a function of bytes that raises when a promise is broken.

`tests/test_fuzz.py` calls them with what hypothesis makes up, `scripts/fuzz` with what atheris finds its way through the code with.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress

from firmware.flow.admission import Allowlist
from firmware.model import FlowError, parse_flow
from firmware.net import srt
from firmware.net.sockaddr import MAX_BYTES, resolve
from firmware.net.srtp import Opening, Seal
from firmware.urls import UrlError, parse_output, parse_source
from firmware.wire import rtp, ts
from firmware.wire.fec import LONGEST, RTP_HEADER, FecError, FecPacket
from firmware.wire.fecdecoder import MAX_OPEN, FecDecoder
from firmware.wire.fecencoder import FecEncoder
from firmware.wire.health import Health
from firmware.wire.keypicture import KeyPictures
from tests.wire.streams import stream

Target = Callable[[bytes], None]
MS = 1_000_000
KEY = bytes(range(44))
DATAGRAMS = stream(0.2)


def rtp_packet(data: bytes) -> None:
    with suppress(rtp.RtpError):
        assert data.endswith(rtp.parse(data).payload) or data[0] & 0x20


def fec_packet(data: bytes) -> None:
    with suppress(FecError):
        packet = FecPacket.parse(data)
        assert len(bytes(packet)) == len(data)
        with suppress(FecError):
            assert len(packet.rebuild([data, *_media()[:3]], packet.sequence)) <= LONGEST


def fec_decoder(data: bytes) -> None:
    """Media and FEC of a real stream, some of them spoilt or away, as `data` says."""
    decoder = FecDecoder()
    for now_ns, (is_fec, number, packet) in enumerate(_spoilt(data)):
        for repaired in decoder.fec(packet, now_ns) if is_fec else decoder.media(number, packet, now_ns):
            assert RTP_HEADER <= len(repaired.packet) <= LONGEST
    assert decoder.open_sets() <= MAX_OPEN


def transport_stream(data: bytes) -> None:
    """Datagrams of seven packets that have their sync bytes and otherwise say what they like."""
    assert ts.is_transport_stream(data) in (True, False)
    health, pictures = Health(), KeyPictures(period_ns=0)
    body = data or b"\0"
    for place in range(1 + len(data) // 1309):
        taken = (body * (1309 // len(body) + 1))[place * 7 : place * 7 + 1309].ljust(1309, b"\xff")
        datagram = b"".join(b"\x47" + taken[at : at + 187] for at in range(0, 1309, 187))
        for at in range(0, ts.DATAGRAM, ts.PACKET):
            ts.pcr_of(datagram, at)
            ts.timestamps_at(datagram, at)
        ts.is_anchor(datagram)
        health.push([datagram], place * MS)
        pictures.push(datagram, place * MS)
    health.tick(10_000 * MS)
    assert all(fault.count > 0 for fault in health.faults().values())


def srtp_packet(data: bytes) -> None:
    """Who lacks the key gets nothing through, whatever it looks like; and the right sender's next packet is opened after it."""
    opening = Opening(KEY)
    seal = Seal(KEY, 7, 0)
    numberer = rtp.Numberer(7)
    first, second = (seal.protect(numberer(DATAGRAMS[n], n * MS)) for n in range(2))
    for forged in (data, first[: len(data)] + data, _xor(first, data)):
        assert forged == first or opening(forged, MS) is None
    assert opening(second, 10 * MS) is not None


def stream_id(data: bytes) -> None:
    """libsrt's hook, as libsrt calls it: what the caller says, and from where. It must say no, for who is asked says no."""
    listener, seen = _listener()
    handle = listener.socket.handle
    place = ctypes.create_string_buffer((resolve("192.0.2.1", 5) if len(data) % 2 else data[:MAX_BYTES]).ljust(MAX_BYTES, b"\0"), MAX_BYTES)
    seen.clear()
    assert listener.socket.library.hooks[handle](None, handle, 5, ctypes.addressof(place), data) == -1
    assert len(seen) + listener.admission_failures >= 1


def url(data: bytes) -> None:
    text = data.decode(errors="replace")
    for parse in (parse_source, parse_output):
        with suppress(UrlError):
            parse(text, "end")


def flow(data: bytes) -> None:
    with suppress(FlowError):
        parse_flow(data)


def allowlist(data: bytes) -> None:
    """An address is let in or not; text that is none is not."""
    assert (data.decode(errors="replace") in Allowlist(["192.0.2.0/24", "2001:db8::/32"])) in (True, False)


TARGETS: dict[str, Target] = {
    target.__name__.replace("_", "-"): target
    for target in (rtp_packet, fec_packet, fec_decoder, transport_stream, srtp_packet, stream_id, url, flow, allowlist)
}


def seeds(name: str) -> list[bytes]:
    """Where the search begins."""
    media = _media()
    return {
        "rtp-packet": media[:3],
        "fec-packet": [packet for is_fec, _, packet in _protected() if is_fec][:4],
        "fec-decoder": [bytes(40), bytes(range(64)), b"\x01\x00" * 30],
        "transport-stream": [DATAGRAMS[0], b"".join(DATAGRAMS[:3])],
        "srtp-packet": [Seal(KEY[::-1], 7, 0).protect(media[0])],
        "stream-id": [b"#!::r=camera,m=publish", b"studio", "größe".encode()],
        "url": [
            b"srt://:9000?latency=250&passphrase=@env:KEY&allow=any",
            b"rtp://[ff02::1]:5004?fec=10x10&interface=192.0.2.7",
            b"rist://192.0.2.7:5000?profile=simple",
            b"pattern?shape=frames&size=1280x720",
        ],
        "flow": [b'{"name":"a","sources":[{"protocol":"udp","name":"in","port":5000}],"outputs":[]}'],
        "allowlist": [b"192.0.2.7", b"2001:db8::1%eth0", b"::ffff:192.0.2.7"],
    }[name]


@functools.cache
def _media() -> list[bytes]:
    numberer = rtp.Numberer(7, 65_530)
    return [numberer(datagram, place * MS) for place, datagram in enumerate(DATAGRAMS)]


@functools.cache
def _protected() -> list[tuple[bool, int, bytes]]:
    """Is it FEC, its number, and the packet: matrices of 4 × 4 in the order of sending."""
    encoder = FecEncoder(4, 4, 9)
    packets: list[tuple[bool, int, bytes]] = []
    for place, packet in enumerate(_media()):
        packets.append((False, 65_530 + place, packet))
        packets += [(True, 0, fec) for _, fec in encoder.push(packet)]
    return packets


def _spoilt(data: bytes) -> Iterator[tuple[bool, int, bytes]]:
    """Of each two bytes the first says what becomes of the next packet, the second where."""
    protected = _protected()
    for place, (what, where) in enumerate(struct.iter_unpack("BB", data[: len(data) // 2 * 2])):
        is_fec, number, packet = protected[place % len(protected)]
        if what & 3 == 1:
            continue
        if what & 3 == 2:
            packet = packet[: where * 8] + bytes((what,)) + packet[where * 8 + 1 :]
        if what & 3 == 3:
            packet = bytes((packet[0],)) + _xor(packet[1:], data)
        yield is_fec ^ (what >> 6 == 3), number + (what >> 2 & 15) * where, packet


def _xor(packet: bytes, pattern: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(packet, pattern, strict=False)) + packet[len(pattern) :]


@functools.cache
def _listener() -> tuple[srt.Listener, list[srt.Caller]]:
    seen: list[srt.Caller] = []

    def admit(caller: srt.Caller) -> srt.Reject:
        seen.append(caller)
        assert caller.address not in Allowlist(["198.51.100.0/24"])
        return srt.Reject(1403)

    return srt.open_listener("127.0.0.1", 0, latency_ms=120, sending=False, admit=admit, passphrase="a passphrase"), seen
