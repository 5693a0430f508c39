"""The canonical URL of an end: what a person reads, and what `urls` reads back as the same end."""

from __future__ import annotations

from urllib.parse import quote

from firmware import model
from firmware.urlcamera import show_camera
from firmware.urlparts import ANYBODY, bracketed, default_allow

Pairs = list[tuple[str, object]]


def display(end: model.Source | model.Output) -> str:
    """Of a secret it holds the name, never the value. Whether an output is enabled is no part of its URL."""
    if isinstance(end, model.Camera):
        place, pairs = show_camera(end)
        return place + _query(pairs).removeprefix("?")
    scheme, pairs = _scheme(end)
    if isinstance(end, model.SrtListener | model.Datagram | model.RistSource):
        host = end.address
        pairs += [("adapter", end.interface)] if isinstance(end, model.Datagram) else []
        pairs += [("allow", "any" if end.allow == ANYBODY else ",".join(end.allow) or "none")] if end.allow != default_allow(host) else []
    else:
        host = end.host
        pairs += [("adapter", end.bind_address), ("bindtodevice", end.bind_device), *_sending(end)]
    pairs += [(name, getattr(end, f"{name}_ms", 0) or "") for name in ("gather", "smooth")]
    return f"{scheme}://{bracketed(host)}:{end.port}{_query(pairs)}"


def _scheme(end: model.Srt | model.Rist | model.Datagram | model.DatagramOutput) -> tuple[str, Pairs]:
    """The scheme, and what only ends of that kind have."""
    if isinstance(end, model.Srt):
        pairs: Pairs = [("mode", "caller" if isinstance(end, model.SrtCaller) else "listener"), ("latency", end.latency_ms)]
        pairs += [("passphrase", f"secret:{end.secret}"), ("pbkeylen", end.key_bits // 8)] if end.secret else []
        return "srt", [*pairs, ("streamid", end.stream_id)]
    if isinstance(end, model.Rist):
        pairs = [("buffer", end.latency_ms)] + ([("profile", end.profile)] if end.profile != "main" else [])
        pairs += [("secret", f"secret:{end.secret}"), ("aes-type", end.key_bits)] if end.secret else []
        return "rist", pairs + _second(end)
    pairs = [("fec", _fec(end))] if isinstance(end, model.RtpFecSource | model.RtpFecOutput) else []
    secret = getattr(end, "secret", "")
    if secret:
        return "srtp", [("key", f"secret:{secret}"), *pairs]
    return str(end.__struct_config__.tag).partition("-")[0], pairs


def _second(end: model.Rist) -> Pairs:
    if not end.second_port:
        return []
    if not isinstance(end, model.RistOutput):
        return [("second", end.second_port)]
    place = f"{bracketed(end.second_host)}:{end.second_port}" if end.second_host else end.second_port
    return [("second", place), ("second-adapter", end.second_bind_address), ("second-bindtodevice", end.second_bind_device)]


def _fec(end: model.RtpFecSource | model.RtpFecOutput) -> str:
    if isinstance(end, model.RtpFecSource):
        return "on"
    return f"{end.columns}x{end.rows}" + ",columns" * (not end.row_fec) + ",staggered" * (not end.aligned)


def _sending(end: model.SrtCaller | model.DatagramOutput | model.RistOutput) -> Pairs:
    if isinstance(end, model.DatagramOutput):
        return [("ttl", end.ttl), ("dscp", end.dscp or ""), ("clear", "yes" if end.clear else "")]
    return [("dscp", end.dscp or "")] if isinstance(end, model.SrtCaller | model.RistOutput) else []


def _query(pairs: Pairs) -> str:
    written = [f"{key}={quote(str(value), safe='!,:/@._~[]-')}" for key, value in pairs if value != ""]
    return "?" * bool(written) + "&".join(written)
