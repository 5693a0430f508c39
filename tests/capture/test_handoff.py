from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.capture.handoff import HEADER, LARGEST_LIST, MAGIC, HandoffError, Receiver, Sender
from firmware.places import Places

Lists = list[tuple[int, bytes]]


def framed(lists: Lists) -> bytes:
    return b"".join(HEADER.pack(MAGIC, len(payload), capture_ns) + payload for capture_ns, payload in lists)


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=600)), max_size=6), st.lists(st.integers(1, 700), max_size=30))
def test_lists_come_whole_however_the_bytes_arrive(lists: Lists, cuts: list[int]) -> None:
    receiver, data, got = Receiver(), framed(lists), []
    for cut in [*cuts, len(data)]:
        got += receiver.feed(data[:cut])
        data = data[cut:]
    assert got == lists


@pytest.mark.parametrize(
    ("header", "why"),
    [(HEADER.pack(b"PBL2", 188, 0), "starts with b'PBL2'"), (HEADER.pack(MAGIC, LARGEST_LIST + 1, 0), f"{LARGEST_LIST} are allowed")],
)
def test_what_is_not_ours_is_an_error_and_never_waited_for(header: bytes, why: str) -> None:
    with pytest.raises(HandoffError, match=why):
        Receiver().feed(header)


@given(st.binary(min_size=HEADER.size, max_size=200).filter(lambda data: not data.startswith(MAGIC)))
def test_garbage_never_passes(garbage: bytes) -> None:
    with pytest.raises(HandoffError):
        Receiver().feed(garbage)


@pytest.fixture
def path(places: Places) -> Path:
    return places.handoff("show")


def listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.settimeout(5)
    listener.bind(str(path))
    listener.listen()
    return listener


def receive(connection: socket.socket, count: int) -> Lists:
    receiver, got = Receiver(), []
    connection.settimeout(5)
    while len(got) < count:
        data = connection.recv(1 << 16)
        assert data, f"closed after {len(got)} lists"
        got += receiver.feed(data)
    return got


def test_without_a_listener_every_list_is_dropped_and_counted(path: Path) -> None:
    sender = Sender(path, 0.03)
    assert not sender.connect()
    assert not sender.send(1, b"x" * 188)
    assert (sender.dropped, sender.connected) == (1, False)


def test_a_listener_that_comes_later_is_found(path: Path) -> None:
    sender = Sender(path, 0.03)
    sender.connect()
    with listen(path) as listener:
        deadline = time.monotonic() + 5
        while not sender.connect():
            assert time.monotonic() < deadline
        assert not sender.connect(), "only the call that connects says so"
        assert sender.send(7, b"x" * 376)
        connection, _ = listener.accept()
        with connection:
            assert receive(connection, 1) == [(7, b"x" * 376)]
    sender.close()


def test_a_reader_that_stalls_costs_whole_lists_and_at_most_the_patience(path: Path) -> None:
    with listen(path) as listener:
        sender = Sender(path, 0.02)
        assert sender.connect()
        connection, _ = listener.accept()
        payloads = [bytes([number]) * 50_000 for number in range(60)]
        kept = []
        for number, payload in enumerate(payloads):
            started_at = time.monotonic()
            if sender.send(number, payload):
                kept.append((number, payload))
            assert time.monotonic() - started_at < 0.5
        assert sender.dropped == 60 - len(kept) > 30
        with connection:
            receiver, got = Receiver(), []
            connection.settimeout(5)
            while len(got) < len(kept):
                got += receiver.feed(connection.recv(1 << 20))
                if len(got) == len(kept) - 1:
                    sender.send(99, b"z")  # takes the rest of a list that had gone in part along
            assert got[: len(kept)] == kept, "what was sent is whole and in order"
    sender.close()


def test_a_reader_that_goes_away_is_noticed_and_the_next_one_starts_clean(path: Path) -> None:
    with listen(path) as listener:
        sender = Sender(path, 0.02)
        assert sender.connect()
        listener.accept()[0].close()
        while sender.connected:
            sender.send(1, b"a" * 50_000)
        assert sender.dropped
        deadline = time.monotonic() + 5
        while not sender.connect():
            assert time.monotonic() < deadline
        assert sender.send(2, b"b")
        connection, _ = listener.accept()
        with connection:
            assert receive(connection, 1) == [(2, b"b")]
    sender.close()
