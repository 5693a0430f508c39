"""`pressbox send` to receivers that are not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware.wire import ts
from tests.lab.analyse import analyse
from tests.lab.programs import wait_until
from tests.lab.recorder import Recorder, difference
from tests.pictures import pictures_of, sound_of

CAMERA = "pattern?size=640x360&bitrate=1M&preset=ultrafast"
CAPS = "application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33"
ENOUGH = 250  # datagrams, a second and a half

SRT = [(peer, mode, bits) for peer in ("srt-live-transmit", "gst-launch-1.0") for mode, bits in (("caller", 128), ("listener", 256))]


def srt_urls(mode: str, port: int, key: tuple[str, str], bits: int) -> tuple[str, str]:
    """Ours, in this mode, and the peer's in the other one."""
    phrase, reference = key
    other = {"caller": "listener", "listener": "caller"}[mode]
    ours = f"srt://127.0.0.1:{port}?mode={mode}&latency=120&pbkeylen={bits // 8}&passphrase={reference}"
    return ours, f"srt://127.0.0.1:{port}?mode={other}&latency=120&pbkeylen={bits // 8}&passphrase={phrase}"


def receive(peer: str, url: str, port: int) -> list[str]:
    """The command that takes `url` and passes it on, as it came, to a UDP port."""
    if peer == "srt-live-transmit":
        return [peer, "-q", "-a:yes", url, f"udp://127.0.0.1:{port}"]
    scheme, _, rest = url.partition("://")
    source = {
        "srt": ["srtsrc", f"uri={url}"],
        "rtp": ["udpsrc", f"port={rest.rpartition(':')[2]}", f"caps={CAPS}", "!", "rtpmp2tdepay"],
        "udp": ["udpsrc", f"port={rest.rpartition(':')[2]}"],
    }[scheme]
    return [peer, "-q", *source, "!", "udpsink", "host=127.0.0.1", f"port={port}", "sync=false", "async=false"]


def check_copy(sent: Recorder, got: Recorder) -> None:
    """Byte for byte what left, and pictures and sound that somebody else's decoder takes without a word."""
    assert difference(sent.datagrams, got.datagrams).compared > ENOUGH * 0.9
    assert not difference(sent.datagrams, got.datagrams)
    check_pictures(b"".join(got.datagrams))


def from_first_key_picture(stream: bytes) -> bytes:
    """A peer that listened a moment late begins in the midst of a GOP, which no decoder takes without a word."""
    tables = 0
    for at in range(0, len(stream), ts.PACKET):
        if ts.pid_of(stream, at) == 0:
            tables = at
        elif ts.pid_of(stream, at) == 0x100 and ts.is_key_picture(stream, at):
            return stream[tables:]
    raise AssertionError("there is no key picture")


def without_cut_sound(stream: bytes) -> bytes:
    """The recording ends anywhere: the last PES packet of sound, which may lack its end, is left out."""
    packets = [stream[at : at + ts.PACKET] for at in range(0, len(stream), ts.PACKET)]
    last = max(n for n, packet in enumerate(packets) if ts.pid_of(packet, 0) == 0x101 and packet[1] & 0x40)
    return b"".join(packet for n, packet in enumerate(packets) if n < last or ts.pid_of(packet, 0) != 0x101)


def check_pictures(stream: bytes) -> None:
    stream = without_cut_sound(from_first_key_picture(stream))
    counters = counters_of(stream)
    assert len(counters) >= 20
    assert counters == sorted(set(counters))  # a camera on a busy machine leaves pictures out, and never repeats or turns them round
    assert len(sound_of(stream)[1]) > 20_000


def counters_of(stream: bytes) -> list[int]:
    """The numbers that the camera drew into its pictures, from the first key picture on."""
    pictures = pictures_of(stream)
    first = next(at for at, picture in enumerate(pictures) if picture.key)
    return [picture.counter for picture in pictures[first:]]


@pytest.mark.parametrize(("peer", "mode", "bits"), SRT)
def test_srt_to_a_peer_is_the_same_bytes(peer, mode, bits, need, ours, start, key, udp_port):
    need(peer)
    mine, its = srt_urls(mode, udp_port(), key, bits)
    with Recorder() as sent, Recorder() as got:
        started = [start(*receive(peer, its, got.port)), ours("send", CAMERA, mine, f"udp://127.0.0.1:{sent.port}")]
        wait_until(lambda: len(got.datagrams) > ENOUGH, what="the peer passes the stream on", among=started)
        check_copy(sent, got)


@pytest.mark.parametrize(
    ("peer", "scheme"), [("gst-launch-1.0", "rtp"), ("gst-launch-1.0", "udp"), ("srt-live-transmit", "udp")], ids="-".join
)
def test_datagrams_to_a_peer_are_the_same_bytes(peer, scheme, need, ours, start, udp_port):
    need(peer)
    url = f"{scheme}://127.0.0.1:{udp_port()}"
    with Recorder() as sent, Recorder() as got:
        started = [
            start(*receive(peer, url.replace("127.0.0.1", "") if peer == "srt-live-transmit" else url, got.port)),
            ours("send", CAMERA, url, f"udp://127.0.0.1:{sent.port}"),
        ]
        wait_until(lambda: len(got.datagrams) > ENOUGH, what="the peer passes the stream on", among=started)
        check_copy(sent, got)


@pytest.mark.parametrize(
    ("scheme", "mode", "bits"), [("srt", "caller", 256), ("srt", "listener", 128), ("rtp", "", 0), ("udp", "", 0)], ids=str
)
def test_ffmpeg_takes_every_picture(scheme, mode, bits, need, ours, start, key, udp_port, tmp_path: Path):
    need("ffmpeg")
    mine = its = f"{scheme}://127.0.0.1:{udp_port()}"
    if scheme == "srt":
        mine, its = srt_urls(mode, udp_port(), key, bits)
        its = its.replace("latency=120", "latency=120000")
    file = tmp_path / "taken.ts"
    take = ["ffmpeg", "-v", "warning", "-i", its, "-map", "0", "-c", "copy", "-t", "2", "-f", "mpegts", str(file)]
    with Recorder() as sent:
        send = ["send", CAMERA, mine, f"udp://127.0.0.1:{sent.port}", "--stats", "0.2", "--json"]
        if scheme == "srt" and mode == "listener":  # a caller of FFmpeg's asks once
            sender = ours(*send)
            wait_until(lambda: sender.said('"picture":"live"'), what="on air", among=[sender])
            taker = start(*take)
        else:
            taker = start(*take)
            ours(*send)
        assert taker.wait() == 0, str(taker)
        stream = file.read_bytes()
        left = counters_of(from_first_key_picture(b"".join(sent.datagrams)))
    check_pictures(stream)
    taken = counters_of(stream)
    assert taken == [counter for counter in left if taken[0] <= counter <= taken[-1]]
    assert analyse(stream).continuity_errors == 0
