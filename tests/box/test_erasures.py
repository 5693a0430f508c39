"""The proofs of the FEC, in short; `scripts/prove fec-ideal burst fec-pair-simulated` runs them in full."""

from __future__ import annotations

from argparse import Namespace

from tests.lab.peeling import ideal, protected

from .erasures import MATRICES, Matrix, by_chance, fec_ideal, fec_pair_simulated, wire


def test_ours_repairs_what_the_ideal_decoder_repairs():
    figures = fec_ideal(Namespace(packets=2000, seed=3))
    assert figures["holds"], figures
    rows = figures["lost_left_by_the_ideal_left_by_ours"]
    assert len(rows) == len(MATRICES) == 12
    assert all(lost > left for row in rows.values() for lost, left, _ in (row["5 %"], row["10 %"]))


def test_a_pair_loses_no_more_than_both_paths_by_chance():
    figures = fec_pair_simulated(Namespace(packets=60_000, seed=2))
    assert figures["holds"], figures
    assert all(10 < left < 200 for left in figures["left_by_fec"])


def test_the_ideal_decoder_goes_on_to_the_end():
    """Rows 0 to 3 and 4 to 7, columns of two: one repair after another, and a square that cannot be repaired."""
    rows, columns = [range(0, 4), range(4, 8)], [range(n, 8, 4) for n in range(4)]
    assert ideal({0, 4, 5}, rows + columns) == {0, 4, 5}
    assert ideal({0, 1, 4, 5}, rows + columns) == set()
    assert ideal({0, 1, 4, 5, 7}, rows + columns) == {7}
    assert ideal({1, 5}, rows) == {1, 5}


def test_what_an_fec_packet_protects_is_read_across_the_wrap():
    last = [one for one in wire(Matrix(5, 5), 65_600) if one.stream == 4][-1]
    assert protected(last.datagram, last.number) == range(65_595, 65_600)


def test_what_two_paths_lose_by_chance():
    every_tenth = set(range(0, 10_000, 10))
    assert by_chance(every_tenth, every_tenth, 10_000, 10_000) == (1000.0, 1000)
    assert by_chance(every_tenth, {n + 1 for n in every_tenth}, 10_000, 10_000) == (0.0, 0)
