"""Pictures and sound out of MPEG-TS, through a decoder that is not ours."""

from __future__ import annotations

import io
from array import array
from dataclasses import dataclass
from typing import Any

import av

from hw.camera.pattern import read_counter


@dataclass(frozen=True, slots=True)
class Seen:
    pts_90k: int
    counter: int  # burnt in
    key: bool
    luma: bytes
    line_size: int
    size: tuple[int, int]


def packets_of(stream: bytes, kind: str) -> list[Any]:
    """Demuxed packets of the `video` or the `audio`."""
    with av.open(io.BytesIO(stream), format="mpegts") as container:
        return [packet for packet in container.demux(**{kind: 0}) if packet.dts is not None]


def pictures_of(stream: bytes) -> list[Seen]:
    with av.open(io.BytesIO(stream), format="mpegts") as container:
        return [
            Seen(
                picture.pts or 0,
                read_counter(luma := bytes(picture.planes[0]), line := picture.planes[0].line_size) if picture.width >= 512 else -1,
                bool(picture.key_frame),
                luma,
                line,
                (picture.width, picture.height),
            )
            for picture in container.decode(video=0)
        ]


def sound_of(stream: bytes) -> tuple[int, array[float]]:
    """PTS of the first sample, and the left channel."""
    with av.open(io.BytesIO(stream), format="mpegts") as container:
        blocks = list(container.decode(audio=0))
    left = b"".join(bytes(block.planes[0])[: block.samples * 4] for block in blocks)
    return blocks[0].pts, array("f", left)
