"""Asking the engine for something, over its control socket: one JSON line there, one back."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import msgspec

ANSWER_WITHIN_S = 5.0


class Refused(RuntimeError):
    """The engine did not do it. The message says why."""


def ask(control: Path, request: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_WITHIN_S)
            connection.connect(str(control))
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as answers:
                answer = msgspec.json.decode(answers.readline(1 << 20), type=dict[str, Any])
    except TimeoutError:
        raise Refused(f"The engine did not answer within {ANSWER_WITHIN_S:.0f} s; its state is unknown.") from None
    except OSError as error:
        raise Refused(f"The engine cannot be reached ({error.strerror}); start it with: pressbox run") from None
    except msgspec.DecodeError:
        raise Refused("The engine gave an answer that is not understood; is it of another version?") from None
    if "error" in answer:
        raise Refused(str(answer["error"]))
    return answer
