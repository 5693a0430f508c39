"""The merge of two numbered copies, case by case: what comes out is what at least one leg brought, in order, once."""

from __future__ import annotations

import itertools
import random
import statistics
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.wire.merge import MAX_AHEAD, Merge
from firmware.wire.ts import NULL_PACKET, pcr_of, write_pcr

from .streams import MS, Connections, Network, S, gap_ns, run, stream, union

GAP = gap_ns()


def merged(datagrams, networks, window_ms=500, **options):
    merge = Merge(window_ms * MS, len(networks), **options)
    legs = [network.arrivals(datagrams, GAP) for network in networks]
    return merge, legs, run(merge, legs)


def first_numbers(networks):
    return [network.first_number for network in networks]


@pytest.mark.parametrize("skew_ms", [0, 50, 450])
@pytest.mark.parametrize("late_leg", [0, 1])
def test_clean_pair_is_exact_whichever_leg_is_late(skew_ms, late_leg):
    sent = stream(5)
    networks = [Network(first_number=100), Network(first_number=70_000)]
    networks[late_leg].delay_ms = skew_ms
    merge, _, result = merged(sent, networks)
    assert result.out == sent
    assert merge.lost == 0
    assert merge.legs[0].relocks == merge.legs[1].relocks == 0
    skew = merge.skew_ns()
    assert skew is not None
    assert abs(abs(skew) - skew_ms * MS) < 5 * MS


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_independent_loss_leaves_what_both_lost(loss, seed):
    sent = stream(10, seed=seed)
    networks = [Network(loss, first_number=5, seed=seed), Network(loss, first_number=9000, delay_ms=30, seed=seed + 50)]
    merge, legs, result = merged(sent, networks)
    expected = union(sent, legs, first_numbers(networks))
    assert result.out[-len(expected) + 40 :] == expected[40:]  # the first datagrams may come before the lock
    assert len(expected) - len(result.out) <= 2
    assert merge.legs[0].saved > 0
    assert merge.legs[1].saved > 0


def test_bursts_on_both_legs_overlapping():
    sent = stream(10)
    networks = [
        Network(outages=[(2000, 2500), (5000, 5400), (8000, 8100)], first_number=1),
        Network(outages=[(2400, 2700), (5600, 5900)], first_number=31, delay_ms=20),
    ]
    merge, legs, result = merged(sent, networks)
    assert result.out == union(sent, legs, first_numbers(networks))
    assert merge.lost == len(sent) - len(result.out)


def test_outages_in_turn_keep_the_delay():
    sent = stream(12)
    networks = [
        Network(outages=[(3000, 6000)], first_number=1, delay_ms=10, jitter_ms=5),
        Network(outages=[(7000, 10_000)], first_number=2, delay_ms=300, jitter_ms=5, seed=9),
    ]
    _, _, result = merged(sent, networks)
    assert result.out == sent
    delay_ms = [(at - n * GAP) / MS for n, at in enumerate(result.released_ns)]
    per_second = int(S / GAP)
    medians = [statistics.median(delay_ms[a * per_second : b * per_second]) for a, b in ((1, 3), (4, 6), (8, 10), (11, 12))]
    assert max(medians) - min(medians) < 5


@pytest.mark.parametrize("ahead_ms", [300, -300])
def test_a_leg_that_joins_late_ahead_or_behind(ahead_ms):
    sent = stream(6)
    networks = [Network(delay_ms=300, first_number=4), Network(delay_ms=300 - ahead_ms, outages=[(0, 2000)], first_number=77)]
    merge, _, result = merged(sent, networks)
    assert result.out == sent
    assert merge.locked(1)


@pytest.mark.parametrize("told", [True, False])
def test_a_reconnect_with_new_numbers(told):
    sent = stream(6)
    first = Network(first_number=10).arrivals(sent, GAP)
    half = len(sent) // 2
    second = Network(first_number=500).arrivals(sent, GAP)
    again = [(at, number + 1_000_000, d) for at, number, d in second[half + 300 :]]
    merge = Merge(500 * MS)
    result = run(merge, [first, second[:half] + again], restarts={1: [again[0][1]]} if told else None)
    assert result.out == sent
    assert merge.locked(1)


