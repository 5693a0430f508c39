"""The lines that play or fetch an output with the field's own tools, exact enough to paste into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import quote

from firmware import model
from firmware.urlparts import bracketed, is_multicast


def player_lines(output: model.Output, secret_file: Path | None = None, host: str = "") -> dict[str, str]:
    """One line a tool, by the tool's name; a tool that cannot take this output is left out.

    `host` is where the player finds a listening output, when that is not this machine. The passphrase is never in the
    line: the shell reads it from `secret_file` when the line runs.
    """
    if isinstance(output, model.Srt):
        return _srt_lines(output, secret_file, host)
    if isinstance(output, model.Rist) or (isinstance(output, model.RtpOutput) and output.secret):
        return {}  # RIST is called by us, and no player knows AES-256-GCM for SRTP
    group = is_multicast(output.host)
    place = f"{bracketed(output.host)}:{output.port}" if group else f":{output.port}"
    scheme = "rtp" if isinstance(output, model.RtpOutput) else "udp"
    local = bracketed(output.host)
    lines = {
        "ffplay": f'ffplay -fflags nobuffer -flags low_delay "{scheme}://{local}:{output.port}"',
        "VLC": f'vlc "{scheme}://@{place}"',
    }
    if scheme == "udp":
        lines["srt-live-transmit"] = f'srt-live-transmit "udp://{"@" if group else ""}{place}" file://con > {shlex.quote(output.name)}.ts'
    return lines


def _srt_lines(output: model.SrtListenerOutput | model.SrtCallerOutput, secret_file: Path | None, host: str) -> dict[str, str]:
    """A listening output is called; a calling one has to be listened for, which VLC 3 cannot."""
    called = isinstance(output, model.SrtListenerOutput)
    place = f"{bracketed(host or _reachable(output))}:{output.port}"
    stream_id = f"&streamid={quote(output.stream_id, safe='!,=/.')}" if output.stream_id and called else ""
    phrase = f"&passphrase=$(cat {shlex.quote(str(secret_file or output.secret))})" if output.secret else ""
    key = output.key_bits // 8
    ours = f"?mode={'caller' if called else 'listener'}&latency="
    rest = f"{phrase}{f'&pbkeylen={key}' if phrase else ''}{stream_id}"
    lines = {
        "ffplay": f'ffplay -fflags nobuffer -flags low_delay "srt://{place}{ours}{output.latency_ms * 1000}{rest}"',
        "VLC": f'vlc "srt://{place}?latency={output.latency_ms}{phrase}{f"&key-length={key}" if phrase else ""}{stream_id}"',
        "srt-live-transmit": f'srt-live-transmit "srt://{place}{ours}{output.latency_ms}{rest}" file://con > {shlex.quote(output.name)}.ts',
    }
    if not called:
        del lines["VLC"]
    return lines


def _reachable(output: model.SrtListenerOutput | model.SrtCallerOutput) -> str:
    if isinstance(output, model.SrtCallerOutput):
        return output.host
    unspecified = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    return unspecified.get(output.address, output.address)
