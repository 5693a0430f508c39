from __future__ import annotations

import string
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware import model
from firmware.urldisplay import display
from firmware.urlparts import UrlError, redact
from firmware.urls import parse_output, parse_source

from .ends import OUTPUTS, PATIENT, SOURCES


@PATIENT
@given(SOURCES)
def test_a_source_reads_back_from_its_own_url(source: model.Source) -> None:
    assert parse_source(display(source), source.name).end == source


@PATIENT
@given(OUTPUTS)
def test_an_output_reads_back_from_its_own_url(output: model.Output) -> None:
    assert parse_output(display(output), output.name).end == output


KEYS = [
    *("mode", "latency", "passphrase", "pbkeylen", "streamid", "adapter", "allow", "ttl", "size", "bitrate", "fps", "fec", "key", "secret"),
    *("second", "second-adapter", "aes-type", "buffer", "profile", "gather", "dscp", "clear", "?", ""),
]
VALUES = [
    *("listener", "caller", "simple", "16", "120", "-1", "1e3", "%ff", "%00", "@file:/", "@env:=", "secret:../x"),
    *("9x9", "5x5,columns", "4M", "on", "yes", "[::1]:7"),
]
SCHEMES = [
    *("srt://", "SRT://", "rtp://", "udp://@", "rist://", "rist://@", "srtp://", "srtp://@"),
    *("pattern", "pattern:", "clip:", "hls://", ""),
]
PAIRS = st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES) | st.text(max_size=8))
ALMOST = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(SCHEMES),
    st.sampled_from(["", "[::1]", "127.0.0.1", "a.example", "[", "]", "239.0.0.1"]) | st.text(max_size=8),
    st.sampled_from([":5000", ":0", ":99999", ":", "", ":٣", "/x"]),
    st.lists(PAIRS, max_size=4).map(lambda pairs: "?" + "&".join(pairs)),
)


@PATIENT
@given(ALMOST | st.text(), st.booleans())
@example("srt://h:1?passphrase=@file:\0", False)
@example("clip:\udcff", False)
def test_no_input_raises_anything_but_a_sentence(url: str, literal: bool) -> None:
    for parse in (parse_source, parse_output):
        with suppress(UrlError):
            parse(url, "x", literal_secrets=literal)


@PATIENT
@given(st.text(string.ascii_uppercase + "+ %?#/=", min_size=10, max_size=40).filter(lambda s: s.strip() == s))
def test_no_error_and_no_display_tells_a_passphrase(phrase: str) -> None:
    url = f"srt://h.example:9000?latency=999999&passphrase={phrase}"
    with pytest.raises(UrlError) as error:
        parse_output(url, "a", literal_secrets=True)
    assert phrase not in str(error.value)
    assert phrase not in redact(url)
    good = parse_output(url.replace("999999", "99").replace(phrase, phrase.replace("%", "%25")), "a", literal_secrets=True)
    assert good.secrets == {"a": phrase}
    assert phrase not in display(good.end)
    assert phrase not in repr(good)


def test_srt_as_the_field_writes_it() -> None:
    caller = parse_output(
        "srt://203.0.113.9:5000?latency=250&pbkeylen=16&passphrase=secret:studio&adapter=192.0.2.1&bindtodevice=eth0", "a"
    ).end
    assert caller == model.SrtCallerOutput(
        name="a", host="203.0.113.9", port=5000, latency_ms=250, key_bits=128, secret="studio", bind_address="192.0.2.1", bind_device="eth0"
    )
    assert parse_source("srt://:5000", "a").end == model.SrtListenerSource(name="a", port=5000, clear=True)
    assert parse_source("srt://[::1]:5000?mode=listener", "a").end == model.SrtListenerSource(
        name="a", port=5000, address="::1", clear=True
    )
    open_end = parse_source("srt://:5000?allow=192.0.2.0/24", "a").end
    assert open_end == model.SrtListenerSource(name="a", port=5000, address="0.0.0.0", allow=["192.0.2.0/24"], clear=True)


def test_datagrams_as_the_field_writes_them() -> None:
    assert parse_source("udp://@239.1.2.3:5000", "a").end == model.UdpSource(
        name="a", port=5000, address="239.1.2.3", allow=["0.0.0.0/0", "::/0"]
    )
    assert parse_source("udp://@:5000", "a").end == model.UdpSource(name="a", port=5000)
    assert parse_source("rtp://127.0.0.1:5004/", "a").end == model.RtpSource(name="a", port=5004)
    assert parse_output("rtp://239.1.2.3:5004?ttl=4&localaddr=192.0.2.1", "a").end == model.RtpOutput(
        name="a", host="239.1.2.3", port=5004, ttl=4, bind_address="192.0.2.1"
    )