@pytest.mark.parametrize("seed", range(12))
def test_legs_that_both_lose_their_connections_bring_nothing_twice_and_nothing_out_of_order(seed):
    """The leg that leads afterwards may be behind the one that led before."""
    chance = random.Random(seed)
    sent = stream(20, nulls=0.0)
    place = {datagram: n for n, datagram in enumerate(sent)}
    loss = chance.choice([0, 0.02, 0.1])
    legs = [Connections(2 * seed + leg, delay_ms=chance.choice([5, 30, 150]), loss=loss).arrivals(sent, GAP) for leg in (0, 1)]
    merge = Merge(chance.choice([100, 200, 500, 1000]) * MS)
    result = run(merge, [arrivals for arrivals, _ in legs], restarts={leg: starts for leg, (_, starts) in enumerate(legs)})
    places = [place[datagram] for datagram in result.out]
    assert all(a < b for a, b in itertools.pairwise(places))
    assert len(places) > len(sent) * 2 // 3


@pytest.mark.parametrize("later_ms", [0, 20])
def test_nothing_is_lost_where_both_connections_begin_again(later_ms):
    sent = stream(6)
    cut, back = int(2 * S / GAP), int(4 * S / GAP)
    legs = []
    for first, delay_ms in ((10, 5), (500, 5 + later_ms)):
        arrivals = Network(first_number=first, delay_ms=delay_ms).arrivals(sent, GAP)
        legs.append(arrivals[:cut] + [(at, number + 1_000_000, datagram) for at, number, datagram in arrivals[back:]])
    merge = Merge(200 * MS)
    result = run(merge, legs, restarts={leg: [arrivals[cut][1]] for leg, arrivals in enumerate(legs)})
    assert result.out == sent[:cut] + sent[back:]
    assert merge.epochs == 2
    assert max((at - n * GAP) / MS for n, at in zip([*range(cut), *range(back, len(sent))], result.released_ns, strict=True)) < 240


def test_one_unnumbered_drop_at_the_sender_while_the_other_leg_has_a_hole():
    sent = stream(6)
    drop = len(sent) // 2
    good = [a for a in Network(first_number=10).arrivals(sent, GAP) if not drop <= a[1] - 10 < drop + 20]
    shifted = [
        (at, number - (number - 40 >= drop), d) for at, number, d in Network(first_number=40).arrivals(sent, GAP) if number - 40 != drop
    ]
    merge = Merge(500 * MS)
    result = run(merge, [good, shifted])
    wrong = Counter(result.out) - Counter(sent) | Counter(sent) - Counter(result.out)
    assert wrong.total() <= 2
    assert merge.legs[1].relocks == 1
    assert merge.locked(1)
    assert result.out[-200:] == sent[-200:]


def test_a_foreign_leg_changes_nothing_and_is_reported():
    sent, other = stream(5), stream(5, seed=99, pid=0x200)
    merge = Merge(200 * MS)
    result = run(merge, [Network().arrivals(sent, GAP), Network(seed=3).arrivals(other, GAP)])
    assert result.out == sent
    assert "not the same stream" in merge.legs[1].report
    assert [leg.differs for leg in merge.legs] == [False, True]


def test_a_foreign_leg_takes_over_when_the_first_dies():
    sent, other = stream(6), stream(6, seed=99, pid=0x200)
    merge = Merge(200 * MS)
    result = run(merge, [Network(outages=[(2000, 9000)]).arrivals(sent, GAP), Network().arrivals(other, GAP)])
    played = int(2 * S / GAP)
    assert result.out[: played - 1] == sent[: played - 1]
    assert result.out[played + 300 :] == other[-(len(result.out) - played - 300) :]
    assert merge.epochs == 2
    silent = max(b - a for a, b in itertools.pairwise(result.released_ns))
    assert silent < 500 * MS


def test_another_datagram_cut_is_reported_not_merged():
    sent = stream(4)
    joined = b"".join(sent)
    cut = [joined[at : at + 1316] for at in range(188 * 3, len(joined) - 1316, 1316)]
    merge = Merge(200 * MS)
    result = run(merge, [Network().arrivals(sent, GAP), Network().arrivals(cut, GAP)])
    assert result.out == sent
    assert "cut into datagrams differently" in merge.legs[1].report


def test_encoder_restart_on_both_legs_goes_through():
    sent = stream(3) + stream(3, seed=5, pid=0x300)
    _, _, result = merged(sent, [Network(first_number=3), Network(first_number=8, delay_ms=40)])
    assert result.out == sent


