"""The secrets that a flow needs, looked at before it runs."""

from __future__ import annotations

from collections.abc import Callable

from firmware.model import Flow, RtpOutput, RtpSource
from firmware.secrets import SecretError, parse_srtp_key


def check_secrets(flow: Flow, value_of: Callable[[str], str]) -> None:
    """That every secret is there, and that those of SRTP ends are keys."""
    values = {name: value_of(name) for name in sorted(flow.secrets)}
    for end in (*flow.sources, *flow.outputs):
        if isinstance(end, RtpSource | RtpOutput) and end.secret:
            try:
                parse_srtp_key(values[end.secret])
            except SecretError as error:
                raise SecretError(f"{end.name}: the secret `{end.secret}` is {error}") from None
