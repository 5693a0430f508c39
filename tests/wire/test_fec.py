"""FEC packets of ST 2022-1, byte by byte: their fields, their order on the wire, and what is refused."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.wire.fec import COLUMN, ROW, FecError, FecPacket
from firmware.wire.fecencoder import FecEncoder

MATRICES = [(5, 5), (10, 10), (20, 5), (5, 20), (4, 4), (7, 13), (1, 4)]


def rtp(number: int, stamp: int, payload: bytes, *, first: int = 0x80, second: int = 33, ssrc: int = 0xCAFE) -> bytes:
    header = bytes((first, second)) + (number & 0xFFFF).to_bytes(2, "big") + stamp.to_bytes(4, "big")
    return header + ssrc.to_bytes(4, "big") + payload


def encode(encoder: FecEncoder, packets: list[bytes]) -> list[list[tuple[int, bytes]]]:
    return [encoder.push(packet) for packet in packets]


def number_of(packet: bytes) -> int:
    return int.from_bytes(packet[2:4], "big")


# Sixteen packets, the n-th with bit n alone in its payload and in its time stamp; the last one is a byte longer. So an XOR shows
# what went into it: row 0 is bits 0 to 3, column 0 bits 0, 4, 8 and 12. Numbers wrap after the second packet.
SIXTEEN = [rtp(0xFFFE + n, 1 << n, (1 << n).to_bytes(2, "big") + b"\x77" * (n == 15)) for n in range(16)]

#        RTP: V M/PT number  time stamp ssrc     FEC: base length E/PT mask  stamp    mode offset NA ext  payload
ROWS = {
    3: "80 60 0005 00000008 00000abc     fffe 0000 80 000000 0000000f 40 01 04 00 000f",
    7: "80 60 0006 00000080 00000abc     0002 0000 80 000000 000000f0 40 01 04 00 00f0",
    11: "80 60 0007 00000800 00000abc     0006 0000 80 000000 00000f00 40 01 04 00 0f00",
    15: "80 60 0008 00008000 00000abc     000a 0001 80 000000 0000f000 40 01 04 00 f00077",
}
COLUMNS = {
    16: "80 60 0005 00012345 00000abc     fffe 0000 80 000000 00001111 00 04 04 00 1111",
    20: "80 60 0006 00012345 00000abc     ffff 0000 80 000000 00002222 00 04 04 00 2222",
    24: "80 60 0007 00012345 00000abc     0000 0000 80 000000 00004444 00 04 04 00 4444",
    28: "80 60 0008 00012345 00000abc     0001 0001 80 000000 00008888 00 04 04 00 888877",
}


def test_golden_bytes_of_a_small_matrix():
    packets = SIXTEEN + [rtp(0xFFFE + n, 0x12345, b"next") for n in range(16, 31)]
    sent = encode(FecEncoder(4, 4, 0xABC, first=5), packets)
    rows = {after: packet.hex() for after, out in enumerate(sent) for stream, packet in out if stream == ROW and after < 16}
    columns = {after: packet.hex() for after, out in enumerate(sent) for stream, packet in out if stream == COLUMN}
    assert rows == {after: line.replace(" ", "") for after, line in ROWS.items()}
    assert columns == {after: line.replace(" ", "") for after, line in COLUMNS.items()}


def test_every_field_is_read():
    assert FecPacket.parse(bytes.fromhex("b1e0 1234 00000001 00000002 fffe 0522 a1 ffffff 89abcdef 40 01 0a 00 beef")) == FecPacket(
        sequence=0x1234,
        timestamp=1,
        ssrc=2,
        base=0xFFFE,
        row=True,
        offset=1,
        count=10,
        flags=0x31,
        kind=0x80 | 33,
        stamp=0x89ABCDEF,
        length=0x522,
        payload=b"\xbe\xef",
    )
    column = FecPacket.parse(bytes.fromhex("8060 1234 00000001 00000002 fffe 0522 80 000000 89abcdef 00 14 05 00"))
    assert (column.row, column.offset, column.count, column.flags, column.kind, column.payload) == (False, 20, 5, 0, 0, b"")


@given(
    st.builds(
        FecPacket,
        sequence=st.integers(0, 0xFFFF),
        timestamp=st.integers(0, 0xFFFFFFFF),
        ssrc=st.integers(0, 0xFFFFFFFF),
        base=st.integers(0, 0xFFFF),
        row=st.just(False),
        offset=st.integers(1, 10),
        count=st.integers(4, 10),
        flags=st.integers(0, 0x3F),
        kind=st.integers(0, 0xFF),
        stamp=st.integers(0, 0xFFFFFFFF),
        length=st.integers(0, 0xFFFF),
        payload=st.binary(max_size=1400),
    ),
    st.booleans(),
)
def test_round_trip(packet, row):
    if row:
        packet = replace(packet, row=True, offset=1)
    assert FecPacket.parse(bytes(packet)) == packet


WELL_FORMED = bytes.fromhex("8060 1234 00000001 00000002 fffe 0522 80 000000 89abcdef 00 0a 0a 00") + b"payload"


def spoilt(at: int, value: int) -> bytes:
    return WELL_FORMED[:at] + bytes((value,)) + WELL_FORMED[at + 1 :]


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "^0 bytes: an FEC packet has 28 to 2048"),
        (WELL_FORMED[:27], "27 bytes"),
        (WELL_FORMED + b"!" * 2048, "2083 bytes"),
        (spoilt(0, 0x40), "RTP version 1, not 2"),
        (spoilt(1, 33), "payload type 33, not 96"),
        (spoilt(16, 0x00), "E is 0"),
        (spoilt(24, 0x80), "X, type or index"),
        (spoilt(24, 0x08), "X, type or index"),
        (spoilt(24, 0x01), "X, type or index"),
        (spoilt(24, 0x40), "offset 10 in a row, not 1"),
        (spoilt(25, 0), "offset 0 .*not 1 to 20"),
        (spoilt(25, 21), "offset 21 .*not 1 to 20"),
        (spoilt(26, 0), "NA 0"),
        (spoilt(26, 1), "NA 1"),
        (spoilt(26, 11), "NA 11 with offset 10.*more than 100"),
    ],
)
def test_what_is_not_an_fec_packet_is_refused_with_its_reason(datagram, reason):
    assert FecPacket.parse(WELL_FORMED).count == 10
    with pytest.raises(FecError, match=reason):
        FecPacket.parse(datagram)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(datagram):
    with contextlib.suppress(FecError):
        FecPacket.parse(datagram)


@pytest.mark.parametrize(
    ("columns", "rows", "row_fec", "reason"),
    [
        (0, 5, False, "columns: 0 is not 1 to 20$"),
        (21, 4, False, "columns: 21 is not 1 to 20$"),
        (3, 5, True, r"columns: 3 is not 4 to 20 \(with row FEC\)"),
        (5, 3, False, "rows: 3 is not 4 to 20"),
        (5, 21, False, "rows: 21 is not 4 to 20"),
        (10, 11, True, "10 × 11 is more than 100"),
    ],
)
def test_a_matrix_that_the_standard_does_not_have_is_refused(columns, rows, row_fec, reason):
    with pytest.raises(FecError, match=reason):
        FecEncoder(columns, rows, 1, row_fec=row_fec)


def test_a_header_with_everything_in_it_is_rebuilt():
    """Padding, extension, CSRC, marker and another payload type: not in 2022-2 media, yet the format has room for them."""
    odd = rtp(2, 0xFFFFFF00, b"csrcsrc!" + b"\xbe\xde\0\0" + b"payload" + b"\1", first=0x80 | 0x20 | 0x10 | 2, second=0x80 | 34)
    packets = [rtp(0, 0xFFFFFE00, b"a" * 30), rtp(1, 0xFFFFFE80, b"b" * 9), odd, rtp(3, 0x80, b"")]
    ((_, row),) = encode(FecEncoder(4, 4, 1), packets)[3]
    for lost, packet in enumerate(packets):
        assert FecPacket.parse(row).rebuild(packets[:lost] + packets[lost + 1 :], lost) == packet


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (rtp(1, 0xFFFF, b"x" * 8), "a packet of 8 bytes does not come out"),
        (rtp(1, 0xFFFF, b"x" * 50), "a packet of 50 bytes does not come out"),
        (rtp(1, 0x90000000, b"x" * 10), "time stamp .* far from its neighbours'"),
    ],
    ids=["short", "long", "time"],
)
def test_packets_that_are_not_of_the_set_do_not_make_another(other, reason):
    packets = [rtp(n, 0xFFFF, bytes((n,)) * 10) for n in range(4)]
    ((_, row),) = encode(FecEncoder(4, 4, 1), packets)[3]
    assert FecPacket.parse(row).rebuild(packets[1:], 0) == packets[0]
    with pytest.raises(FecError, match=reason):
        FecPacket.parse(row).rebuild([*packets[2:], other], 0)


# the wire


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("columns", "rows"), MATRICES)
def test_fec_is_spread_over_the_media(columns, rows, aligned):
    """A row's packet right after its row; one column at a time, L packets or more after its last one."""
    size = columns * rows
    row_fec = columns >= 4
    sent = encode(FecEncoder(columns, rows, 1, row_fec=row_fec, aligned=aligned), [rtp(n, n, b"x") for n in range(10 * size)])
    seen: dict[int, list[int]] = {}
    for after, out in enumerate(sent):
        assert [stream for stream, _ in out] in ([], [COLUMN], [ROW], [COLUMN, ROW])
        for stream, packet in out:
            fec = FecPacket.parse(packet)
            assert fec.timestamp == after
            if stream == ROW:
                assert (fec.base, fec.offset, fec.count) == (after - columns + 1, 1, columns)
                assert (after + 1) % columns == 0
            else:
                assert (fec.offset, fec.count) == (columns, rows)
                last = fec.base + columns * (rows - 1)
                assert columns <= after - last < size
                seen.setdefault(fec.base % columns, []).append(fec.base)
    assert len(seen) == columns
    for bases in seen.values():  # every column goes on where it ended
        assert bases == [bases[0] + n * size for n in range(len(bases))]
        assert len(bases) >= 8
    if aligned:
        assert {bases[0] // columns for bases in seen.values()} == {0}
    elif columns > 1:
        assert len({bases[0] // columns for bases in seen.values()}) == min(columns, rows)
    times = [after for after, out in enumerate(sent[2 * size :]) for stream, _ in out if stream == COLUMN]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    if aligned:
        assert set(gaps) == {rows}
    else:  # the first and the last column of a staggered matrix come close to each other, and only they
        assert max(gaps) <= 2 * rows
        assert all(a + b >= rows for a, b in itertools.pairwise(gaps))


def test_without_row_fec_there_are_columns_alone():
    sent = encode(FecEncoder(10, 5, 1, row_fec=False), [rtp(n, n, b"x") for n in range(100)])
    assert [stream for out in sent for stream, _ in out] == [COLUMN] * 10


def test_both_streams_number_their_packets_across_the_wrap():
    sent = encode(FecEncoder(4, 4, 1, first=0xFFFE), [rtp(n, n, b"x") for n in range(32)])
    for stream in (COLUMN, ROW):
        assert [number_of(packet) for out in sent for kind, packet in out if kind == stream][:4] == [0xFFFE, 0xFFFF, 0, 1]


def test_a_gap_in_the_media_begins_a_new_matrix():
    encoder = FecEncoder(4, 4, 1)
    encode(encoder, [rtp(n, n, b"old") for n in range(6)])
    sent = encode(encoder, [rtp(n, n, b"new") for n in range(100, 133)])
    fec = [(stream, FecPacket.parse(packet).base) for out in sent for stream, packet in out]
    assert [base for stream, base in fec if stream == ROW] == [*range(100, 132, 4)]
    assert [base for stream, base in fec if stream == COLUMN] == [100, 101, 102, 103, 116]
