"""RTP headers, in and out."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.wire.rtp import MP2T, Numberer, RtpError, RtpPacket, parse


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=1316))
def test_round_trip(sequence, timestamp, ssrc, payload):
    assert parse(bytes(RtpPacket(sequence, timestamp, ssrc, payload))) == RtpPacket(sequence, timestamp, ssrc, payload)


def test_csrc_extension_and_padding_are_skipped():
    header = struct.pack("!BBHII", 0x80 | 0x20 | 0x10 | 2, MP2T, 7, 8, 9)
    datagram = header + b"\0" * 8 + b"\xbe\xde\0\1" + b"\0" * 4 + b"payload" + b"\0\0\3"
    assert parse(datagram).payload == b"payload"


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "0 bytes are too few"),
        (b"\x40" + b"!" * 20, "version 1"),
        (b"\x80\x60" + b"\0" * 20, "payload type 96"),
        (b"\x90\x21" + b"\0" * 11, "header extension is cut off"),
        (b"\xa0\x21" + b"\0" * 10 + b"\xff", "more padding than payload"),
        (b"\x8f\x21" + b"\0" * 14, "header is longer"),
    ],
)
def test_what_is_not_rtp_is_refused_with_its_reason(datagram, reason):
    with pytest.raises(RtpError, match=reason):
        parse(datagram)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(datagram):
    with contextlib.suppress(RtpError):
        parse(datagram)


def test_numbers_run_on_across_the_wrap():
    number = Numberer(ssrc=5, first=0xFFFF)
    first, second = parse(number(b"a", 1_000_000_000)), parse(number(b"b", 2_000_000_000))
    assert (first.sequence, second.sequence) == (0xFFFF, 0)
    assert second.timestamp - first.timestamp == 90_000
    assert first.ssrc == second.ssrc == 5