def test_cameras() -> None:
    assert parse_source("pattern", "cam").end == model.Camera(name="cam")
    assert parse_source("pattern:", "cam").end == model.Camera(name="cam")
    clip = parse_source("clip:/films/a b.mp4?size=1920x1080&fps=50&bitrate=7.5M&preset=veryfast", "cam").end
    assert clip == model.Camera(
        name="cam", camera="clip:/films/a b.mp4", width=1920, height=1080, fps=50, video_bps=7_500_000, preset="veryfast"
    )


def test_a_stream_id_is_no_fragment() -> None:
    url = "srt://h.example:9000?streamid=#!::r=cam/1,m=publish&latency=200"
    end = parse_output(url, "a").end
    assert isinstance(end, model.SrtCallerOutput)
    assert (end.stream_id, end.latency_ms) == ("#!::r=cam/1,m=publish", 200)
    assert "#" not in display(end)


def test_a_plus_in_a_passphrase_stays_a_plus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_output("srt://h:9?passphrase=one+two%2Bthree", "a", literal_secrets=True).secrets == {"a": "one+two+three"}
    (tmp_path / "phrase").write_text("one+two three\n")
    parsed = parse_output(f"srt://h:9?passphrase=@file:{tmp_path}/phrase", "a", secret_name="show.a")
    assert parsed.secrets == {"show.a": "one+two three"}
    assert isinstance(parsed.end, model.SrtCallerOutput)
    assert parsed.end.secret == "show.a"
    monkeypatch.setenv("PHRASE", "a phrase from outside")
    assert parse_output("srt://h:9?passphrase=@env:PHRASE", "a").secrets == {"a": "a phrase from outside"}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("srt://h:9?latency=120000", "latency=120000: this looks like microseconds; write milliseconds, latency=120"),
        ("srt://h:9?latency=16000", "latency: 16000 is not between 10 and 15000"),
        ("srt://h:9?passphrase=literally-secret", "others could read it here; write passphrase=@file:PATH"),
        ("srt://h:9?passphrase=@env:NOT_THERE", "the environment has no variable `NOT_THERE`"),
        ("srt://h:9?passphrase=@file:/not/there", "the file `/not/there` cannot be read: No such file"),
        ("srt://h:9?passphrase=secret:Not A Name", "the name of a secret is"),
        ("srt://h:9?mode=rendezvous", "rendezvous is not carried"),
        ("srt://h:9?mode=push", "mode: allowed are caller, listener"),
        ("srt://:9?mode=caller", "host: mode=caller needs one"),
        (
            "srt://h:9?latncy=120",
            "latncy: unknown parameter of srt:// as an output; allowed are adapter, bindtodevice, dscp, gather, latency, mode, passphrase",
        ),
        ("srt://h:9?latency=1&latency=2", "latency: given twice"),
        ("srt://h:9?pbkeylen=32", "pbkeylen: encrypts nothing without a passphrase"),
        ("srt://h:9?pbkeylen=20&passphrase=secret:x", "pbkeylen: allowed are 16 (AES-128), 24 (AES-192), 32 (AES-256)"),
        ("srt://h", "port: missing; write srt://host:port"),
        ("srt://h:99999", "port: 99999 is not between 1 and 65535"),
        ("srt://::1:9", "an IPv6 address is written in brackets"),
        ("srt://0.0.0.0:9?mode=listener", "can be reached from the network; say who may, allow="),
        ("srt://239.1.1.1:9", "SRT cannot go to a multicast group"),
        ("srt://h:9?adapter=eth0", "adapter: `eth0` is no IP address"),
        ("hls://h:9", "`hls://` is not carried; write srt://host:port or one of rist://, rtp://, srtp://, udp://"),
        ("film.mp4", "not a URL that a flow can use; write srt://host:port"),
        ("udp://@h:9", "an output sends"),
        ("udp://h:9?ttl=300", "ttl: 300 is not between 1 and 255"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(UrlError, match=r".") as error:
        parse_output(url, "a")
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("clip:", "clip: names no file"),
        ("pattern:x", "pattern: takes no file"),
        ("pattern?size=big", "size: write WIDTHxHEIGHT"),
        ("pattern?bitrate=fast", "bitrate: write bits a second"),
        ("pattern?bitrate=1", "bitrate: Expected `int` >= 200000"),
        ("pattern?preset=placebo", "preset: Invalid enum value 'placebo'"),
        (
            "pattern?colour=1",
            "colour: unknown parameter of `pattern`; allowed are audio, bitrate, encoder, floor, fps, gop, preset, shape, size, sound",
        ),
        ("udp://192.0.2.1:9", "can be reached from the network"),
        ("udp://:9?allow=everybody", "allow: `everybody` is no CIDR block"),
    ],
)
def test_what_cannot_be_a_source_is_said_in_one_sentence(url: str, sentence: str) -> None:
    with pytest.raises(UrlError) as error:
        parse_source(url, "a")
    assert sentence in str(error.value)
