"""What is read again, and what is not."""

from __future__ import annotations

import os
from collections.abc import Callable

from appliance.recent import Recent
from firmware.model import parse_flow
from firmware.places import Places
from firmware.store import Store


def flow(name: str, port: int = 5000) -> object:
    return parse_flow({"name": name, "sources": [{"protocol": "udp", "name": "in", "port": port}]})


def reading(places: Places) -> tuple[Store, Recent, Callable[[], int]]:
    """Somebody else's store, ours, and how often ours was opened."""
    places.create()
    store = Store(places.store)
    opened: list[None] = []

    class Counted(Store):
        def list(self):
            opened.append(None)
            return super().list()

    return store, Recent(Counted(places.store)), lambda: len(opened)


def test_who_polls_reads_once_until_somebody_changes_something(places):
    store, recent, opened = reading(places)
    store.create(flow("one"))
    for _ in range(5):
        assert [kept.flow.name for kept in recent.list()] == ["one"]
    assert opened() == 1
    for number in range(20):
        store.set_desired("one", "ACTIVE" if number % 2 else "STANDBY")
        assert recent.list()[0].desired == ("ACTIVE" if number % 2 else "STANDBY")
    store.create(flow("two", 6000))
    assert [kept.flow.name for kept in recent.list()] == ["one", "two"]
    store.delete("one")
    assert [kept.flow.name for kept in recent.list()] == ["two"]
    before = opened()
    store.list()  # another reader changes nothing
    recent.list()
    assert opened() == before


def test_a_list_that_somebody_changes_is_his_own(places):
    store, recent, _ = reading(places)
    store.create(flow("one"))
    recent.list().clear()
    assert len(recent.list()) == 1


def test_a_store_that_is_damaged_or_gone_is_read_and_put_right(places):
    store, recent, opened = reading(places)
    store.create(flow("one"))
    recent.list()
    with open(places.store, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(64))
    assert [kept.flow.name for kept in recent.list()] == ["one"]
    assert opened() == 2
    places.store.unlink()
    assert [kept.flow.name for kept in recent.list()] == ["one"]
    assert opened() == 3