def test_looped_file_with_equal_pcr_longer_than_the_window():
    sent = stream(4) * 3
    networks = [Network(0.02, first_number=3), Network(0.02, first_number=8, delay_ms=40, seed=8)]
    _, legs, result = merged(sent, networks)
    expected = union(sent, legs, first_numbers(networks))
    assert result.out[-len(expected) + 40 :] == expected[40:]


def test_constant_filler_is_exact():
    sent = [d if n % 12 == 0 else bytes((0x47, 1, 0, 0x10)) + b"\xff" * 184 + d[188:376] * 6 for n, d in enumerate(stream(6, nulls=1.0))]
    networks = [Network(0.05, first_number=3), Network(0.05, first_number=8, delay_ms=40, seed=8)]
    _, legs, result = merged(sent, networks)
    expected = union(sent, legs, first_numbers(networks))
    assert result.out[-len(expected) + 60 :] == expected[60:]


def test_nothing_but_null_packets_locks_only_when_an_anchor_comes():
    nulls = [NULL_PACKET * 7] * 800
    sent = nulls + stream(2)
    merge = Merge(500 * MS)
    legs = [Network(first_number=3).arrivals(sent, GAP), Network(first_number=8, delay_ms=5).arrivals(sent, GAP)]
    half = [[a for a in leg if a[1] < 800] for leg in legs]
    result = run(merge, half)
    assert not merge.locked(1)
    rest = run(merge, [[a for a in leg if a[1] >= 800] for leg in legs])
    assert merge.locked(1)
    assert len(result.out) + len(rest.out) == len(sent)


def test_skew_above_the_window_is_told_with_its_figure():
    sent = stream(6)
    merge, _, result = merged(sent, [Network(first_number=1), Network(first_number=2, delay_ms=400)], window_ms=200)
    assert result.out == sent
    skew = merge.skew_ns()
    assert skew is not None
    assert abs(skew - 400 * MS) < 10 * MS
    assert merge.legs[1].late > 100


def test_rtp_pair_with_the_same_numbers_across_the_wrap_and_reordered():
    sent = stream(8)
    chance = random.Random(4)
    legs = []
    for seed in (1, 2):
        arrivals = Network(0.05, first_number=65_000, delay_ms=seed * 20, seed=seed).arrivals(sent, GAP)
        legs.append(sorted((at + chance.randrange(8) * MS, number, d) for at, number, d in arrivals))
    merge = Merge(200 * MS, shared_numbers=True)
    result = run(merge, legs)
    expected = union(sent, legs, [65_000, 65_000])
    assert result.out[-len(expected) + 20 :] == expected[20:]


def test_rtp_pair_without_any_anchor_merges_by_number():
    sent = [bytes((0x80, n & 255, n >> 8 & 255)) * 100 for n in range(3000)]
    legs = [Network(0.1, first_number=7, seed=1).arrivals(sent, GAP), Network(0.1, first_number=7, seed=2, delay_ms=15).arrivals(sent, GAP)]
    merge = Merge(200 * MS, shared_numbers=True)
    result = run(merge, legs)
    expected = union(sent, legs, [7, 7])
    assert result.out[-len(expected) + 40 :] == expected[40:]


def test_pcr_wrap_and_packet_number_wrap():
    sent = []
    for d in stream(4):
        rewritten = bytearray(d)
        for at in range(0, len(d), 188):
            pcr = pcr_of(d, at)
            if pcr is not None:
                write_pcr(rewritten, at, pcr + (1 << 33) * 300 - 2 * 27_000_000)
        sent.append(bytes(rewritten))
    _, _, result = merged(sent, [Network(first_number=(1 << 31) - 300), Network(first_number=12)])
    assert result.out == sent


@pytest.mark.parametrize("window_ms", [100, 15_000])
def test_shortest_and_longest_window_bound_memory(window_ms):
    sent = stream(20, rate_bps=1_000_000)
    merge = Merge(window_ms * MS)
    gap = gap_ns(1_000_000)
    legs = [Network(first_number=n).arrivals(sent, gap) for n in (1, 2)]
    result = run(merge, legs)
    assert result.out == sent
    held = len(merge._slots) + len(merge._history)
    assert held <= (window_ms + 2500) * MS / gap


