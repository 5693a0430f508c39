"""The slate: what a flow plays while its camera gives nothing. `python -m firmware.capture.slate`

One line of JSON on stdin: {"flow": "show", "camera": {...}, "slate": "/var/lib/…/slates/….ts"}. The file is MPEG-TS as the
capture worker makes it, same encoder, same PIDs: one whole loop of a still card and silence. In it

* picture n has PTS n * 90000 // fps, n from 0 to `loop_pictures(fps)` - 1; the first one is an IDR picture;
* sound block n has PTS n * 1920, n from 0, and ends exactly where the last picture ends;
* so a player adds `loop_ticks(fps)` to every time at each pass and is exact for ever.
"""

from __future__ import annotations

import hashlib
import os
import sys
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from firmware import model
from hw.encoder import EncoderError

if TYPE_CHECKING:
    from av import VideoFrame

    from hw.frame import AccessUnit

EXIT_BAD_CONFIG, EXIT_NO_SLATE = 2, 5
VERSION = 1  # of the card and the layout; another one makes other names
SECOND_NS = 1_000_000_000
BLOCK_TICKS = 1920  # of 90 kHz: 1024 samples at 48 kHz
LINES = ("NO PICTURE FROM CAMERA", "WE ARE STILL SENDING")


class Config(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    flow: str
    camera: model.Camera
    slate: str


def slate_name(flow: str, camera: model.Camera) -> str:
    """File name of the slate; another one wherever the slate would look or be encoded differently."""
    settings = (VERSION, flow, camera.width, camera.height, camera.fps, camera.video_bps, camera.audio_bps, camera.gop_ms, camera.preset)
    return f"{hashlib.sha256(repr(settings).encode()).hexdigest()[:16]}.ts"


def loop_pictures(fps: int) -> int:
    """Pictures in a loop of 1 to 8 s that takes a whole number of AAC blocks, of 1024 samples at 48 kHz: 8 / gcd(375, fps) s do."""
    shortest = 8 * fps // gcd(375, fps)
    return shortest * -(-fps // shortest)


def loop_ticks(fps: int) -> int:
    """Length of the loop in ticks of 90 kHz, exact."""
    return loop_pictures(fps) * 90_000 // fps


def make_slate(flow: str, camera: model.Camera) -> bytes:
    from av import VideoFrame

    from firmware.capture.mux import Mux
    from hw.encoder.x264 import X264
    from hw.frame import Frame

    card = VideoFrame(camera.width, camera.height, "yuv420p")
    _draw(card, (*LINES, flow.upper()))
    encoder = X264(camera.width, camera.height, camera.fps, camera.video_bps, camera.gop_ms, camera.preset)
    sound = _silence(camera.audio_bps, loop_ticks(camera.fps) // BLOCK_TICKS)
    mux, whole = Mux(), b""
    for number in range(loop_pictures(camera.fps)):
        pictures = encoder.encode(Frame(number, card, -(-number * SECOND_NS // camera.fps)))
        due = [block for block in sound if block.pts_90k < pictures[0].pts_90k + BLOCK_TICKS]
        del sound[: len(due)]
        whole += mux.write(pictures, due)
    return whole


def _silence(bitrate_bps: int, count: int) -> list[AccessUnit]:
    """Blocks of silence from time 0, without the encoder's first two, which carry its start."""
    from hw.encoder.aac import BLOCK, Aac
    from hw.frame import AccessUnit, Sound

    nothing = bytes(4 * BLOCK * (count + 3))
    units = Aac(bitrate_bps).encode(Sound(0, nothing, nothing))[2:]
    return [AccessUnit(unit.packet, number * BLOCK_TICKS) for number, unit in enumerate(units[:count])]


def _draw(card: VideoFrame, lines: tuple[str, ...]) -> None:
    from hw.canvas import SLATE, Canvas, text_width

    canvas = Canvas(card)
    canvas.fill(0, 0, card.width, card.height, SLATE)
    longest = max(map(len, LINES)) + 2
    for place, words in enumerate(lines):
        scale = max(1, card.width // text_width(" " * max(longest, len(words)), 1))
        y = card.height * (2 * place + 3) // 10
        canvas.text(max(0, card.width - text_width(words, scale)) // 2, y, words, scale, SLATE[0])


def main() -> int:
    try:
        config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    except msgspec.DecodeError as error:
        print(f"slate: stdin is no configuration: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    path = Path(config.slate)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    try:
        fresh.write_bytes(make_slate(config.flow, config.camera))
        os.replace(fresh, path)
    except (EncoderError, OSError) as error:
        print(f"slate {path} cannot be made: {error}", file=sys.stderr)
        fresh.unlink(missing_ok=True)
        return EXIT_NO_SLATE
    return 0


if __name__ == "__main__":
    sys.exit(main())
