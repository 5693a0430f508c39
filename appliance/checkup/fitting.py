"""Board, encoder, cameras, sound and the other parts."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.checkup.check import Check
from hw.board import Board

_SMALL_BYTES = 400 << 20


def board_checks(board: Board) -> Iterator[Check]:
    cores = f"{board.cores} cores" if board.cores != 1 else "1 core"
    yield Check(
        "board", "ok", f"{board.name}: {board.processor or 'processor not told'}, {cores}, {board.memory_bytes / 2**30:.1f} GiB of memory."
    )
    if board.memory_bytes and board.memory_bytes < _SMALL_BYTES:
        yield Check("board", "warning", "There is little memory.", "Send one camera at a time, at 720p or less.")
    yield _encoder(board)
    yield from _cameras(board)
    yield from _sound(board)
    if board.fitted.watchdog:
        yield Check("parts", "ok", f"Hardware watchdog: {board.fitted.watchdog}.")
    else:
        yield Check("parts", "note", "There is no hardware watchdog: nobody resets this machine when all of it hangs.")
    if board.fitted.gpio:
        yield Check("parts", "ok", "GPIO: " + ", ".join(f"{chip.name} {chip.label}".strip() for chip in board.fitted.gpio) + ".")


def _encoder(board: Board) -> Check:
    missing = board.kind in ("pi4", "cm4", "zero2", "pi") and board.encoder == "x264"
    words = f"{board.encoder}: {board.encoder_why}. It keeps up with:"
    if missing:
        return Check("encoder", "warning", words, "Use Raspberry Pi's own kernel (linux-image-rpi-v8), which drives the H.264 block.")
    return Check("encoder", "ok", words)


def _cameras(board: Board) -> Iterator[Check]:
    fitted = board.fitted
    for camera in fitted.cameras:
        where = f"USB port {camera.usb_port}" if camera.usb_port else camera.driver or "no driver told"
        yield Check("camera", "ok", f"{camera.name}: v4l2:{camera.path} ({where}).")
    for number, sensor in enumerate(fitted.sensors):
        if sensor.bound:
            kind = "argus" if board.kind == "jetson" else "csi"
            yield Check("camera", "ok", f"Sensor {sensor.name}: {kind}:{number}.")
        else:
            advice = "Switch off, push the ribbon in at both ends, contacts the right way round, and close the latches."
            yield Check("camera", "warning", f"A camera with sensor {sensor.name} is set up, but nothing answers at its connector.", advice)
    if not fitted.cameras and not fitted.sensors:
        yield Check("camera", "note", "No camera is fitted.", "Plug one in; `pattern`, `clip:FILE` and `rtsp://` need none.")


def _sound(board: Board) -> Iterator[Check]:
    for card in board.fitted.sound:
        if card.takes:
            yield Check("sound", "ok", f"{card.name}: alsa:hw:{card.id}.")
    if not any(card.takes for card in board.fitted.sound):
        yield Check("sound", "note", "No sound card with an input is fitted; the stream carries silence, or the sound of its camera.")
