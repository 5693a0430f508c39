"""Senders that are not ours to `pressbox recv`."""

from __future__ import annotations

import shlex

import pytest

from tests.lab.analyse import analyse
from tests.lab.programs import wait_until
from tests.lab.recorder import Recorder, difference

from .sender import Sender
from .test_sending import SRT, srt_urls

ENOUGH = 200  # datagrams, two seconds


def send(peer: str, port: int, url: str) -> list[str]:
    """The command that takes datagrams at a UDP port and sends them on to `url`."""
    if peer == "srt-live-transmit":
        return [peer, "-q", "-a:yes", f"udp://:{port}", url]
    host, _, target_port = url.partition("://")[2].rpartition(":")
    udp = ["udpsink", f"host={host}", f"port={target_port}", "sync=false", "async=false"]
    sink = {
        "srt": ["srtsink", f"uri={url}", "wait-for-connection=false", "sync=false"],
        "rtp": ["rtpmp2tpay", "!", *udp],
        "udp": udp,
    }[url.partition("://")[0]]
    caps = "caps=video/mpegts,systemstream=(boolean)true,packetsize=(int)188"
    return [peer, "-q", "udpsrc", "address=127.0.0.1", f"port={port}", caps, "!", *sink]


def packets(datagrams: list[bytes]) -> list[bytes]:
    """Transport packets: a peer may cut its datagrams at other places."""
    stream = b"".join(datagrams)
    return [stream[at : at + 188] for at in range(0, len(stream), 188)]


@pytest.mark.parametrize(("peer", "mode", "bits"), SRT)
def test_srt_of_a_peer_is_the_same_bytes(peer, mode, bits, need, ours, start, key, udp_port, film_of_a_stranger):
    need(peer)
    port = udp_port()
    mine, its = srt_urls(mode, udp_port(), key, bits)
    with Recorder() as got:
        started = [start(*send(peer, port, its)), ours("recv", mine, f"udp://127.0.0.1:{got.port}")]
        with Sender(film_of_a_stranger, [("127.0.0.1", port)]) as sender:
            wait_until(lambda: len(got.datagrams) > ENOUGH, what="the stream arrives", among=started)
            assert not difference(sender.sent, got.datagrams)


@pytest.mark.parametrize("scheme", ["rtp", "udp"])
def test_datagrams_of_gstreamer_are_the_same_bytes(scheme, need, ours, start, udp_port, film_of_a_stranger):
    need("gst-launch-1.0")
    port, url = udp_port(), f"{scheme}://127.0.0.1:{udp_port()}"
    with Recorder() as got:
        started = [start(*send("gst-launch-1.0", port, url)), ours("recv", url, f"udp://127.0.0.1:{got.port}")]
        with Sender(film_of_a_stranger, [("127.0.0.1", port)]) as sender:
            wait_until(lambda: len(got.datagrams) > ENOUGH, what="the stream arrives", among=started)
            assert not difference(packets(sender.sent), packets(got.datagrams))


@pytest.mark.parametrize(
    ("scheme", "mode", "bits"), [("srt", "listener", 256), ("srt", "caller", 128), ("rtp", "", 0), ("udp", "", 0)], ids=str
)
def test_the_stream_of_ffmpeg_arrives_whole(scheme, mode, bits, need, ours, start, key, udp_port):
    need("ffmpeg")
    mine = its = f"{scheme}://127.0.0.1:{udp_port()}"
    if scheme == "srt":
        mine, its = srt_urls(mode, udp_port(), key, bits)
        its = its.replace("latency=120", "latency=120000")
    its += ("&" if "?" in its else "?") + "pkt_size=1316"
    container = "rtp_mpegts" if scheme == "rtp" else "mpegts"
    inputs = shlex.split("-v error -re -f lavfi -i testsrc2=size=320x180:rate=25 -re -f lavfi -i sine")
    encode = shlex.split(f"-c:v libx264 -preset ultrafast -g 25 -bf 0 -b:v 600k -c:a aac -b:a 64k -f {container}")
    command = ["ffmpeg", *inputs, *encode, its]
    with Recorder() as got:
        receiver = ours("recv", mine, f"udp://127.0.0.1:{got.port}", "--stats", "0.2")
        wait_until(lambda: receiver.said("Mb/s"), what="recv is up", among=[receiver])  # a caller of FFmpeg's asks once
        sender = start(*command)
        wait_until(lambda: len(got.datagrams) > 120, what="the stream arrives", among=[receiver, sender])
        report = analyse(b"".join(got.datagrams))
    assert report.sync_errors == report.continuity_errors == report.transport_errors == report.crc_errors == 0
    assert {0, 0x100, 0x101} <= report.pids.keys()
