"""SRT pairs over real libsrt on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from firmware.net import srt

PASSPHRASE = "abcdefghijklmnopqrstuvwxyz"


class Lab:
    """Opens listeners and callers, and closes them after the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def listener(self, **wish: Any) -> srt.Listener:
        settings: dict[str, Any] = {"address": "127.0.0.1", "port": 0, "latency_ms": 60, "sending": False} | wish
        return self._stack.enter_context(srt.open_listener(**settings))

    def caller(self, to: srt.Listener | tuple[str, int], **wish: Any) -> srt.Socket:
        host, port = to.address if isinstance(to, srt.Listener) else to
        settings: dict[str, Any] = {"latency_ms": 60, "sending": True} | wish
        return self._stack.enter_context(srt.open_caller(host, port, **settings))

    def refusal(self, to: srt.Listener, **wish: Any) -> srt.SrtRefused:
        """How a caller is refused; fails when it is let in."""
        with pytest.raises(srt.SrtRefused) as caught:
            self.caller(to, **wish).wait_connected()
        return caught.value

    def accepted(self, listener: srt.Listener) -> srt.Socket:
        socket = listener.accept(5000)
        assert socket, "no caller came"
        return self._stack.enter_context(socket)

    def pair(self, listener: srt.Listener, **wish: Any) -> tuple[srt.Socket, srt.Socket]:
        """A connected caller and what the listener has of it."""
        caller = self.caller(listener, **wish)
        assert caller.wait_connected(5000)
        return caller, self.accepted(listener)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack)


@pytest.fixture
def passphrase() -> str:
    return PASSPHRASE


@pytest.fixture
def receive() -> Callable[[srt.Socket, int], list[tuple[bytes, int, int]]]:
    """`receive(socket, count)`: that many datagrams, or what came before half a second of silence."""

    def take(socket: srt.Socket, count: int) -> list[tuple[bytes, int, int]]:
        taken: list[tuple[bytes, int, int]] = []
        silent = 0
        while len(taken) < count and silent < 3:
            packet = socket.receive()
            if packet is None:
                silent += 1
            else:
                taken.append(packet)
                silent = 0
        return taken

    return take
