"""What a capture tells, in words that the page and the terminal share."""

from __future__ import annotations

from firmware.capture.sense import BLACK_AFTER_NS, FROZEN_AFTER_NS
from firmware.status import CaptureStatus
from hw.encoder import INSTEAD

SECOND_NS = 1_000_000_000


def worries(capture: CaptureStatus) -> tuple[str, ...]:
    """What somebody should know of a camera that gives pictures, or does not. The worst first."""
    found = [capture.message]
    if capture.picture == "black":
        found.append(f"the picture has been black for {BLACK_AFTER_NS // SECOND_NS} s or more: is the lens covered, the camera off?")
    if capture.picture == "frozen":
        found.append(f"nothing in the picture has moved for {FROZEN_AFTER_NS // SECOND_NS} s or more: does the camera hang?")
    if capture.sound_message:
        found.append(capture.sound_message)
    if capture.sound == "silent":
        found.append("there has been no sound for a while")
    if capture.encoder_why.startswith(INSTEAD):
        found.append(f"encoded in software {capture.encoder_why}")
    if capture.spared:
        found.append(f"less is asked of the board: {capture.spared}")
    return tuple(word for word in found if word)


def about(capture: CaptureStatus) -> str:
    """Which encoder runs and why that one; why the bitrate is what it is, where that is not what was asked for; how loud it is."""
    if not capture.encoder:
        return capture.message
    parts = [f"encoded by {capture.encoder}" + (f" ({capture.encoder_why})" if capture.encoder_why else ""), capture.why_bitrate]
    if capture.levels_db:
        parts.append("sound peaks at " + " and ".join(f"{level:.0f}" for level in capture.levels_db) + " dBFS")
    return "; ".join(part for part in parts if part)
