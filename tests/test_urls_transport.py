"""URLs of RTP with FEC, SRTP and RIST, and what every output takes: gathering, DSCP, in the clear on purpose."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware import model
from firmware.secrets import generate, generate_srtp_key
from firmware.urldisplay import display
from firmware.urlparts import UrlError, redact
from firmware.urls import parse_output, parse_source

from .ends import PATIENT

OUTPUTS = {
    "rtp://192.0.2.9:5004?fec=10x10": model.RtpFecOutput(name="a", host="192.0.2.9", port=5004),
    "rtp://192.0.2.9:5004?fec=2x8,columns": model.RtpFecOutput(name="a", host="192.0.2.9", port=5004, columns=2, rows=8, row_fec=False),
    "rtp://192.0.2.9:5004?fec=5x20,staggered": model.RtpFecOutput(name="a", host="192.0.2.9", port=5004, columns=5, rows=20, aligned=False),
    "rtp://192.0.2.9:5004?fec=20x5,staggered,columns&gather=5&dscp=34": model.RtpFecOutput(
        name="a", host="192.0.2.9", port=5004, columns=20, rows=5, row_fec=False, aligned=False, gather_ms=5, dscp=34
    ),
    "srtp://203.0.113.9:5004?key=secret:show": model.RtpOutput(name="a", host="203.0.113.9", port=5004, secret="show"),
    "srtp://8.8.8.8:5004?key=secret:show&fec=5x5": model.RtpFecOutput(
        name="a", host="8.8.8.8", port=5004, secret="show", columns=5, rows=5
    ),
    "udp://8.8.8.8:5004?clear=yes": model.UdpOutput(name="a", host="8.8.8.8", port=5004, clear=True),
    "rtp://[2001:4860:4860::8888]:5004?clear=yes": model.RtpOutput(name="a", host="2001:4860:4860::8888", port=5004, clear=True),
    "udp://127.0.0.1:5004?clear=no&gather=50&dscp=63": model.UdpOutput(name="a", host="127.0.0.1", port=5004, gather_ms=50, dscp=63),
    "srt://h:9?dscp=46&gather=3": model.SrtCallerOutput(name="a", host="h", port=9, clear=True, dscp=46, gather_ms=3),
    "srt://:9?gather=3": model.SrtListenerOutput(name="a", port=9, clear=True, gather_ms=3),
    "rist://studio.example:5000": model.RistOutput(name="a", host="studio.example", port=5000, clear=True),
    "rist://h:5000?buffer=500&secret=secret:s&aes-type=128": model.RistOutput(
        name="a", host="h", port=5000, latency_ms=500, secret="s", key_bits=128
    ),
    "rist://h:5000?profile=simple": model.RistOutput(name="a", host="h", port=5000, profile="simple", clear=True),
    "rist://h:5000?second=5002": model.RistOutput(name="a", host="h", port=5000, second_port=5002, clear=True),
    (
        "rist://h:5000?second=i:5000&adapter=192.0.2.7&bindtodevice=eth0&second-adapter=198.51.100.7&second-bindtodevice=wwan0&gather=5&dscp=46"
    ): model.RistOutput(
        name="a",
        host="h",
        port=5000,
        second_host="i",
        second_port=5000,
        bind_address="192.0.2.7",
        bind_device="eth0",
        second_bind_address="198.51.100.7",
        second_bind_device="wwan0",
        gather_ms=5,
        dscp=46,
        clear=True,
    ),
    "rist://[::1]:5000?second=[::1]:5002": model.RistOutput(
        name="a", host="::1", port=5000, second_host="::1", second_port=5002, clear=True
    ),
}
SOURCES = {
    "rtp://@:5004?fec=on": model.RtpFecSource(name="a", port=5004),
    "rtp://@:5004?fec=off": model.RtpSource(name="a", port=5004),
    "rtp://@239.1.2.3:5004?fec=on&adapter=192.0.2.7": model.RtpFecSource(
        name="a", port=5004, address="239.1.2.3", interface="192.0.2.7", allow=["0.0.0.0/0", "::/0"]
    ),
    "srtp://@:5004?key=secret:show&allow=192.0.2.0/24": model.RtpSource(
        name="a", port=5004, address="0.0.0.0", allow=["192.0.2.0/24"], secret="show"
    ),
    "srtp://:5004?key=secret:show&fec=on": model.RtpFecSource(name="a", port=5004, secret="show"),
    "rist://@:5000?allow=any&second=5002&secret=secret:s": model.RistSource(
        name="a", port=5000, second_port=5002, address="0.0.0.0", allow=["0.0.0.0/0", "::/0"], secret="s"
    ),
    "rist://127.0.0.1:5000?buffer=80&profile=simple": model.RistSource(name="a", port=5000, latency_ms=80, profile="simple", clear=True),
    "rist://:5000?adapter=192.0.2.7&allow=192.0.2.0/24": model.RistSource(
        name="a", port=5000, address="192.0.2.7", allow=["192.0.2.0/24"], clear=True
    ),
    "srt://h:9?dscp=34": model.SrtCallerSource(name="a", host="h", port=9, dscp=34, clear=True),
}


@pytest.mark.parametrize("url", OUTPUTS)
def test_an_output(url: str) -> None:
    assert parse_output(url, "a").end == OUTPUTS[url]
    assert parse_output(display(OUTPUTS[url]), "a").end == OUTPUTS[url]


@pytest.mark.parametrize("url", SOURCES)
def test_a_source(url: str) -> None:
    assert parse_source(url, "a").end == SOURCES[url]
    assert parse_source(display(SOURCES[url]), "a").end == SOURCES[url]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rtp://h:9?fec=on", ("fec: write COLUMNSxROWS, like fec=10x10", "`,columns`", "`,staggered`")),
        ("rtp://h:9?fec=10x10,rows", ("fec: write COLUMNSxROWS",)),
        ("rtp://h:9?fec=20x20", ("fec: 20x20 cannot be", "4 to 20 columns and 4 to 20 rows, 100 packets together")),
        ("rtp://h:9?fec=3x4", ("fec: 3x4 cannot be", "fec=2x10,columns")),
        ("rtp://h:9?fec=0x4,columns", ("fec: 0x4 cannot be", "1 to 20 columns")),
        ("rtp://h:9?fec=10x3", ("fec: 10x3 cannot be",)),
        ("rtp://h:65532?fec=10x10", ("port: 65532 leaves no room for the FEC ports",)),
        ("udp://h:9?fec=10x10", ("fec: unknown parameter of udp:// as an output; allowed are adapter, bindtodevice, clear, dscp",)),
        ("rtp://h:9?key=secret:x", ("key: unknown parameter of rtp:// as an output", "fec, gather")),
        ("srtp://h:9", ("key: missing", "key=@file:PATH", "key=secret:NAME", "rtp://")),
        ("srtp://h:9?key=secret:x&clear=yes", ("clear: unknown parameter of srtp://",)),
        ("srtp://h:9?key=AAAA", ("key: others could read it here; write key=@file:PATH",)),
        ("srtp://h:9?key=@file:/dev/null", ("key: no SRTP key, which is 44 random bytes in base64", "--srtp")),
        ("srtp://h:9?key=@env:NOT_THERE", ("key: the environment has no variable `NOT_THERE`",)),
        ("srtp://h:9?key=secret:Not A Name", ("key: the name of a secret is",)),
        ("rtp://8.8.8.8:9", ("clear: 8.8.8.8 is a public address", "in the clear", "srtp:// with key=", "clear=yes")),
        ("udp://8.8.8.8:9", ("clear: 8.8.8.8 is a public address", "srt:// encrypts", "clear=yes")),
        ("udp://h:9?clear=true", ("clear: allowed are no, yes",)),
        ("udp://h:9?dscp=64", ("dscp: 64 is not between 0 and 63",)),
        ("udp://h:9?dscp=EF", ("dscp: not a whole number",)),
        ("rtp://h:9?gather=51", ("gather: 51 is not between 0 and 50",)),
        ("srt://:9?dscp=34", ("dscp: unknown parameter of srt:// as an output",)),
        (
            "rist://h:9?latency=200",
            ("latency: unknown parameter of rist:// as an output; allowed are adapter, aes-type, bindtodevice, buffer",),
        ),
        ("rist://h:9?buffer=200000", ("buffer=200000: this looks like microseconds; write milliseconds, buffer=200",)),
        ("rist://h:9?buffer=5", ("buffer: 5 is not between 10 and 15000",)),
        ("rist://h:9?profile=advanced", ("profile: allowed are main, simple",)),
        ("rist://h:8?profile=simple&secret=secret:s", ("profile: simple has no encryption; write profile=main",)),
        ("rist://h:9?profile=simple", ("port: the simple profile takes an even port",)),
        ("rist://h:9?aes-type=256", ("aes-type: encrypts nothing without a passphrase; add secret=@file:PATH",)),
        ("rist://h:9?secret=secret:s&aes-type=192", ("aes-type: allowed are 128 (AES-128), 256 (AES-256)",)),
        ("rist://h:9?secret=a-passphrase-as-it-is", ("secret: others could read it here; write secret=@file:PATH",)),
        ("rist://h:9?secret=@file:/dev/null", ("secret: it has 0 bytes; a passphrase takes 10 to 79",)),
        ("rist://h:9?second=h:10", ("second: too close to `port`",)),
        ("rist://h:9?second=i:0", ("second: 0 is not between 1 and 65535",)),
        ("rist://h:9?second=[::1:7", ("second: write second=HOST:PORT",)),
        ("rist://h:9?second=239.1.1.1:7", ("second: RIST cannot go to a multicast group",)),
        ("rist://h:9?second=i:9&second-adapter=eth1", ("second-adapter: no IP address",)),
        ("rist://h:9?second-bindtodevice=eth1", ("second-bindtodevice: there is no second path; add second=HOST:PORT",)),
        ("rist://239.1.1.1:9", ("RIST cannot go to a multicast group",)),
        ("rist://@h:9", ("`@` means to listen", "rist://host:port")),
    ],
)
def test_an_output_that_cannot_be_is_said_in_one_sentence(url: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UrlError) as error:
        parse_output(url, "a")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rtp://@:9?fec=10x10", ("fec: allowed are off, on",)),
        ("rtp://@:9?gather=5", ("gather: unknown parameter of rtp:// as a source; allowed are adapter, allow, fec, localaddr",)),
        ("srtp://@:9", ("key: missing",)),
        ("srtp://@192.0.2.7:9?key=secret:s", ("allow: 192.0.2.7 can be reached from the network",)),
        ("rist://@:9?second=h:11", ("second: not a whole number",)),
        ("rist://@:9?second=0", ("second: 0 is not between 1 and 65535",)),
        ("rist://@:8?second=10&profile=simple", ("second: the simple profile joins no paths", "two sources")),
        ("rist://studio.example:9", ("host: no IP address",)),
        ("rist://@:9?bindtodevice=eth0", ("bindtodevice: unknown parameter of rist:// as a source", "second, secret")),
    ],
)
def test_a_source_that_cannot_be_is_said_in_one_sentence(url: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UrlError) as error:
        parse_source(url, "a")
    for word in words:
        assert word in str(error.value)


def test_keys_come_from_files_and_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, phrase = generate_srtp_key(), generate()
    (tmp_path / "key").write_text(key + "\n")
    parsed = parse_output(f"srtp://h:9?key=@file:{tmp_path}/key&fec=5x5", "a", secret_name="show.a")
    assert parsed.end == model.RtpFecOutput(name="a", host="h", port=9, columns=5, rows=5, secret="show.a")
    assert parsed.secrets == {"show.a": key}
    monkeypatch.setenv("PHRASE", phrase)
    assert parse_source("rist://@:9?secret=@env:PHRASE", "a").secrets == {"a": phrase}


@PATIENT
@given(st.binary(min_size=44, max_size=44))
def test_no_error_and_no_display_tells_a_key(raw: bytes) -> None:
    key = b64encode(raw).decode()
    for url in (f"srtp://h:9?gather=99&key={key}", f"rist://h:9?gather=99&secret={key}", f"rist://h:9?x=1&SECRET={key}"):
        with pytest.raises(UrlError) as error:
            parse_output(url, "a", literal_secrets=True)
        assert key not in str(error.value)
        assert key not in redact(url)
        with pytest.raises(UrlError) as refused:
            parse_output(url, "a")
        assert key not in str(refused.value)
    good = parse_output(f"srtp://h:9?key={key}", "a", literal_secrets=True)
    assert good.secrets == {"a": key}
    assert key not in display(good.end) + repr(good)


def test_references_stay_when_secrets_are_taken_out() -> None:
    url = "srtp://h:9?key=@file:k&fec=5x5 rist://h:9?secret=secret:name&buffer=9 srt://h:9?passphrase=hunter2hunter2&latency=9"
    assert redact(url) == url.replace("hunter2hunter2", "***")
