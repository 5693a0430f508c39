"""A URL taken apart: scheme, place and parameters, and what a single parameter may be."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from firmware.model import loopback
from firmware.secrets import SecretError, check_secret_name

SCHEMES = ("srt", "rist", "rtp", "srtp", "udp")
UNICAST_SCHEMES = {"srt": "SRT", "rist": "RIST"}
SECRET_KEYS = {"passphrase", "secret", "key", "password"}
ANYBODY = ["0.0.0.0/0", "::/0"]

_REFERENCES = ("@file:", "@env:", "secret:")
_SECRET = re.compile(r"((?:passphrase|password|secret|token|key)=)(?!secret:|@file:|@env:)[^&]*", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")

Side = Literal["source", "output"]


class UrlError(ValueError):
    """A URL that cannot be. The message names the part and what would be right, and never holds a secret."""


@dataclass(frozen=True, slots=True)
class Parts:
    side: Side
    scheme: str
    at: bool  # `udp://@…`, VLC's way to say: listen
    host: str
    port: int
    options: dict[str, str]

    @classmethod
    def of(cls, url: str, side: Side, literal_secrets: bool) -> Parts:
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in SCHEMES:
            what = f"`{scheme}://` is not carried" if separator and _KEY.fullmatch(scheme) else "not a URL that a flow can use"
            others = ", ".join(f"{other}://" for other in SCHEMES[1:])
            cameras = "`pattern`, `clip:FILE`, `v4l2:/dev/video0`, `csi:0`, `argus:0` or `rtsp://HOST/PATH`"
            raise UrlError(f"{what}; write srt://host:port or one of {others}, or as a source a camera: {cameras}")
        place, _, query = rest.partition("?")
        options = parameters(query, literal_secrets)
        place = place.removesuffix("/")
        at = place.startswith("@")
        host, port = host_and_port("port", scheme, place.removeprefix("@"))
        if at and scheme == "srt":
            raise UrlError("host: `@` has no meaning in srt://; write srt://:port to listen")
        if scheme in UNICAST_SCHEMES and is_multicast(host):
            name = UNICAST_SCHEMES[scheme]
            raise UrlError(f"host: {name} cannot go to a multicast group; use rtp:// or udp://, or one {name} output for each receiver")
        return cls(side, scheme, at, host, port, options)

    def refuse_unknown(self, allowed: Iterable[str]) -> None:
        refuse_unknown(self.options, allowed, f"{self.scheme}:// as {'an output' if self.side == 'output' else 'a source'}")

    def place_to_send_to(self) -> str:
        if self.at:
            raise UrlError(f"`@` means to listen, and an output sends; write {self.scheme}://host:port")
        if not self.host:
            raise UrlError(f"host: an output needs one to send to; write {self.scheme}://host:port")
        return self.host

    def between(self, key: str, low: int, high: int, default: int) -> int:
        number = whole_number(key, self.options[key]) if key in self.options else default
        if not low <= number <= high:
            raise UrlError(f"{key}: {number} is not between {low} and {high}")
        return number

    def one_of(self, key: str, *allowed: str) -> str:
        """The first of `allowed` is what it is when nobody says."""
        word = self.options.get(key, allowed[0])
        if word not in allowed:
            raise UrlError(f"{key}: allowed are {', '.join(allowed)}")
        return word

    def address(self, key: str) -> str:
        return ip_address(key, self.options[key]) if self.options.get(key) else ""

    def secret(self, key: str, name: str, check: Callable[[str], object]) -> tuple[str, dict[str, str]]:
        """The name of the secret that `key` refers to; and its value by that name, where the URL brings it, as `name`."""
        return secret_of(key, self.options.get(key, ""), name, check)

    def listening(self) -> dict[str, object]:
        """Address and allowlist of an end that others come to: this machine alone, unless the URL says who else."""
        address = self.host or self.options.get("adapter", "")
        if self.host and self.options.get("adapter", self.host) != self.host and not is_multicast(self.host):
            raise UrlError("adapter: the host names another address to listen on; give one of the two")
        allow = _allowed(self.options["allow"]) if "allow" in self.options else None
        if not address:
            address = "127.0.0.1" if allow is None else "0.0.0.0"  # noqa: S104 - because the person said who may come
        ip_address("host", address)
        allow = default_allow(address) if allow is None else allow
        if allow is None:
            raise UrlError(f"allow: {address} can be reached from the network; say who may, allow=192.0.2.0/24 or allow=any")
        return {"address": address, "allow": allow}


def parameters(query: str, literal_secrets: bool) -> dict[str, str]:
    """Not `parse_qs`: a `+` in a passphrase is a plus, and a `#!::` stream id is no fragment."""
    options: dict[str, str] = {}
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    for key, equals, value in sorted(pairs, key=lambda pair: pair[0] not in SECRET_KEYS):
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
        if key in SECRET_KEYS and not literal_secrets and not value.startswith(_REFERENCES):
            raise UrlError(f"{key}: others could read it here; write {key}=@file:PATH, {key}=@env:VARIABLE or {key}=secret:NAME")
    return options


def secret_of(key: str, reference: str, name: str, check: Callable[[str], object]) -> tuple[str, dict[str, str]]:
    """The name of the secret that is referred to; and its value by that name, where the reference brings it, as `name`."""
    kind, _, rest = reference.partition(":")
    try:
        if kind == "secret":
            return check_secret_name(rest), {}
        value = _from_file(key, rest) if kind == "@file" else _from_environment(key, rest) if kind == "@env" else reference
        check(value)
    except SecretError as error:
        raise UrlError(f"{key}: {error}") from None
    return name, {name: value}


def refuse_unknown(options: dict[str, str], allowed: Iterable[str], where: str) -> None:
    allowed = sorted(allowed)
    for key in options:
        if key not in allowed:
            raise UrlError(f"{key}: unknown parameter of {where}; allowed are {', '.join(allowed)}")


def host_and_port(key: str, scheme: str, place: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if not colon or (host.startswith("[") != host.endswith("]")):
        raise UrlError(f"{key}: missing; write {scheme}://host:port" if key == "port" else f"{key}: write {key}=HOST:PORT")
    number = whole_number(key, port)
    if not 1 <= number <= 65535:
        raise UrlError(f"{key}: {number} is not between 1 and 65535")
    if host.startswith("["):
        host = ip_address("host" if key == "port" else key, host[1:-1])
    elif host and not _HOST.fullmatch(host):
        raise UrlError("host: neither a name nor an address; an IPv6 address is written in brackets, [2001:db8::7]")
    return host, number


def whole_number(key: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise UrlError(f"{key}: not a whole number")
    return int(text)


def ip_address(key: str, text: str) -> str:
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


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def default_allow(address: str) -> list[str] | None:
    """Who may come to this address when nobody said; None where somebody must say."""
    if is_multicast(address):
        return ANYBODY  # who joins a group cannot know the addresses of its senders
    return loopback() if ipaddress.ip_address(address).is_loopback else None


def redact(url: str) -> str:
    """What was typed, fit for a log: the values of passphrases and keys are gone, references to them stay."""
    return _SECRET.sub(r"\1***", url)


def _from_file(key: str, path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(4096).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise UrlError(f"{key}: the file `{path}` cannot be read: {why}") from None


def _from_environment(key: str, variable: str) -> str:
    try:
        return os.environ[variable]
    except (KeyError, ValueError):
        raise UrlError(f"{key}: the environment has no variable `{variable}`") from None


def _allowed(text: str) -> list[str]:
    if text == "any":
        return ANYBODY
    return [] if text == "none" else text.split(",")
