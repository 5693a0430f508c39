"""Cameras of this machine as URLs, to and from.

    pattern?size=1280x720&fps=30      clip:FILE?bitrate=8M      v4l2:/dev/video0?sound=alsa:hw:1      csi:0?rotation=180&encoder=camera
    rtsp://user@host/stream?channel=1#password=secret:NAME&transport=udp&size=1280x720

What stands behind the `?` of a network camera is the camera's own, so ours stands behind a `#`.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

from firmware.model import Camera
from firmware.secrets import check_passphrase
from firmware.urlparts import UrlError, parameters, refuse_unknown, secret_of, whole_number

_WORDS = {  # the model's fields, by what they are in a URL
    "fps": "fps",
    "gop": "gop_ms",
    "exposure": "exposure_us",
    "bitrate": "video_bps",
    "audio": "audio_bps",
    "floor": "floor_bps",
    "preset": "preset",
    "shape": "shape",
    "sound": "sound",
    "encoder": "encoder",
    "focus": "focus",
}
_NUMBERS, _RATES = {"fps", "gop", "exposure", "rotation"}, {"bitrate", "audio", "floor"}
_KEYS = {"size", *_WORDS} - {"focus", "exposure"}
_MORE = {"csi": {"rotation", "focus", "exposure"}, "rtsp": {"transport", "password"}}
_KINDS = ("pattern", "clip", "v4l2", "csi", "argus", "bench")
_PLAIN = "/:@+,~ ()"
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([kKmM]?)")


def is_camera(url: str) -> bool:
    kind, _, rest = url.partition(":")
    kind = kind.split("?")[0].lower()
    return (kind in _KINDS and not rest.startswith("//")) or (kind == "rtsp" and rest.startswith("//"))


def read_camera(url: str, literal_secrets: bool, secret_name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The model's fields, and the password that the URL brought by value."""
    kind = url.partition(":")[0].partition("?")[0].lower()
    place, _, query = url.partition("#" if kind == "rtsp" else "?")
    options = parameters(query, literal_secrets)
    refuse_unknown(options, _KEYS | _MORE.get(kind, set()), f"`{kind}`")
    fields: dict[str, Any] = {"protocol": "camera", "camera": _place(kind, place)}
    secrets: dict[str, str] = {}
    if "size" in options:
        found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", options["size"], re.ASCII)
        if not found:
            raise UrlError("size: write WIDTHxHEIGHT, like size=1280x720")
        fields |= {"width": int(found[1]), "height": int(found[2])}
    if "password" in options:
        fields["secret"], secrets = secret_of("password", options["password"], secret_name, check_passphrase)
    for word, text in options.items():
        if word in _WORDS or word in ("rotation", "transport"):
            value = whole_number(word, text) if word in _NUMBERS else _rate_bps(word, text) if word in _RATES else text
            fields[_WORDS.get(word, word)] = value
    return fields, secrets


def _place(kind: str, place: str) -> str:
    what = unquote(place.partition(":")[2]) if kind != "rtsp" else ""
    if kind == "rtsp":
        return kind + place[len(kind) :]
    if kind == "pattern" and what:
        raise UrlError("pattern: takes no file; write `pattern`, or `clip:FILE` for a film")
    if kind == "clip" and (not what or not what.isprintable()):
        raise UrlError("clip: names no file; write clip:FILE (a `?` in the file's name is written %3F)")
    return f"{kind}:{what}" if what or kind != "pattern" else kind


def show_camera(camera: Camera) -> tuple[str, list[tuple[str, object]]]:
    """The place, with the mark that its parameters stand behind, and those."""
    kind, _, what = camera.camera.partition(":")
    network = kind == "rtsp"
    place = camera.camera if network else f"{kind}:{quote(what, safe=_PLAIN)}" if what else kind
    pairs: list[tuple[str, object]] = [("size", f"{camera.width}x{camera.height}"), ("fps", camera.fps)]
    pairs += [("bitrate", _rate(camera.video_bps)), ("preset", camera.preset), ("audio", _rate(camera.audio_bps)), ("gop", camera.gop_ms)]
    usual = Camera(name="x")
    for word in ("shape", "sound", "encoder", "focus", "exposure", "floor", "rotation", "transport"):
        value = getattr(camera, _WORDS.get(word, word))
        if value != getattr(usual, _WORDS.get(word, word)):
            pairs.append((word, _rate(value) if word in _RATES else value))
    pairs += [("password", f"secret:{camera.secret}")] if camera.secret else []
    return place + ("#" if network else "?"), pairs


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
