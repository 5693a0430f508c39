"""A key picture cut out of a running stream decodes by itself."""

from __future__ import annotations

from firmware.wire.keypicture import KeyPictures
from firmware.wire.ts import PACKET

from .streams import S
from .test_playout import VIDEO, pes_packet

PAT = bytes.fromhex("474000100000b00d0001c100000001f000" + "00000000") + b"\xff" * 167
PMT = bytes.fromhex("475000100002b0170001c10000e100f0001be100f0000fe101f000" + "00000000") + b"\xff" * 157


def frame(number: int, *, key: bool, packets: int = 9) -> list[bytes]:
    filler = [bytes((0x47, 1, 0, 0x10)) + bytes([number & 255]) * 184] * packets
    return [pes_packet(VIDEO, 0, number * 3000, key=key), *filler]


def datagrams(packets: list[bytes]) -> list[bytes]:
    return [b"".join(packets[at : at + 7]) for at in range(0, len(packets), 7)]


def test_one_a_second_whole_and_with_its_tables():
    assert len(PAT) == len(PMT) == PACKET
    packets = [packet for n in range(90) for packet in ([PAT, PMT] if n % 30 == 0 else []) + frame(n, key=n % 30 == 0)]
    cutter = KeyPictures()
    cut = [(at, picture) for at, d in enumerate(datagrams(packets)) if (picture := cutter.push(d, at * 3 * S // len(packets) * 7))]
    assert len(cut) == 3
    for number, (_, picture) in zip((0, 30, 60), cut, strict=True):
        assert picture == b"".join([PAT, PMT, *frame(number, key=True)])


def test_a_stream_without_tables_gives_none():
    cutter = KeyPictures()
    assert not any(cutter.push(d, at) for at, d in enumerate(datagrams([p for n in range(60) for p in frame(n, key=True)])))


def test_any_bytes_do_no_harm():
    cutter = KeyPictures()
    for at in range(2000):
        cutter.push(bytes((0x47, at & 255, at * 7 & 255, at * 13 & 255)) + bytes((at * n & 255) for n in range(184)), at)
