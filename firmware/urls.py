"""The field's URLs, read as the ends of a flow. `urldisplay` writes them, `urlparts` takes them apart.

    srt://host:port?latency=MS&passphrase=REF&pbkeylen=32&streamid=ID&adapter=ADDRESS&bindtodevice=IF&dscp=34
    srt://:port?mode=listener&allow=CIDR,CIDR                 rist://host:port?buffer=MS&secret=REF&aes-type=256&second=HOST:PORT
    rtp://host:port?fec=10x10&ttl=N&adapter=ADDRESS           srtp://host:port?key=REF&fec=5x10,columns,staggered
    udp://@239.0.0.1:port                                     rtp://@:port?fec=on&allow=any
    pattern?size=1280x720&fps=30&bitrate=4M                   clip:FILE?bitrate=8M&preset=veryfast
    v4l2:/dev/video0?sound=alsa:hw:1                          rtsp://user@host/path#password=REF

An end that listens does so for this machine alone until `allow=` says who else may reach it; then it listens on every
address, or on the one that `adapter=` names. A passphrase or key is a reference: a literal one on a command line is there for
every user of the machine to read. Latency is in milliseconds, as in libsrt's own tools; FFmpeg and OBS count microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from firmware import model
from firmware.secrets import check_passphrase, parse_srtp_key
from firmware.urlcamera import is_camera, read_camera
from firmware.urlparts import Parts, UrlError, host_and_port, is_multicast, whole_number

MICROSECONDS_ABOVE_MS = 20_000

_LATENCY_MS, _GATHER_MS, _SMOOTH_MS, _DSCP, _TTL = (10, 15_000), (0, 50), (0, 1000), (0, 63), (1, 255)
_WORDS = {  # the model's words, as a URL writes them
    "stream_id": "streamid",
    "bind_address": "adapter",
    "bind_device": "bindtodevice",
    "interface": "adapter",
    "video_bps": "bitrate",
    "audio_bps": "audio",
    "gop_ms": "gop",
    "floor_bps": "floor",
    "exposure_us": "exposure",
    "width": "size, width",
    "height": "size, height",
    "second_port": "second",
}

E = TypeVar("E", model.Source, model.Output)
Fields = tuple[dict[str, Any], dict[str, str]]
"""Of the end, and the secrets that the URL brought by value."""


@dataclass(frozen=True, slots=True)
class Parsed(Generic[E]):
    """The end, and the passphrases and keys that its URL brought by value, by the names under which the end expects them."""

    end: E
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


def parse_source(url: str, name: str, *, literal_secrets: bool = False, secret_name: str = "") -> Parsed[model.Source]:
    """A source. A passphrase or key given by value goes by `secret_name`, else by `name`; none at all means `clear`."""
    if is_camera(url):
        fields, secrets = read_camera(url, literal_secrets, secret_name or name)
        return Parsed(_source({"name": name, **fields}), secrets)
    parts = Parts.of(url, "source", literal_secrets)
    fields, secrets = {"srt": _srt, "rist": _rist}.get(parts.scheme, _datagrams_in)(parts, secret_name or name)
    return Parsed(_source({"name": name, **fields}), secrets)


def parse_output(url: str, name: str, *, literal_secrets: bool = False, secret_name: str = "") -> Parsed[model.Output]:
    """An output. A passphrase or key given by value goes by `secret_name`, else by `name`; none at all means `clear`."""
    parts = Parts.of(url, "output", literal_secrets)
    fields, secrets = {"srt": _srt, "rist": _rist}.get(parts.scheme, _datagrams_out)(parts, secret_name or name)
    return Parsed(_output({"name": name, **fields}), secrets)


def _srt(parts: Parts, secret_name: str) -> Fields:
    options = parts.options
    mode = options.get("mode", "caller" if parts.host else "listener")
    if mode == "rendezvous":
        raise UrlError("mode=rendezvous: SRT rendezvous is not carried; make one side the listener and the other the caller")
    if mode not in ("caller", "listener"):
        raise UrlError("mode: allowed are caller, listener")
    allowed = {"mode", "latency", "passphrase", "pbkeylen", "streamid", "adapter", *_gathering(parts)}
    parts.refuse_unknown(allowed | ({"bindtodevice", "dscp"} if mode == "caller" else {"allow"}))
    fields: dict[str, Any] = {"protocol": f"srt-{mode}", "port": parts.port, "stream_id": options.get("streamid", "")}
    fields |= _gathered(parts) | {"latency_ms": _latency_ms(parts, "latency", 120)}
    if mode == "caller":
        if not parts.host:
            raise UrlError("host: mode=caller needs one to call; write srt://host:port, or mode=listener")
        fields |= {"host": parts.host, "dscp": parts.between("dscp", *_DSCP, 0), **_from_here(parts)}
    else:
        fields |= parts.listening()
    encryption, secrets = _passphrase(parts, "passphrase", "pbkeylen", {"32": 256, "24": 192, "16": 128}, secret_name)
    return fields | encryption, secrets


def _rist(parts: Parts, secret_name: str) -> Fields:
    shared = {"buffer", "secret", "aes-type", "profile", "second", "adapter"}
    fields: dict[str, Any] = {"protocol": "rist", "port": parts.port}
    if parts.side == "output":
        parts.refuse_unknown(shared | {"bindtodevice", "second-adapter", "second-bindtodevice", "gather", "smooth", "dscp"})
        fields["dscp"] = parts.between("dscp", *_DSCP, 0)
        fields |= {"host": parts.place_to_send_to(), **_from_here(parts), **_second_path(parts), **_gathered(parts), **_smoothed(parts)}
    else:
        parts.refuse_unknown(shared | {"allow"})
        fields |= parts.listening() | {"second_port": parts.between("second", 1, 65535, 0) if "second" in parts.options else 0}
    fields["latency_ms"] = _latency_ms(parts, "buffer", 200)
    fields["profile"] = profile = parts.one_of("profile", "main", "simple")
    if profile == "simple" and "secret" in parts.options:
        raise UrlError("profile: simple has no encryption; write profile=main, or leave secret out")
    if profile == "simple" and parts.side == "source" and "second" in parts.options:
        raise UrlError("second: the simple profile joins no paths; write profile=main, or take two sources and let the flow merge them")
    encryption, secrets = _passphrase(parts, "secret", "aes-type", {"256": 256, "128": 128}, secret_name)
    return fields | encryption, secrets


def _second_path(parts: Parts) -> dict[str, Any]:
    second = parts.options.get("second", "")
    of_second = {"second_bind_address": parts.address("second-adapter"), "second_bind_device": parts.options.get("second-bindtodevice", "")}
    if not second:
        stray = next((key for key in ("second-adapter", "second-bindtodevice") if key in parts.options), None)
        if stray:
            raise UrlError(f"{stray}: there is no second path; add second=HOST:PORT")
        return {}
    host, port = host_and_port("second", "rist", second if ":" in second else f":{second}")
    if is_multicast(host):
        raise UrlError("second: RIST cannot go to a multicast group; write second=HOST:PORT")
    return {"second_host": host, "second_port": port, **of_second}


def _datagrams_in(parts: Parts, secret_name: str) -> Fields:
    rtp = parts.scheme != "udp"
    encrypted = parts.scheme == "srtp"
    parts.refuse_unknown({"adapter", "localaddr", "allow", *({"fec"} if rtp else ()), *({"key"} if encrypted else ())})
    _localaddr(parts)
    fec = parts.one_of("fec", "off", "on") == "on"
    fields = {"protocol": _protocol(parts, fec), "port": parts.port, **parts.listening()}
    if is_multicast(parts.host):
        fields["interface"] = parts.address("adapter")
    key, secrets = _srtp_key(parts, secret_name)
    return fields | key, secrets


def _datagrams_out(parts: Parts, secret_name: str) -> Fields:
    rtp, encrypted = parts.scheme != "udp", parts.scheme == "srtp"
    allowed = {"adapter", "localaddr", "bindtodevice", "ttl", "dscp", "gather", "smooth", *({"fec"} if rtp else ())}
    parts.refuse_unknown(allowed | ({"key"} if encrypted else {"clear"}))
    host = parts.place_to_send_to()
    _localaddr(parts)
    clear = parts.one_of("clear", "no", "yes") == "yes"
    if model.is_public(host) and not clear and not encrypted:
        cure = "srtp:// with key=secret:NAME encrypts" if rtp else "srt:// encrypts"
        raise UrlError(f"clear: {host} is a public address, and this would go there in the clear; {cure}, or write clear=yes on purpose")
    fec = _fec(parts.options["fec"]) if "fec" in parts.options else {}
    key, secrets = _srtp_key(parts, secret_name)
    fields = {"protocol": _protocol(parts, bool(fec)), "host": host, "port": parts.port, "clear": clear, **_from_here(parts)}
    fields |= {"ttl": parts.between("ttl", *_TTL, 16), "dscp": parts.between("dscp", *_DSCP, 0)}
    return fields | fec | key | _gathered(parts) | _smoothed(parts), secrets


def _protocol(parts: Parts, fec: bool) -> str:
    return "rtp-fec" if fec else "udp" if parts.scheme == "udp" else "rtp"


def _fec(text: str) -> dict[str, Any]:
    """The matrix: columns (L) times rows (D) of ST 2022-1."""
    matrix, *words = text.split(",")
    found = re.fullmatch(r"([0-9]{1,2})x([0-9]{1,2})", matrix, re.ASCII)
    if not found or not set(words) <= {"columns", "staggered"}:
        raise UrlError("fec: write COLUMNSxROWS, like fec=10x10; `,columns` behind it sends no row FEC, `,staggered` no aligned columns")
    columns, rows, row_fec = int(found[1]), int(found[2]), "columns" not in words
    fewest = 4 if row_fec else 1
    if not fewest <= columns <= 20 or not 4 <= rows <= 20 or columns * rows > 100:
        raise UrlError(
            f"fec: {columns}x{rows} cannot be; allowed are {fewest} to 20 columns and 4 to 20 rows, 100 packets together"
            + (", and without row FEC fewer columns: fec=2x10,columns" if columns < 4 else "")
        )
    return {"columns": columns, "rows": rows, "row_fec": row_fec, "aligned": "staggered" not in words}


def _gathering(parts: Parts) -> set[str]:
    return {"gather"} if parts.side == "output" else set()


def _gathered(parts: Parts) -> dict[str, Any]:
    return {"gather_ms": parts.between("gather", *_GATHER_MS, 0)} if parts.side == "output" else {}


def _smoothed(parts: Parts) -> dict[str, Any]:
    return {"smooth_ms": parts.between("smooth", *_SMOOTH_MS, 0)}


def _from_here(parts: Parts) -> dict[str, Any]:
    return {"bind_address": parts.options.get("adapter", ""), "bind_device": parts.options.get("bindtodevice", "")}


def _localaddr(parts: Parts) -> None:
    if "localaddr" in parts.options:
        if "adapter" in parts.options:
            raise UrlError("localaddr: means the same as adapter; give one of the two")
        parts.options["adapter"] = parts.options.pop("localaddr")


def _latency_ms(parts: Parts, key: str, default_ms: int) -> int:
    latency = whole_number(key, parts.options.get(key, str(default_ms)))
    if latency > MICROSECONDS_ABOVE_MS:
        raise UrlError(f"{key}={latency}: this looks like microseconds; write milliseconds, {key}={latency // 1000}")
    return parts.between(key, *_LATENCY_MS, default_ms)


def _passphrase(parts: Parts, key: str, size_key: str, sizes: dict[str, int], secret_name: str) -> Fields:
    if key not in parts.options:
        if size_key in parts.options:
            raise UrlError(f"{size_key}: encrypts nothing without a passphrase; add {key}=@file:PATH, or leave {size_key} out")
        return {"clear": True}, {}
    size = parts.options.get(size_key, next(iter(sizes)))
    if size not in sizes:
        words = ", ".join(f"{word} (AES-{bits})" for word, bits in sorted(sizes.items(), key=lambda pair: pair[1]))
        raise UrlError(f"{size_key}: allowed are {words}")
    secret, secrets = parts.secret(key, secret_name, check_passphrase)
    return {"secret": secret, "key_bits": sizes[size]}, secrets


def _srtp_key(parts: Parts, secret_name: str) -> Fields:
    if parts.scheme != "srtp":
        return {}, {}
    if "key" not in parts.options:
        raise UrlError("key: missing; write key=@file:PATH, key=@env:VARIABLE or key=secret:NAME, or rtp:// to send in the clear")
    secret, secrets = parts.secret("key", secret_name, parse_srtp_key)
    return {"secret": secret}, secrets


def _source(fields: dict[str, Any]) -> model.Source:
    return _checked({"name": "x", "sources": [fields]}).sources[0]


def _output(fields: dict[str, Any]) -> model.Output:
    return _checked({"name": "x", "sources": [{"protocol": "camera", "name": "x"}], "outputs": [fields]}).outputs[0]


def _checked(flow: dict[str, Any]) -> model.Flow:
    """The model's own checks, its words turned into those of the URL."""
    try:
        return model.parse_flow(flow)
    except model.FlowError as error:
        key, _, what = re.sub(r"^(?:sources|outputs)\[0\](?:\.|: )?", "", str(error)).partition(": ")
        raise UrlError(f"{_WORDS.get(key, key)}: {what}" if what else key) from None
