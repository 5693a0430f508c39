"""The table of options, against libsrt itself and its header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firmware.net import srt
from firmware.net.srtoptions import OPTIONS, decode, encode

HEADER = Path("/usr/include/srt/srt.h")

VALUES = {
    "bindtodevice": "lo",
    "congestion": "live",
    "fc": 30_000,
    "ipv6only": 1,
    "kmpreannounce": 500,
    "kmrefreshrate": 2000,
    "lossmaxttl": 5,
    "maxbw": 5_000_000_000,
    "inputbw": 5_000_000_000,
    "mininputbw": 5_000_000_000,
    "minversion": 0x010301,
    "mss": 1400,
    "oheadbw": 30,
    "packetfilter": "fec,cols:10",
    "passphrase": "abcdefghijkl",
    "pbkeylen": 24,
    "payloadsize": 1000,
    "rcvbuf": 1472 * 4000,
    "sndbuf": 1472 * 4000,
    "streamid": "#!::r=kanal/ü",
    "transtype": 0,
    "retransmitalgo": 0,
    "udp_rcvbuf": 1_000_000,
    "udp_sndbuf": 100_000,
    "linger": 7,
    "iptos": 0xB8,
    "ipttl": 17,
    "snddropdelay": 100,
}
SETTABLE = [name for name, option in OPTIONS.items() if option.when != "never"]


@pytest.fixture
def socket():
    with srt.Socket() as opened:
        yield opened


@pytest.mark.parametrize("name", SETTABLE)
def test_what_is_set_is_read_back(socket, name):
    option = OPTIONS[name]
    value = VALUES.get(
        name, (socket.get(name) is False) if option.kind == "bool" and option.readable else True if option.kind == "bool" else 321
    )
    try:
        socket.set(name, value)
    except srt.SrtError as refused:
        if name == "bindtodevice":
            pytest.skip(f"needs the right to bind to a device: {refused}")
        raise
    if option.readable:
        read = socket.get(name)
        assert type(read) is type(value)
        if name == "packetfilter":  # libsrt adds what was left to it
            assert read.startswith(value)
        else:
            assert read == value


@pytest.mark.parametrize("name", [name for name, option in OPTIONS.items() if option.when == "never"])
def test_what_only_libsrt_sets(socket, name):
    with pytest.raises(srt.SrtError, match=f"SRT option {name} can only be read"):
        socket.set(name, 1)
    if name != "isn":  # there is none before the connection
        assert isinstance(socket.get(name), int)


@pytest.mark.skipif(not HEADER.exists(), reason="libsrt's header is not installed (libsrt-openssl-dev)")
def test_numbers_are_those_of_the_header():
    body = re.sub(r"//.*", "", HEADER.read_text().partition("typedef enum SRT_SOCKOPT {")[2].partition("} SRT_SOCKOPT;")[0])
    number, numbers = -1, {}
    for name, given in re.findall(r"SRTO_(\w+)\s*(?:=\s*(\d+))?", body):
        number = int(given) if given else number + 1
        numbers[name.lower()] = number
    assert {name: option.number for name, option in OPTIONS.items()} == {name: numbers[name] for name in OPTIONS}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("latency", 2**31, "SRT option latency does not take 2147483648: it holds 32 bits"),
        ("maxbw", 2**63, "it holds 64 bits"),
        ("latency", "120", "SRT option latency takes a number of ms"),
        ("streamid", 7, "SRT option streamid takes a text"),
    ],
)
def test_values_that_do_not_fit(name, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        encode(name, value)


def test_libsrts_own_refusal_is_a_sentence(socket):
    with pytest.raises(srt.SrtError, match=r"SRT option pbkeylen does not take 17: .*Bad parameters"):
        socket.set("pbkeylen", 17)
    with pytest.raises(srt.SrtError, match="SRT option passphrase does not take this value") as caught:
        socket.set("passphrase", "tooshort")
    assert "tooshort" not in str(caught.value)


def test_too_late_is_said(socket):
    socket.bind("127.0.0.1", 0)
    with pytest.raises(srt.SrtError, match="SRT option mss cannot be set now: it is set before bind"):
        socket.set("mss", 1400)


def test_linger_is_off_or_seconds():
    assert decode("linger", encode("linger", 0)) == 0
    assert decode("linger", encode("linger", 3)) == 3
