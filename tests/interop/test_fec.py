"""FEC of ST 2022-1 with GStreamer and FFmpeg, with media packets lost on purpose: what is repaired is byte for byte what was lost."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress

import pytest

from firmware.wire.fec import COLUMN, ROW
from firmware.wire.fecdecoder import FecDecoder
from firmware.wire.fecencoder import FecEncoder
from firmware.wire.rtp import Numberer
from firmware.wire.seq import Unwrap
from tests.lab.programs import Program, wait_until
from tests.lab.recorder import Recorder

from .sender import DATAGRAM, Sender

MEDIA = 0
STREAMS = (MEDIA, COLUMN, ROW)


@pytest.fixture
def gstreamer(need) -> None:
    need("gst-launch-1.0")
    if subprocess.run(["gst-inspect-1.0", "--exists", "rtpst2022-1-fecdec"], capture_output=True, check=False).returncode:
        pytest.skip("GStreamer's rtpst2022-1-fecdec is missing; apt install gstreamer1.0-plugins-good (1.20 or later)")


@pytest.fixture
def fec_ports(udp_port) -> int:
    """A port that is free, as are those 2 and 4 above it."""
    while True:
        port = udp_port()
        with ExitStack() as probes, suppress(OSError, OverflowError):
            for stream in STREAMS:
                probe = probes.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
                probe.bind(("127.0.0.1", port + stream))
            return port


# ours to theirs


def fecdec(port: int, to: int) -> list[str]:
    """GStreamer takes media and FEC at `port` and sends the media on, repaired."""
    media = 'caps="application/x-rtp,media=video,clock-rate=90000,encoding-name=MP2T,payload=33"'
    fec = 'caps="application/x-rtp,payload=96"'
    return shlex.split(
        f"gst-launch-1.0 -q rtpst2022-1-fecdec name=fec size-time=60000000000 "
        f"! udpsink host=127.0.0.1 port={to} sync=false async=false "
        f"udpsrc address=127.0.0.1 port={port} {media} ! fec.sink "
        f"udpsrc address=127.0.0.1 port={port + COLUMN} {fec} ! fec.fec_0 "
        f"udpsrc address=127.0.0.1 port={port + ROW} {fec} ! fec.fec_1"
    )


class Link:
    """Sends to a peer and collects what comes out of it, step by step: the next packet goes when the last one is through."""

    def __init__(self, port: int) -> None:
        self.came: set[bytes] = set()
        self._port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))

    @property
    def back(self) -> int:
        return int(self._socket.getsockname()[1])

    def send(self, stream: int, packet: bytes) -> None:
        with suppress(ConnectionRefusedError):  # the peer is not up yet
            self._socket.sendto(packet, ("127.0.0.1", self._port + stream))

    def wait_for(self, packets: set[bytes], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not packets <= self.came:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                self.came.add(self._socket.recv(2048))
            except TimeoutError:
                return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize(
    ("columns", "rows", "row_fec", "aligned"),
    [(10, 10, True, True), (5, 5, True, False), (20, 5, True, True), (10, 10, False, False), (1, 4, False, True)],
)
def test_gstreamer_repairs_with_our_fec(columns, rows, row_fec, aligned, gstreamer, start, fec_ports, film_of_a_stranger):
    size = columns * rows
    number = Numberer(ssrc=0, first=65_400)  # GStreamer rebuilds packets with SSRC 0
    encoder = FecEncoder(columns, rows, 0xFEC, row_fec=row_fec, aligned=aligned)
    payloads = iter(film_of_a_stranger[at : at + DATAGRAM] for at in range(0, len(film_of_a_stranger), DATAGRAM))
    with closing(Link(fec_ports)) as link:
        peer = start(*fecdec(fec_ports, link.back))

        def pass_on(lose: bool = False) -> bytes:
            packet = number(next(payloads), time.monotonic_ns())
            if not lose:
                link.send(MEDIA, packet)
            for stream, fec in encoder.push(packet):
                link.send(stream, fec)
            return packet

        wait_until(lambda: link.wait_for({pass_on()}, 0.1), what="GStreamer passes media on", among=[peer])
        lost = set()
        for n in range(8 * size):
            burst = n // size in (2, 5) and n % size in range(size // 3, size // 3 + columns)
            if burst or (n // size == 3 and n % (columns + 3) == 0 and row_fec):
                lost.add(pass_on(lose=True))
            else:
                assert link.wait_for({pass_on()}, 5), f"media does not pass\n{peer}"
        assert len(lost) >= 2 * columns
        assert link.wait_for(lost, 5), f"{len(lost - link.came)} of {len(lost)} are not repaired\n{peer}"


# theirs to ours


def fecenc(port: int, to: int, columns: int, rows: int) -> list[str]:
    """GStreamer takes MPEG-TS at `port` and sends it as RTP with FEC."""
    udp = "udpsink host=127.0.0.1 sync=false async=false"
    return shlex.split(
        f'gst-launch-1.0 -q udpsrc address=127.0.0.1 port={port} caps="video/mpegts,systemstream=(boolean)true,packetsize=(int)188" '
        f"! rtpmp2tpay ssrc=0 pt=33 ! rtpst2022-1-fecenc name=enc columns={columns} rows={rows} ! {udp} port={to} "
        f"enc.fec_0 ! {udp} port={to + COLUMN} enc.fec_1 ! {udp} port={to + ROW}"
    )


def capture(port: int, stack: ExitStack) -> list[tuple[int, bytes]]:
    """What comes at the three ports, as it comes."""
    came: list[tuple[int, bytes]] = []

    def into(stream: int) -> Callable[[bytes], None]:
        return lambda datagram: came.append((stream, datagram))

    for stream in STREAMS:
        stack.enter_context(Recorder(port=port + stream, see=into(stream)))
    return came


def media_of(came: list[tuple[int, bytes]]) -> list[bytes]:
    return [datagram for stream, datagram in came if stream == MEDIA]


def check_repairs(came: list[tuple[int, bytes]], columns: int, rows: int) -> None:
    """Ours repairs one loss a row, and bursts of a row, in the whole matrices of what came."""
    size = columns * rows
    media = media_of(came)
    for pattern in (
        lambda n: n % (columns + 3) == 0,
        lambda n: n % (3 * size) in range(size // 3, size // 3 + columns),
    ):
        lost = {media[n] for n in range(2 * size, len(media) - 3 * size) if pattern(n)}
        decoder, unwrap, repaired = FecDecoder(), Unwrap(16), set()
        for stream, datagram in came:
            if stream:
                repaired |= {one.packet for one in decoder.fec(datagram, 0)}
            elif datagram not in lost:
                number = unwrap(int.from_bytes(datagram[2:4], "big"))
                repaired |= {one.packet for one in decoder.media(number, datagram, 0)}
        assert len(lost) >= 10
        assert repaired == lost
        assert decoder.matrix == (columns, rows)
        assert (decoder.malformed, decoder.refused, decoder.needless) == (0, 0, 0)


@pytest.mark.parametrize(("columns", "rows"), [(10, 10), (5, 5), (20, 5)])
def test_ours_repairs_with_the_fec_of_gstreamer(columns, rows, gstreamer, start, udp_port, fec_ports, film_of_a_stranger):
    port = udp_port()
    with ExitStack() as stack:
        came = capture(fec_ports, stack)
        peer: Program = start(*fecenc(port, fec_ports, columns, rows))
        with Sender(film_of_a_stranger, [("127.0.0.1", port)], rate_bps=5_000_000):
            wait_until(lambda: len(media_of(came)) > 12 * columns * rows, what="GStreamer sends", among=[peer])
    check_repairs(came, columns, rows)


@pytest.mark.parametrize(("columns", "rows"), [(10, 10), (5, 5), (20, 5)])
def test_ours_repairs_with_the_fec_of_ffmpeg(columns, rows, need, start, fec_ports, film_of_a_stranger, tmp_path):
    need("ffmpeg")
    film = tmp_path / "film.ts"
    film.write_bytes(film_of_a_stranger)
    with ExitStack() as stack:
        came = capture(fec_ports, stack)
        command = f"ffmpeg -v error -readrate 8 -i {film} -c copy -f rtp_mpegts -fec prompeg=l={columns}:d={rows}"
        peer: Program = start(*shlex.split(command), f"rtp://127.0.0.1:{fec_ports}?pkt_size=1328")
        wait_until(lambda: len(media_of(came)) > 12 * columns * rows, what="FFmpeg sends", among=[peer])
    check_repairs(came, columns, rows)
