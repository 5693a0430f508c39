"""Blocks of metrics as bytes: what went in comes out, and what was torn or damaged is passed over."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from firmware.metrics.blocks import Part, Table, blocks, pack, whole
from firmware.metrics.measure import NAMES
from firmware.metrics.tail import Tail, read_tail

ENDS = ("path-a", "path-b")


def block(id_: int, rows: list[tuple[float, float]]) -> bytes:
    """Two ends with two columns each; those of the second are twice those of the first."""
    columns = [array("f", column) for column in zip(*rows, strict=True)] or [array("f"), array("f")]
    doubled = [array("f", [2 * value for value in column]) for column in columns]
    return pack(id_, 60 * id_, Table(list(range(len(rows))), [Part("source", end, 0) for end in ENDS], "f"), [columns, doubled])


SMALL = st.integers(-1000, 1000).map(float)
ROWS = st.lists(st.tuples(SMALL, SMALL), max_size=70)


@given(st.lists(ROWS, max_size=5))
def test_what_went_in_comes_out(minutes):
    data = b"".join(block(number, rows) for number, rows in enumerate(minutes, 1))
    found = list(blocks(data))
    assert [one.id for one in found] == list(range(1, len(minutes) + 1))
    assert whole(data) == len(data)
    for one, rows in zip(found, minutes, strict=True):
        for end, factor in zip(ENDS, (1, 2), strict=True):
            (part,) = one.part("source", end)
            for column in range(2):
                assert list(one.column(part, column)) == [factor * row[column] for row in rows]


@given(st.data(), st.lists(ROWS, min_size=1, max_size=4))
def test_one_damaged_byte_costs_one_block(data, minutes):
    packed = [block(number, rows) for number, rows in enumerate(minutes, 1)]
    victim = data.draw(st.integers(0, len(packed) - 1))
    at = data.draw(st.integers(0, len(packed[victim]) - 1))
    damaged = bytearray(packed[victim])
    damaged[at] ^= data.draw(st.integers(1, 255))
    packed[victim] = bytes(damaged)
    assert [one.id for one in blocks(b"".join(packed))] == [number + 1 for number in range(len(minutes)) if number != victim]


@given(st.data(), ROWS)
def test_a_torn_end_is_cut_off(data, rows):
    first, second = block(1, rows), block(2, rows)
    torn = first + second[: data.draw(st.integers(0, len(second) - 1))]
    assert whole(torn) == len(first)
    assert [one.id for one in blocks(torn)] == [1]


@given(st.binary(max_size=300))
def test_anything_else_is_no_block(garbage):
    assert list(blocks(garbage)) == []
    assert whole(garbage) == 0


@given(st.integers(0, 4), st.integers(0, 11 + 4 * sum(len(NAMES[kind]) for kind in ("flow", "source"))), st.integers(1, 255))
def test_a_tail_that_was_damaged_holds_what_came_before(tmp_path_factory, row, place, mask):
    path = tmp_path_factory.mktemp("run") / "studio.metrics"
    tail = Tail(path, [("flow", ""), ("source", "path-a")])
    for second in range(5):
        tail.add(second, [(("flow", ""), {"BitRate": float(second)}), (("source", "path-a"), {})])
    damaged = bytearray(path.read_bytes())
    head = damaged.index(b"\n") + 1
    damaged[head + row * (len(damaged) - head) // 5 + place] ^= mask
    path.write_bytes(damaged)
    found = read_tail(path)
    assert found
    assert [one.second for one in found.rows] == list(range(row))


@given(st.binary(max_size=200))
def test_a_tail_that_is_none_is_none(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("run") / "studio.metrics"
    path.write_bytes(garbage)
    assert read_tail(path) is None