def test_lag_stays_true_for_ten_minutes_at_no_skew():
    sent = stream(600, rate_bps=400_000)
    gap = gap_ns(400_000)
    merge = Merge(200 * MS)
    legs = [Network(first_number=n, jitter_ms=20, seed=n).arrivals(sent, gap) for n in (1, 2)]
    result = run(merge, legs, step_ns=5 * MS)
    assert result.out == sent
    skew = merge.skew_ns()
    assert skew is not None
    assert abs(skew) < 5 * MS


def test_a_leg_in_doubt_recovers_when_the_other_dies():
    """One differing datagram, then silence on the other leg: the doubt must not last for ever."""
    sent = stream(5)
    cut = len(sent) // 2
    first = Network(first_number=1).arrivals(sent[:cut], GAP)
    second = Network(first_number=9, delay_ms=3).arrivals(sent, GAP)
    second = [(at, number, b"?" * 188 if number - 9 == cut - 1 else d) for at, number, d in second]
    merge = Merge(200 * MS)
    result = run(merge, [first, second])
    assert Counter(sent) - Counter(result.out) <= Counter([sent[cut - 1]])
    assert result.out[-900:] == sent[-900:]


def test_one_leg_reordered_is_put_in_order_at_once():
    sent = stream(2)
    order = sorted(range(len(sent)), key=lambda n: n + (3 if n % 5 == 0 else 0))
    merge = Merge(50 * MS, legs=1, prompt=True)
    arrivals = [(int(place * GAP), n, sent[n]) for place, n in enumerate(order) if n % 97]
    result = run(merge, [arrivals])
    assert result.out == [d for n, d in enumerate(sent) if n % 97 or n == 0][1:]
    assert merge.lost == sum(1 for n in range(1, len(sent)) if n % 97 == 0)
    assert statistics.median(at - n * GAP for n, at in enumerate(result.released_ns)) < 60 * MS


@pytest.mark.parametrize("prompt", [True, False])
def test_one_leg_that_begins_again_with_new_numbers_loses_nothing(prompt):
    sent = stream(4, nulls=1.0)
    cut = len(sent) // 2
    arrivals = [(at, number + (number >= cut) * 90_000, datagram) for at, number, datagram in Network().arrivals(sent, GAP)]
    merge = Merge(50 * MS, legs=1, prompt=prompt)
    assert run(merge, [arrivals], restarts={0: [arrivals[cut][1]]}).out == sent
    assert merge.epochs == 2


@settings(max_examples=60, deadline=None)
@given(
    values=st.integers(1, 4),
    masks=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=200, max_size=600),
    seed=st.integers(0, 1000),
    offset=st.integers(0, MAX_AHEAD * 4),
)
def test_any_losses_on_any_content_give_the_union_in_order(values, masks, seed, offset):
    chance = random.Random(seed)
    filler = [bytes((0x47, 0, n, 0x10)) * 47 for n in range(values)]
    head = stream(0.2, seed=seed)
    sent = head + [chance.choice(filler) for _ in masks]
    keep = [(True, True)] * len(head) + masks
    legs = [[(int(n * GAP) + leg * 3 * MS, n + leg * offset, d) for n, d in enumerate(sent) if keep[n][leg]] for leg in (0, 1)]
    merge = Merge(200 * MS)
    result = run(merge, legs)
    assert result.out == [d for n, d in enumerate(sent) if any(keep[n])]


@pytest.mark.parametrize("cut_leg", [0, 1])
@pytest.mark.parametrize("leads", [True, False])
def test_a_path_that_brings_what_it_missed_in_a_burst_does_not_move_the_delay(cut_leg, leads):
    """SRT sends again after a short cut what nobody waits for any more: that says nothing about how far the path is behind."""
    sent = stream(8)
    legs = [Network(first_number=100, delay_ms=5).arrivals(sent, GAP), Network(first_number=70_000, delay_ms=5).arrivals(sent, GAP)]
    aside_ns = (-3 if leads else 3) * MS
    moved = [(at + aside_ns * (at > S), number, datagram) for at, number, datagram in legs[cut_leg]]
    legs[cut_leg] = [(max(at, 4000 * MS) if at >= 2700 * MS else at, number, datagram) for at, number, datagram in moved]
    merge = Merge(200 * MS)
    result = run(merge, legs)
    assert result.out == sent
    delays_ms = [(released - n * GAP) / MS for n, released in enumerate(result.released_ns)]
    assert max(delays_ms) - min(delays_ms) < 15
