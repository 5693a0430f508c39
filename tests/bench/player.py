"""A player without a buffer: MPEG-TS from a UDP port, each picture decoded as soon as it is whole.

    python -m tests.bench.player PORT [LOG]

The top left corner of each picture, 512 x 16 bytes of luma, goes to standard output; to LOG goes one line a picture:
PTS, first and last datagram's arrival, and end of decoding in monotonic ns, and how far PTS is ahead of PCR in 90 kHz.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import av
import av.logging
from av.codec.context import CodecContext, Flags

from firmware.net.udp import enlarge_receive_buffer
from tests.bench.demux import Demux

CORNER_WIDTH, CORNER_HEIGHT = 512, 16


class Decoder:
    def __init__(self) -> None:
        self._context: Any = CodecContext.create("h264", "r")
        self._context.thread_type, self._context.thread_count = "SLICE", 2  # a thread a slice; frame threads would delay
        self._context.flags |= Flags.low_delay

    def decode(self, data: bytes) -> list[Any]:
        try:
            return list(self._context.decode(av.Packet(data)))
        except av.error.InvalidDataError:  # it began in the middle of a group of pictures
            return []


def corner(picture: Any) -> bytes:
    luma, line = memoryview(picture.planes[0]), picture.planes[0].line_size
    return b"".join([luma[y * line : y * line + CORNER_WIDTH] for y in range(CORNER_HEIGHT)])


def main() -> None:
    av.logging.set_level(None)
    port, log = int(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else os.devnull)
    demux, decoder = Demux(), Decoder()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, log.open("w", buffering=1) as lines:
        enlarge_receive_buffer(udp, 4 << 20)
        udp.bind(("127.0.0.1", port))
        while True:
            datagram = udp.recv(2048)
            for whole in demux.push(datagram, time.monotonic_ns()):
                for picture in decoder.decode(whole.data):
                    decoded_ns = time.monotonic_ns()
                    os.write(1, corner(picture))
                    print(whole.pts_90k, whole.first_ns, whole.last_ns, decoded_ns, whole.headroom_90k, file=lines)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(0)
