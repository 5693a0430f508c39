"""Cameras of this machine as URLs, to and from: `pattern?size=1280x720&fps=30`, `clip:FILE?bitrate=8M`."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from firmware.model import Camera
from firmware.urlparts import UrlError, parameters, refuse_unknown, whole_number

_KEYS = {"size", "fps", "bitrate", "preset", "audio", "gop", "shape"}
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([kKmM]?)")


def is_camera(url: str) -> bool:
    kind, _, rest = url.partition(":")
    return kind.split("?")[0].lower() in ("pattern", "clip") and not rest.startswith("//")


def read_camera(url: str) -> dict[str, object]:
    place, _, query = url.partition("?")
    options = parameters(query, False)
    kind, _, file = place.partition(":")
    kind = kind.lower()
    refuse_unknown(options, _KEYS, f"`{kind}`")
    if kind == "pattern" and file:
        raise UrlError("pattern: takes no file; write `pattern`, or `clip:FILE` for a film")
    if kind == "clip" and (not file or not unquote(file).isprintable()):
        raise UrlError("clip: names no file; write clip:FILE (a `?` in the file's name is written %3F)")
    fields: dict[str, object] = {"protocol": "camera", "camera": f"clip:{unquote(file)}" if kind == "clip" else "pattern"}
    if "size" in options:
        found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", options["size"], re.ASCII)
        if not found:
            raise UrlError("size: write WIDTHxHEIGHT, like size=1280x720")
        fields |= {"width": int(found[1]), "height": int(found[2])}
    fields |= {key: whole_number(word, options[word]) for word, key in (("fps", "fps"), ("gop", "gop_ms")) if word in options}
    fields |= {key: _rate_bps(word, options[word]) for word, key in (("bitrate", "video_bps"), ("audio", "audio_bps")) if word in options}
    return fields | {key: options[key] for key in ("preset", "shape") if key in options}


def show_camera(camera: Camera) -> tuple[str, list[tuple[str, object]]]:
    """The place, and the parameters behind it."""
    kind, _, file = camera.camera.partition(":")
    place = f"{kind}:{quote(file, safe='/:@+,~ ()')}" if file else kind
    pairs: list[tuple[str, object]] = [("size", f"{camera.width}x{camera.height}"), ("fps", camera.fps)]
    pairs += [("bitrate", _rate(camera.video_bps)), ("preset", camera.preset), ("audio", _rate(camera.audio_bps)), ("gop", camera.gop_ms)]
    pairs += [("shape", camera.shape)] if camera.shape != "constant" else []
    return place, pairs


def _rate_bps(key: str, text: str) -> int:
    found = _RATE.fullmatch(text)
    if not found:
        raise UrlError(f"{key}: write bits a second, like {key}=4M, {key}=2.5M or {key}=800k")
    return round(float(found[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2].lower()])


def _rate(bps: int) -> str:
    for scale, letter in ((1_000_000, "M"), (1_000, "k")):
        if bps % scale == 0:
            return f"{bps // scale}{letter}"
    return str(bps)
