"""The field's URLs, to and from the ends of a flow.

    srt://host:port?mode=caller&latency=MS&passphrase=REF&pbkeylen=32&streamid=ID&adapter=ADDRESS&bindtodevice=IF
    srt://:port?mode=listener&allow=CIDR,CIDR           rtp://host:port?ttl=N&localaddr=ADDRESS    udp://@239.0.0.1:port
    pattern?size=1280x720&fps=30&bitrate=4M             clip:FILE?bitrate=8M&preset=veryfast

An end that listens does so for this machine alone until `allow=` says who else may reach it; then it listens on every
address, or on the one that `adapter=` names. A passphrase is a reference: a literal one on a command line is there for
every user of the machine to read. Latency is in milliseconds, as in libsrt's own tools; FFmpeg and OBS count microseconds.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

from firmware import model
from firmware.secrets import SecretError, check_passphrase, check_secret_name

SCHEMES = ("srt", "rtp", "udp")
MICROSECONDS_ABOVE_MS = 20_000
ANYBODY = ["0.0.0.0/0", "::/0"]

_CAMERA_KEYS = {"size", "fps", "bitrate", "preset", "audio", "gop", "shape"}
_SRT_KEYS = {"mode", "latency", "passphrase", "pbkeylen", "streamid", "adapter"}
_SECRET = re.compile(r"((?:passphrase|secret|token)=)(?!secret:|@file:|@env:)[^&]*", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([kKmM]?)")
_WORDS = {  # the model's words, as a URL writes them
    "latency_ms": "latency",
    "stream_id": "streamid",
    "key_bits": "pbkeylen",
    "bind_address": "adapter",
    "bind_device": "bindtodevice",
    "interface": "adapter",
    "video_bps": "bitrate",
    "audio_bps": "audio",
    "gop_ms": "gop",
    "width": "size, width",
    "height": "size, height",
    "secret": "passphrase",
}

E = TypeVar("E", model.Source, model.Output)


class UrlError(ValueError):
    """A URL that cannot be. The message names the part and what would be right, and never holds a secret."""


@dataclass(frozen=True, slots=True)
class Parsed(Generic[E]):
    """The end, and the passphrases that its URL brought by value, by the names under which the end expects them."""

    end: E
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


def parse_source(url: str, name: str, *, literal_secrets: bool = False, secret_name: str = "") -> Parsed[model.Source]:
    """A source. A passphrase given by value goes by `secret_name`, else by `name`; none at all means `clear`."""
    kind, _, rest = url.partition(":")
    if kind.split("?")[0].lower() in ("pattern", "clip") and not rest.startswith("//"):
        return Parsed(_source({"name": name, **_camera(url)}))
    parts = _Parts.of(url, literal_secrets)
    fields, secrets = _srt(parts, secret_name or name) if parts.scheme == "srt" else (_listening_datagrams(parts), {})
    return Parsed(_source({"name": name, **fields}), secrets)


def parse_output(url: str, name: str, *, literal_secrets: bool = False, secret_name: str = "") -> Parsed[model.Output]:
    """An output. A passphrase given by value goes by `secret_name`, else by `name`; none at all means `clear`."""
    parts = _Parts.of(url, literal_secrets)
    fields, secrets = _srt(parts, secret_name or name) if parts.scheme == "srt" else (_sent_datagrams(parts), {})
    return Parsed(_output({"name": name, **fields}), secrets)


def redact(url: str) -> str:
    """What was typed, fit for a log: the values of passphrases are gone, references to them stay."""
    return _SECRET.sub(r"\1***", url)


def display(end: model.Source | model.Output) -> str:
    """The canonical URL of an end; parsing it gives the end again. It holds the secret's name, never its value."""
    if isinstance(end, model.Camera):
        return _display_camera(end)
    pairs: list[tuple[str, object]] = []
    if isinstance(end, model.Srt):
        pairs += [("mode", "caller" if isinstance(end, model.SrtCaller) else "listener"), ("latency", end.latency_ms)]
        pairs += [("passphrase", f"secret:{end.secret}"), ("pbkeylen", end.key_bits // 8)] if end.secret else []
        pairs += [("streamid", end.stream_id)]
    if isinstance(end, model.SrtListener | model.Datagram | model.RistSource):
        host = end.address
        pairs += [("adapter", end.interface)] if isinstance(end, model.Datagram) else []
        pairs += [("allow", "any" if end.allow == ANYBODY else ",".join(end.allow) or "none")] if end.allow != _default_allow(host) else []
    else:
        host = end.host
        pairs += [("adapter", end.bind_address), ("bindtodevice", end.bind_device)]
        pairs += [("ttl", end.ttl)] if isinstance(end, model.DatagramOutput) else []
    scheme = str(end.__struct_config__.tag).partition("-")[0]
    return f"{scheme}://{bracketed(host)}:{end.port}{_query(pairs)}"


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    at: bool  # `udp://@…`, VLC's way to say: listen
    host: str
    port: int
    options: dict[str, str]

    @classmethod
    def of(cls, url: str, literal_secrets: bool) -> _Parts:
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in SCHEMES:
            what = f"`{scheme}://` is not carried" if separator and _KEY.fullmatch(scheme) else "not a URL that a flow can use"
            raise UrlError(f"{what}; write srt://host:port, rtp://host:port or udp://host:port, or as a source `pattern` or `clip:FILE`")
        place, _, query = rest.partition("?")
        options = _options(query, literal_secrets)
        place = place.removesuffix("/")
        at = place.startswith("@")
        host, port = _host_and_port(scheme, place.removeprefix("@"))
        if at and scheme == "srt":
            raise UrlError("host: `@` has no meaning in srt://; write srt://:port to listen")
        if scheme == "srt" and is_multicast(host):
            raise UrlError("host: SRT cannot go to a multicast group; use rtp:// or udp://, or one SRT output for each receiver")
        return cls(scheme, at, host, port, options)

    def refuse_unknown(self, allowed: Iterable[str]) -> None:
        _refuse_unknown(self.options, allowed, f"{self.scheme}://")


def _options(query: str, literal_secrets: bool) -> dict[str, str]:
    """The parameters. Not `parse_qs`: a `+` in a passphrase is a plus, and a `#!::` stream id is no fragment."""
    options: dict[str, str] = {}
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    for key, equals, value in sorted(pairs, key=lambda pair: pair[0] != "passphrase"):
        if not equals or not _KEY.fullmatch(key):
            raise UrlError("a parameter is not of the form key=value; a `&` inside a value is written %26")
        if key in options:
            raise UrlError(f"{key}: given twice; give it once")
        try:
            options[key] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise UrlError(f"{key}: its %-escapes are not UTF-8") from None
        if not options[key].isprintable():
            raise UrlError(f"{key}: holds a character that cannot be printed; take it out")
        if key == "passphrase" and not literal_secrets and not value.startswith(("@file:", "@env:", "secret:")):
            raise UrlError(
                "passphrase: others could read it here; write passphrase=@file:PATH, passphrase=@env:VARIABLE or passphrase=secret:NAME"
            )
    return options


def _refuse_unknown(options: dict[str, str], allowed: Iterable[str], where: str) -> None:
    allowed = sorted(allowed)
    for key in options:
        if key not in allowed:
            raise UrlError(f"{key}: unknown parameter of {where}; allowed are {', '.join(allowed)}")


def _host_and_port(scheme: str, place: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if not colon or (host.startswith("[") != host.endswith("]")):
        raise UrlError(f"port: missing; write {scheme}://host:port")
    number = _number("port", port)
    if not 1 <= number <= 65535:
        raise UrlError(f"port: {number} is not between 1 and 65535")
    if host.startswith("["):
        host = _address("host", host[1:-1])
    elif host and not _HOST.fullmatch(host):
        raise UrlError("host: neither a name nor an address; an IPv6 address is written in brackets, [2001:db8::7]")
    return host, number


def _number(key: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise UrlError(f"{key}: not a whole number")
    return int(text)


def _address(key: str, text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise UrlError(f"{key}: no IP address; write one like 192.0.2.7 or [2001:db8::7]") from None
    return text


def is_multicast(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_multicast
    except ValueError:
        return False


def _default_allow(address: str) -> list[str] | None:
    """Who may come to this address when nobody said; None where somebody must say."""
    if is_multicast(address):
        return ANYBODY  # who joins a group cannot know the addresses of its senders
    return model.loopback() if ipaddress.ip_address(address).is_loopback else None


def _srt(parts: _Parts, secret_name: str) -> tuple[dict[str, Any], dict[str, str]]:
    options = parts.options
    mode = options.get("mode", "caller" if parts.host else "listener")
    if mode == "rendezvous":
        raise UrlError("mode=rendezvous: SRT rendezvous is not carried; make one side the listener and the other the caller")
    if mode not in ("caller", "listener"):
        raise UrlError("mode: allowed are caller, listener")
    parts.refuse_unknown(_SRT_KEYS | ({"bindtodevice"} if mode == "caller" else {"allow"}))
    fields: dict[str, Any] = {"protocol": f"srt-{mode}", "port": parts.port, "stream_id": options.get("streamid", "")}
    if "latency" in options:
        fields["latency_ms"] = _latency_ms(options["latency"])
    if mode == "caller":
        if not parts.host:
            raise UrlError("host: mode=caller needs one to call; write srt://host:port, or mode=listener")
        fields |= {"host": parts.host, "bind_address": options.get("adapter", ""), "bind_device": options.get("bindtodevice", "")}
    else:
        fields |= _listening(parts)
    encryption, secrets = _encryption(options, secret_name)
    return fields | encryption, secrets


def _latency_ms(text: str) -> int:
    latency = _number("latency", text)
    if latency > MICROSECONDS_ABOVE_MS:
        raise UrlError(f"latency={latency}: this looks like microseconds; write milliseconds, latency={latency // 1000}")
    return latency


def _encryption(options: dict[str, str], secret_name: str) -> tuple[dict[str, Any], dict[str, str]]:
    reference = options.get("passphrase")
    if reference is None:
        if "pbkeylen" in options:
            raise UrlError("pbkeylen: encrypts nothing without a passphrase; add passphrase=@file:PATH, or leave pbkeylen out")
        return {"clear": True}, {}
    key_bytes = _number("pbkeylen", options.get("pbkeylen", "32"))
    if key_bytes not in (16, 24, 32):
        raise UrlError("pbkeylen: allowed are 16, 24, 32 (AES-128, AES-192, AES-256)")
    kind, _, rest = reference.partition(":")
    try:
        if kind == "secret":
            return {"secret": check_secret_name(rest), "key_bits": key_bytes * 8}, {}
        value = _from_file(rest) if kind == "@file" else _from_environment(rest) if kind == "@env" else reference
        check_passphrase(value)
    except SecretError as error:
        raise UrlError(f"passphrase: {error}") from None
    return {"secret": secret_name, "key_bits": key_bytes * 8}, {secret_name: value}


def _from_file(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise UrlError(f"passphrase: the file `{path}` cannot be read: {why}") from None


def _from_environment(variable: str) -> str:
    try:
        return os.environ[variable]
    except (KeyError, ValueError):
        raise UrlError(f"passphrase: the environment has no variable `{variable}`") from None


def _listening(parts: _Parts) -> dict[str, Any]:
    """Address and allowlist of an end that others come to: this machine alone, unless the URL says who else."""
    address = parts.host or parts.options.get("adapter", "")
    if parts.host and parts.options.get("adapter", parts.host) != parts.host and not is_multicast(parts.host):
        raise UrlError("adapter: the host names another address to listen on; give one of the two")
    allow = _allowed(parts.options["allow"]) if "allow" in parts.options else None
    if not address:
        address = "127.0.0.1" if allow is None else "0.0.0.0"  # noqa: S104 - because the person said who may come
    _address("host", address)
    allow = _default_allow(address) if allow is None else allow
    if allow is None:
        raise UrlError(f"allow: {address} can be reached from the network; say who may, allow=192.0.2.0/24 or allow=any")
    return {"address": address, "allow": allow}


def _allowed(text: str) -> list[str]:
    if text == "any":
        return ANYBODY
    return [] if text == "none" else text.split(",")


def _listening_datagrams(parts: _Parts) -> dict[str, Any]:
    parts.refuse_unknown({"adapter", "localaddr", "allow"})
    if "localaddr" in parts.options:
        if "adapter" in parts.options:
            raise UrlError("localaddr: means the same as adapter; give one of the two")
        parts.options["adapter"] = parts.options.pop("localaddr")
    fields = {"protocol": parts.scheme, "port": parts.port, **_listening(parts)}
    if is_multicast(parts.host):
        fields["interface"] = _address("adapter", parts.options["adapter"]) if parts.options.get("adapter") else ""
    return fields


def _sent_datagrams(parts: _Parts) -> dict[str, Any]:
    parts.refuse_unknown({"adapter", "localaddr", "bindtodevice", "ttl"})
    options = parts.options
    if parts.at:
        raise UrlError(f"`@` means to listen, and an output sends; write {parts.scheme}://host:port")
    if not parts.host:
        raise UrlError(f"host: an output needs one to send to; write {parts.scheme}://host:port")
    if "localaddr" in options and "adapter" in options:
        raise UrlError("localaddr: means the same as adapter; give one of the two")
    fields: dict[str, Any] = {"protocol": parts.scheme, "host": parts.host, "port": parts.port}
    fields |= {"bind_address": options.get("adapter", options.get("localaddr", "")), "bind_device": options.get("bindtodevice", "")}
    return fields | ({"ttl": _number("ttl", options["ttl"])} if "ttl" in options else {})


def _camera(url: str) -> dict[str, Any]:
    place, _, query = url.partition("?")
    options = _options(query, False)
    kind, _, file = place.partition(":")
    kind = kind.lower()
    _refuse_unknown(options, _CAMERA_KEYS, f"`{kind}`")
    if kind == "pattern" and file:
        raise UrlError("pattern: takes no file; write `pattern`, or `clip:FILE` for a film")
    if kind == "clip" and (not file or not unquote(file).isprintable()):
        raise UrlError("clip: names no file; write clip:FILE (a `?` in the file's name is written %3F)")
    fields: dict[str, Any] = {"protocol": "camera", "camera": f"clip:{unquote(file)}" if kind == "clip" else "pattern"}
    if "size" in options:
        found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", options["size"], re.ASCII)
        if not found:
            raise UrlError("size: write WIDTHxHEIGHT, like size=1280x720")
        fields |= {"width": int(found[1]), "height": int(found[2])}
    fields |= {key: _number(word, options[word]) for word, key in (("fps", "fps"), ("gop", "gop_ms")) if word in options}
    fields |= {key: _rate_bps(word, options[word]) for word, key in (("bitrate", "video_bps"), ("audio", "audio_bps")) if word in options}
    return fields | {key: options[key] for key in ("preset", "shape") if key in options}


def _rate_bps(key: str, text: str) -> int:
    found = _RATE.fullmatch(text)
    if not found:
        raise UrlError(f"{key}: write bits a second, like {key}=4M, {key}=2.5M or {key}=800k")
    return round(float(found[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2].lower()])


def _display_camera(camera: model.Camera) -> str:
    kind, _, file = camera.camera.partition(":")
    place = f"{kind}:{quote(file, safe='/:@+,~ ()')}" if file else kind
    pairs: list[tuple[str, object]] = [("size", f"{camera.width}x{camera.height}"), ("fps", camera.fps)]
    pairs += [("bitrate", _rate(camera.video_bps)), ("preset", camera.preset), ("audio", _rate(camera.audio_bps)), ("gop", camera.gop_ms)]
    pairs += [("shape", camera.shape)] if camera.shape != "constant" else []
    return place + _query(pairs)


def _rate(bps: int) -> str:
    for scale, letter in ((1_000_000, "M"), (1_000, "k")):
        if bps % scale == 0:
            return f"{bps // scale}{letter}"
    return str(bps)


def _query(pairs: list[tuple[str, object]]) -> str:
    return "?" * bool(pairs) + "&".join(f"{key}={quote(str(value), safe='!,:/@._~-')}" for key, value in pairs if value != "")


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
